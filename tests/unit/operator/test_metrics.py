"""What is counted is what happened, and what is not known is not told."""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from unit.operator.planning.reports import GROUP, group, report
from unit.operator.planning.samples import DEAD, FLEET, OWNER

from kafleet_operator.errors import NotFound
from kafleet_operator.metrics import API_REQUESTS, REGISTRY, Fleets
from kafleet_operator.planning.observations import Observed, Unknown

DOWN = Unknown("KafkaUnreachable", "nobody answers")
LANE = {"kind": "AgentGroup", "namespace": "support", "resource": "triage", "lane": "workers"}


class Watched:
    """A collector with a clock of its own, and what a scrape of it shows."""

    def __init__(self) -> None:
        self.now = 100.0
        self.fleets = Fleets(lambda: self.now)
        self.registry = CollectorRegistry()
        self.registry.register(self.fleets)

    def saw(self, *, groups: Any = None, dead_letters: Any = 3) -> None:  # noqa: ANN401 - as an observation has them
        seen = {GROUP: group(4, 10)} if groups is None else groups
        observed = Observed(topics={}, groups=seen, dead_letters={DEAD.name: dead_letters})
        self.fleets.saw(FLEET, observed, seconds=60)

    def lane(self, name: str) -> float | None:
        return self.registry.get_sample_value(f"kafleet_lane_{name}", LANE)

    def names(self) -> set[str]:
        return {sample.name for family in self.registry.collect() for sample in family.samples}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (None, "ok"),
        (NotFound("gone"), "NotFound"),
        (ZeroDivisionError("boom"), "defect"),
        (asyncio.CancelledError("stop"), "cancelled"),
    ],
)
def test_every_end_is_counted_once_and_passed_on(error: BaseException | None, result: str) -> None:
    """Errors go on to whoever made the request."""
    requests = value("kafleet_operator_api_requests_total", verb="get", result=result)
    timed = value("kafleet_operator_api_request_duration_seconds_count", verb="get")

    with contextlib.ExitStack() as caught:
        if error:
            caught.enter_context(pytest.raises(type(error), match=str(error)))
        with API_REQUESTS.timed("get"):
            if error:
                raise error

    assert value("kafleet_operator_api_requests_total", verb="get", result=result) == requests + 1
    assert value("kafleet_operator_api_request_duration_seconds_count", verb="get") == timed + 1


def test_a_look_at_a_fleet_shows_as_gauges() -> None:
    """Two partitions of 10 records, the first one settled up to 4, and never more than a look old."""
    watched = Watched()
    watched.saw()
    watched.now += 7

    assert watched.lane("lag_records") == 6
    assert watched.lane("written_records_total") == 20
    assert watched.lane("settled_records_total") == 14
    assert watched.lane("dead_letter_records") == 3
    assert watched.lane("oldest_record_age_seconds") == 7


def test_what_could_not_be_read_is_absent_and_comes_back() -> None:
    """Neither zero nor the last value; and what waits does not get younger by it."""
    watched = Watched()
    watched.saw()
    watched.now += 5
    watched.saw(groups={GROUP: DOWN}, dead_letters=DOWN)

    assert watched.names() == set()

    watched.now += 5
    watched.saw()
    assert watched.lane("lag_records") == 6
    assert watched.lane("oldest_record_age_seconds") == 10


def test_what_was_not_seen_for_long_is_absent() -> None:
    """An API server that is away, or an invalid spec, must not freeze a lag for ever."""
    watched = Watched()
    watched.saw()
    watched.now += 61

    assert watched.names() == set()


def test_a_lane_that_is_gone_is_not_told() -> None:
    """Its group is not read any more."""
    watched = Watched()
    watched.saw()
    empty = replace(FLEET, lanes=())
    watched.fleets.saw(empty, Observed(topics={}, groups={}), seconds=60)

    assert watched.names() == set()


def test_a_scrape_beside_the_loop_sees_whole_looks() -> None:
    """It runs in a thread: whatever is taken in, or forgotten, meanwhile neither breaks nor halves it."""
    watched = Watched()
    watched.saw()
    families = watched.fleets.collect()
    next(families)
    wide = replace(FLEET, lanes=tuple(replace(FLEET.lanes[0], name=f"lane-{n}") for n in range(50)))
    watched.fleets.saw(wide, Observed(topics={}, groups={GROUP: group(4)}), seconds=60)
    watched.fleets.gone(OWNER.key)

    assert {sample.labels["lane"] for family in families for sample in family.samples} == {"workers"}


def test_a_status_shows_as_conditions_and_replicas() -> None:
    """One sample a condition: its status and reason are labels."""
    watched = Watched()
    status = report()
    (lane,) = status["lanes"]
    watched.fleets.told(OWNER.key, {**status, "lanes": [{**lane, "recoveries": {"count": 2}}]})

    assert watched.lane("replicas") == 2
    assert watched.lane("ready_replicas") == 2
    assert watched.lane("recoveries_total") == 2
    samples = [
        (sample.labels["condition"], sample.labels["status"], sample.labels["reason"])
        for family in watched.registry.collect()
        for sample in family.samples
        if sample.name == "kafleet_resource_condition"
    ]
    assert sorted(samples) == sorted(
        (each["type"], each["status"], each["reason"]) for each in status["conditions"]
    )


def test_nothing_is_left_of_a_resource_that_is_gone() -> None:
    """Forgetting one twice, or one never seen, is no error."""
    watched = Watched()
    watched.saw()
    watched.fleets.told(OWNER.key, report())
    watched.fleets.gone(OWNER.key)
    watched.fleets.gone(OWNER.key)

    assert watched.names() == set()


def test_names_follow_the_rules_of_prometheus() -> None:
    """Ours have our prefix, base units, and a text; counters end in _total when exposed."""
    families = [family for family in REGISTRY.collect() if not family.name.startswith("process_")]

    assert families
    for family in families:
        assert re.fullmatch(r"kafleet_(operator|lane|resource)_[a-z_]+", family.name), family
        assert not re.search(r"_(ms|milliseconds|minutes|kb|mb|count|sum|bucket|total)$", family.name), family
        assert re.fullmatch(r"[A-Z0-9][^\n]*[^.\n]", family.documentation), family
        assert family.type in {"counter", "gauge", "histogram"}, family
        assert (family.type == "histogram") <= family.name.endswith("_seconds"), family
