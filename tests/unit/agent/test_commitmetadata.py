"""What is remembered beside a commit: it comes back whole, or not at all, and always fits."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafleet.commitmetadata import MAP_BYTES, Progress, metadata_of, progress_from

CONTRACT = Path(__file__).resolve().parents[3] / "agent_image" / "contract"
VECTORS = json.loads((CONTRACT / "commit-metadata-vectors.json").read_text())
MOST_CHARACTERS = 4_095
"""Of a commit's metadata, which the client ends with a NUL; measured."""
NOTHING = Progress()

positions = st.integers(0, 2**40)
attempts = st.integers(1, 1_000)


@st.composite
def known(draw: st.DrawFn, most: int = 40) -> tuple[int, Progress]:
    """Return a committed offset and what may be known above it."""
    committed = draw(positions)
    runs = draw(st.lists(st.tuples(st.integers(1, 300), st.integers(1, 300) | st.just(10**9)), max_size=most))
    settled, end, unsettled = [], committed, [committed]
    for gap, length in runs:
        unsettled.extend((end, end + gap - 1))
        settled.append(range(end + gap, end + gap + length))
        end += gap + length
    unsettled.append(end)
    failed = draw(st.dictionaries(st.sampled_from(unsettled), attempts, max_size=most))
    return committed, Progress(tuple(settled), failed, draw(st.integers(0, 1_000)))


def name_of(vector: dict[str, Any]) -> str:
    return str(vector["name"])


@pytest.mark.parametrize("vector", VECTORS, ids=name_of)
def test_the_contracts_vectors_are_read_as_it_says(vector: dict[str, Any]) -> None:
    progress = progress_from(vector["committed"], vector["metadata"])

    assert [[each.start, each.stop] for each in progress.settled] == vector["settled"]
    assert sum(len(each) for each in progress.settled) == vector["settledCount"]
    assert {str(offset): count for offset, count in progress.failed.items()} == vector["failed"]
    assert progress.unclean == vector["unclean"]


@pytest.mark.parametrize("vector", [each for each in VECTORS if each["isCanonical"]], ids=name_of)
def test_the_contracts_vectors_are_written_as_it_says(vector: dict[str, Any]) -> None:
    settled = [range(start, stop) for start, stop in vector["settled"]]
    failed = {int(offset): count for offset, count in vector["failed"].items()}

    progress = Progress(settled, failed, vector["unclean"])
    assert metadata_of(vector["committed"], progress).text == vector["metadata"]


@settings(deadline=None)
@given(known())
def test_what_is_written_is_read(case: tuple[int, Progress]) -> None:
    committed, progress = case

    assert progress_from(committed, metadata_of(committed, progress).text) == progress


@settings(deadline=None)
@given(known(), st.data())
def test_damage_of_any_kind_is_nothing_known(case: tuple[int, Progress], data: st.DataObject) -> None:
    committed, progress = case
    text = metadata_of(committed, progress).text
    raw = bytearray(base64.b64decode(text))
    kind = data.draw(st.sampled_from(["characters", "bytes", "flip", "offset", "append"]))
    if kind == "characters":
        text = text[: data.draw(st.integers(0, max(0, len(text) - 1)))]
    elif kind == "bytes":
        text = base64.b64encode(raw[: data.draw(st.integers(0, max(0, len(raw) - 1)))]).decode()
    elif kind == "flip" and raw:
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
        text = base64.b64encode(raw).decode()
    elif kind == "offset":
        committed = data.draw(positions.filter(lambda other: other != committed))
    elif kind == "append" and raw:
        text = base64.b64encode(raw + data.draw(st.binary(min_size=1, max_size=9))).decode()
    else:
        text = ""

    assert progress_from(committed, text) == NOTHING


@settings(deadline=None)
@given(positions, st.text() | st.binary().map(lambda raw: base64.b64encode(raw).decode()) | st.none())
def test_any_other_text_is_nothing_known(committed: int, text: str | None) -> None:
    assert progress_from(committed, text) == NOTHING


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**40), st.integers(1, 9_000), st.randoms(use_true_random=False))
def test_it_always_fits_and_what_is_cut_off_is_the_upper_end(committed: int, runs: int, random: Any) -> None:  # noqa: ANN401 - hypothesis's dice
    settled, end = [], committed
    for _ in range(runs):
        start = end + random.choice((1, 2, 3, 1_000))
        end = start + random.choice((1, 2, 3, 100_000))
        settled.append(range(start, end))
    failed = {offset: random.choice((1, 2, 200)) for offset in range(committed, committed + runs)}

    metadata = metadata_of(committed, Progress(settled, failed, 2**40))
    read = progress_from(committed, metadata.text)

    assert len(metadata.text) <= MOST_CHARACTERS
    assert list(read.settled) == settled[: len(read.settled)]
    assert read.failed.items() <= failed.items()
    assert max(read.failed) - min(read.failed) == len(read.failed) - 1  # the lowest
    if metadata.fullness <= 1:
        assert len(read.settled) == runs
    else:
        assert len(base64.b64decode(metadata.text)) > MAP_BYTES * 0.9  # hardly more was cut than had to be


def test_a_slow_record_at_the_head_costs_next_to_nothing() -> None:
    metadata = metadata_of(5, Progress([range(6, 10_000_000)]))

    assert len(metadata.text) < 24
    assert metadata.fullness < 0.01
