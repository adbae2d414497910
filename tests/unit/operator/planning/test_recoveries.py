"""Only who is proven to be dead is removed, and the status tells what became of the work."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from kafleet_operator.planning.recoveries import (
    Death,
    Recovery,
    deaths_in,
    is_served,
    recoveries_status,
    seconds_since,
    words_for,
)

GROUP = "support.triage.workers"
AT = "2026-11-23T09:00:00Z"
DEATH = Death(GROUP, "member-1", "triage-workers-x", "Crashed", AT)
PLACES = ((("tasks", 3), 4711), (("tasks", 4), 0))
CONTRACT = Path(__file__).parents[4] / "agent_image" / "contract" / "termination.schema.json"


def said(**fields: object) -> str:
    """Return a termination log as an agent writes it."""
    log = {"version": 1, "group": GROUP, "member": "member-1", "error": None, **fields}
    jsonschema.validate(log, json.loads(CONTRACT.read_text()))
    return json.dumps(log) + "   "


def ended(message: str | None = None, **fields: object) -> dict[str, Any]:
    message = said() if message is None else message
    return {
        "terminated": {"exitCode": 137, "reason": "Error", "finishedAt": AT, "message": message, **fields}
    }


def pod(
    state: dict[str, Any] | None = None,
    last: dict[str, Any] | None = None,
    *,
    name: str = "agent",
    **metadata: object,
) -> dict[str, Any]:
    statuses = [{"name": name, "state": state or {"running": {}}, "lastState": last or {}}]
    return {
        "metadata": {"name": "triage-workers-x", **metadata},
        "status": {"containerStatuses": statuses},
    }


def test_a_container_that_ended_proves_its_members_death() -> None:
    assert deaths_in([pod(ended())], {GROUP}) == (DEATH,)


def test_of_a_restarted_container_only_the_old_member_is_dead() -> None:
    """The new process has another member id, which nothing says is dead."""
    assert deaths_in([pod({"running": {"startedAt": AT}}, ended())], {GROUP}) == (DEATH,)


def test_a_container_that_ended_twice_proves_both() -> None:
    """In the order of their ends; the same end told twice is one."""
    again = ended(said(member="member-2"), finishedAt="2026-11-23T09:00:05Z")

    assert [death.member for death in deaths_in([pod(again, ended())], {GROUP})] == ["member-1", "member-2"]
    assert deaths_in([pod(ended(), ended())], {GROUP}) == (DEATH,)


@pytest.mark.parametrize(
    "alive",
    [
        pod(),
        pod(deletionTimestamp=AT),
        pod({"waiting": {"reason": "ContainerCreating"}}),
        {"metadata": {"name": "new"}},
        {"metadata": {"name": "new"}, "status": {"containerStatuses": None}},
        pod(ended(), name="sidecar"),
        pod(ended(said(member=None), exitCode=0, reason="Completed")),
        pod(ended(said(), exitCode=0)),
        pod(ended(said(group="somebody.elses.group"))),
        pod(ended(said(group=None, member=None, error="no such module"))),
        pod(ended("", reason="ContainerStatusUnknown")),
        pod(ended("The container could not be located when the pod was deleted.")),
        pod(ended('{"version": 2, "group": "support.triage.workers", "member": "m"}')),
        pod(ended('["member-1"]')),
        pod(ended('{"version": 1, "group": 1, "member": {}}')),
        pod(ended(finishedAt=None)),
    ],
    ids=str,
)
def test_nothing_less_is_a_proof(alive: dict[str, Any]) -> None:
    """A pod that runs, is paused, is being deleted, vanished or says nonsense may still have its process."""
    assert deaths_in([alive], {GROUP}) == ()


@pytest.mark.parametrize(("said_by_kubernetes", "told"), [("OOMKilled", "OOMKilled"), ("Error", "Crashed")])
def test_the_reason_is_kubernetes_word_where_it_has_one(said_by_kubernetes: str, told: str) -> None:
    (death,) = deaths_in([pod(ended(reason=said_by_kubernetes))], {GROUP})

    assert death.reason == told


def test_partitions_are_served_once_somebody_holds_each() -> None:
    assert is_served([("tasks", 1)], {"other": [("tasks", 1), ("tasks", 2)]})
    assert not is_served([("tasks", 1), ("tasks", 3)], {"other": [("tasks", 1)], "third": []})


def test_seconds_are_never_negative() -> None:
    """The node's clock may be ahead of the operator's."""
    assert seconds_since(AT, datetime(2026, 11, 23, 9, 0, 1, 440_000, UTC)) == 1.4
    assert seconds_since(AT, datetime(2026, 11, 23, 8, 59, 59, tzinfo=UTC)) == 0.0


def test_recoveries_are_counted_and_the_last_one_is_told() -> None:
    """Nothing new leaves the status as it is."""
    before = recoveries_status({}, [Recovery(DEATH, 1.4, PLACES)])

    assert before == {
        "count": 1,
        "last": {
            "agent": "triage-workers-x",
            "reason": "Crashed",
            "seconds": 1.4,
            "at": AT,
            "resumedFrom": [
                {"topic": "tasks", "partition": 3, "offset": 4711},
                {"topic": "tasks", "partition": 4, "offset": 0},
            ],
        },
    }
    assert recoveries_status(before, []) == before
    assert recoveries_status(before, [Recovery(DEATH, 1.0)] * 2)["count"] == 3
    unread = recoveries_status({}, [Recovery(DEATH, 1.0, ((("tasks", 3), None),))])
    assert unread["last"]["resumedFrom"] == [{"topic": "tasks", "partition": 3}]
    assert "seconds" not in recoveries_status(before, [Recovery(DEATH, None)])["last"]


@pytest.mark.parametrize(
    ("recovery", "words"),
    [
        (
            Recovery(DEATH, 1.4, PLACES),
            "; 1.4 s after its end others went on with its partitions: tasks/3 at 4711, tasks/4 at 0",
        ),
        (
            Recovery(DEATH, None, PLACES),
            "; no other has taken its partitions yet: tasks/3 at 4711, tasks/4 at 0",
        ),
        (Recovery(DEATH, 0.2), "; it held no partition"),
        (
            Recovery(DEATH, 1.0, ((("tasks", 3), None),)),
            "; 1 s after its end others went on with its partitions: tasks/3",
        ),
    ],
)
def test_events_say_who_died_and_what_became_of_the_work(recovery: Recovery, words: str) -> None:
    begin = "agent 'triage-workers-x' died (Crashed) and was removed from group 'support.triage.workers'"

    assert words_for(recovery) == begin + words
