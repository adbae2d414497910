"""Metrics follow what happens, and their names follow Prometheus's rules."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from unit.agent.fleets import Fleet, Plan, single, until_done
from virtual import run, until

from kafleet.metrics import Metrics
from kafleet.records import Partition

if TYPE_CHECKING:
    from unit.agent.fleets import Member

P0 = Partition("tasks", 0)
DOCS = Path(__file__).resolve().parents[3] / "docs"
UNITS = {"counter": {"_total"}, "gauge": {"_records", "_bytes", "_seconds", "_partitions", "_ratio"}}


def values(member: Member, *names: str) -> dict[str, float | None]:
    """Return samples by name, each written as on the page: `name` or `name{label="value"}`."""
    found = {}
    for name in names:
        bare, _, labels = name.partition("{")
        pairs = dict(re.findall(r'(\w+)="(\w+)"', labels))
        found[name] = member.metrics.registry.get_sample_value(bare, pairs)
    return found


def test_gauges_follow_the_dispatcher() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=5), "tasks/0/2": Plan(verdicts=("failed",))})
    fleet.fill(P0, [b"k", b"k", b"l"])

    async def story() -> dict[str, float | None]:
        member = fleet.add(backoffInitialSeconds=60, backoffMaxSeconds=60)
        member.assign(P0)
        await until(1)
        found = values(
            member,
            "kafleet_in_flight_records",
            "kafleet_held_records",
            "kafleet_retrying_records",
            "kafleet_assigned_partitions",
            "kafleet_paused_partitions",
        )
        member.crash()
        return found

    assert run(story()) == {
        "kafleet_in_flight_records": 1,
        "kafleet_held_records": 2,
        "kafleet_retrying_records": 1,
        "kafleet_assigned_partitions": 1,
        "kafleet_paused_partitions": 0,
    }


def test_counters_follow_the_records() -> None:
    verdicts = ("failed", "postponed", "saturated", "refused")
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=30), "tasks/0/1": Plan(verdicts=verdicts)})
    fleet.fill(P0, [b"slow", b"bad", *[None] * 8])

    async def story() -> tuple[dict[str, float | None], dict[str, float | None]]:
        first = single(fleet, P0, batch=10)
        await until(20)
        seen = values(
            first,
            "kafleet_consumed_records_total",
            "kafleet_skipped_records_total",
            "kafleet_settled_records_total",
            "kafleet_emitted_records_total",
            *(
                f'kafleet_attempts_total{{outcome="{outcome}"}}'
                for outcome in ("finished", "refused", "failed", "postponed", "saturated")
            ),
            "kafleet_attempt_duration_seconds_count",
            'kafleet_dead_letters_total{reason="Rejected"}',
            'kafleet_rebalances_total{event="assigned"}',
            'kafleet_rebalances_total{event="lost"}',
        )
        assert (
            values(first, "kafleet_offset_map_fullness_ratio")["kafleet_offset_map_fullness_ratio"] or 0
        ) > 0
        first.lose(P0)
        assert values(first, 'kafleet_rebalances_total{event="lost"}') == {
            'kafleet_rebalances_total{event="lost"}': 1
        }
        first.crash()
        second = single(fleet, P0, batch=10)
        await until_done(fleet, 100)
        await second.revoke(P0)
        second.end()
        return seen, values(
            second,
            "kafleet_consumed_records_total",
            "kafleet_skipped_records_total",
            'kafleet_rebalances_total{event="revoked"}',
        )

    seen, later = run(story())
    assert list(seen.values()) == [10, 0, 9, 9, 8, 1, 1, 1, 1, 12, 1, 1, 0]
    assert list(later.values()) == [1, 9, 1]


def test_names_follow_the_rules_and_everything_is_explained() -> None:
    page = (DOCS / "reference" / "metrics.md").read_text()
    for family in Metrics().registry.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert re.fullmatch(r"kafleet_[a-z_]+", name)
        units = UNITS.get(family.type, {"_seconds"})
        assert any(name.endswith(unit) for unit in units), name
        assert family.documentation
        assert not family.documentation.endswith(".")
        assert name in page, name


def test_known_series_are_there_before_anything_happened() -> None:
    """A rate of a series that is absent is nothing, and an alert on it never fires the first time."""
    registry = Metrics().registry

    for outcome in ("finished", "refused", "failed", "postponed", "saturated"):
        assert registry.get_sample_value("kafleet_attempts_total", {"outcome": outcome}) == 0
    for event in ("assigned", "revoked", "lost"):
        assert registry.get_sample_value("kafleet_rebalances_total", {"event": event}) == 0
