"""The lane file is read as its schema says, and every fault is named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from unit.agent.samples import lane, lane_file

from kafleet.errors import InvalidLaneFile
from kafleet.lanes import parse_lane, read_lane

CONTRACT = Path(__file__).resolve().parents[3] / "agent_image" / "contract"
SCHEMA = Draft202012Validator(json.loads((CONTRACT / "lane.schema.json").read_text()))
# Lane files that have every field there is, one for each way of proving who one is.
FULL = [
    {**lane_file(), "security": {"authentication": authentication, "tls": {"caFile": "/ca"}}}
    for authentication in (
        {"type": "plain", "username": "u", "passwordFile": "/p"},
        {"type": "mtls", "certificateFile": "/c", "keyFile": "/k"},
        {
            "type": "oauthbearer",
            "tokenEndpointUri": "https://t",
            "clientId": "c",
            "clientSecretFile": "/s",
            "scope": "",
        },
    )
]
VALUES: list[Any] = [
    None,
    "",
    "x",
    "m:a",
    "latest",
    "mtls",
    0,
    1,
    -1,
    1.5,
    70_000,
    True,
    [],
    {},
    [{"role": "r", "topic": "t"}],
]


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401 - any JSON
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for name, each in inner for deeper in paths(each, (*path, name)))]


def accepts(document: Any) -> bool:  # noqa: ANN401 - any JSON
    try:
        parse_lane(json.dumps(document))
    except InvalidLaneFile:
        return False
    return True


def test_a_lane_file_as_the_operator_writes_it_is_read() -> None:
    assert SCHEMA.is_valid(lane_file())
    assert lane().output_topic == "results"
    assert lane(taskTimeoutSeconds=3, drainTimeoutSeconds=5).delivery.drain_seconds == 3


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([(full, path) for full in FULL for path in paths(full)[1:]]),
    st.sampled_from(["remove", "replace", "add"]),
    st.sampled_from(VALUES),
)
def test_schema_and_reader_agree_on_every_field(
    place_of_change: tuple[dict[str, Any], tuple[Any, ...]], change: str, value: object
) -> None:
    full, path = place_of_change
    document = copy.deepcopy(full)
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    if change == "remove":
        del place[path[-1]]
    elif change == "replace":
        place[path[-1]] = copy.deepcopy(value)
    elif isinstance(place, dict):
        place["unheardOf"] = copy.deepcopy(value)
    schema_accepts = SCHEMA.is_valid(document)
    if schema_accepts and document["output"] not in document["outputs"]:
        schema_accepts = False  # a reference between fields: only the reader can know

    assert accepts(document) == schema_accepts, document


def test_every_fault_is_named() -> None:
    document = lane_file(concurrency=0)
    del document["group"]

    with pytest.raises(
        InvalidLaneFile, match=r"group: Field required; delivery\.concurrency: .*greater than"
    ):
        parse_lane(json.dumps(document))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\ufeff{}"])
def test_what_is_no_lane_file_is_refused(text: str) -> None:
    with pytest.raises(InvalidLaneFile, match="invalid lane file"):
        parse_lane(text)


def test_an_output_without_a_topic_is_refused() -> None:
    document = lane_file()
    document["output"] = "nowhere"

    with pytest.raises(InvalidLaneFile, match=r"output: 'nowhere' is not one of outputs \['results'\]"):
        parse_lane(json.dumps(document))


def test_a_missing_file_says_how_to_name_another(tmp_path: Path) -> None:
    with pytest.raises(InvalidLaneFile, match=r"No such file or directory; set KAFLEET_LANE_FILE"):
        read_lane(tmp_path / "lane.json")
