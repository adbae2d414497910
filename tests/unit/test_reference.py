"""The reference pages are what the code says."""

from __future__ import annotations

import itertools
import json
import re
import shlex

import pytest
from documents import REPOSITORY
from reference.pages import exported, pages

from kafleet.metrics import Metrics
from kafleet_operator.api.conditions import CONDITIONS, REASONS
from kafleet_operator.metrics import REGISTRY
from kafleet_operator.settings import VARIABLES

PAGES = pages()


@pytest.mark.parametrize("path", PAGES)
def test_pages_are_fresh(path: str) -> None:
    """`make generate` was run after the last change of what they say."""
    assert (REPOSITORY / path).read_text() == PAGES[path]


def test_every_condition_and_reason_is_explained() -> None:
    """What a status says is found on one page, whatever the kind."""
    page = PAGES["docs/reference/conditions.md"]

    assert [word for word in (*CONDITIONS, *REASONS) if f"| `{word}` |" not in page] == []


@pytest.mark.parametrize("name", REASONS)
def test_commands_of_reasons_are_shell(name: str) -> None:
    """On-call copies them."""
    words = shlex.split(REASONS[name].command)

    assert not words or words[0] == "kubectl"
    patches = [json.loads(patch) for option, patch in itertools.pairwise(words) if option == "--patch"]
    assert all(patch.keys() == {"spec"} for patch in patches)


def test_every_metric_is_listed_with_its_labels() -> None:
    """Also those that no sample was taken of: a reader of the page looks for what may come."""
    listed = {each.name: each.labels for each in (*exported(REGISTRY), *exported(Metrics().registry))}

    assert listed["kafleet_operator_api_requests_total"] == ("verb", "result")
    assert listed["kafleet_lane_lag_records"] == ("kind", "namespace", "resource", "lane")
    assert listed["kafleet_attempts_total"] == ("outcome",)
    assert listed["kafleet_in_flight_records"] == ()


def test_operator_and_agent_export_nothing_under_one_name() -> None:
    """A sum over both would be nonsense."""
    operators = {each.name for each in exported(REGISTRY)}

    assert operators.isdisjoint(each.name for each in exported(Metrics().registry))


def test_every_variable_that_is_read_is_explained() -> None:
    """Add it to `VARIABLES`, then `make generate`."""
    source = (REPOSITORY / "operator/src/kafleet_operator/settings.py").read_text()
    _, _, reading = source.partition("\ndef read_settings(")

    assert set(re.findall(r'"(KAFLEET_[A-Z_]+)"', reading)) == VARIABLES.keys()
