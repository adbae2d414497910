from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
from unit.operator.planning.reports import (
    DOWN,
    GROUP,
    LATER,
    NOW,
    SCHEMA,
    by_type,
    condition,
    group,
    objects,
    report,
)
from unit.operator.planning.samples import DEAD, FLEET, TASKS, topics, with_lane

from kafleet_operator.errors import InvalidSpec
from kafleet_operator.planning.fleets import Delivery
from kafleet_operator.planning.plans import Claim, Failure, Outcome, Plan
from kafleet_operator.planning.recoveries import Death, Recovery
from kafleet_operator.planning.status import (
    report_claims,
    report_deletion,
    report_invalid,
    transitions,
)

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Json


def test_a_fleet_that_is_well() -> None:
    """All conditions hold, and every number is there."""
    status = report()

    assert {each["type"]: each["status"] for each in status["conditions"]} == dict.fromkeys(
        ("Ready", "Accepted", "TopicsReady", "AgentsReady", "Progressing"), "True"
    )
    del status["conditions"]
    assert status == {
        "observedGeneration": 7,
        "inbox": "support.triage.tasks",
        "outbox": "support.triage.results",
        "topics": [
            {
                "role": topic.role,
                "name": topic.name,
                "id": f"id of {topic.name}",
                "partitions": 4,
                "managed": True,
                "created": False,
            }
            for topic in FLEET.topics
        ],
        "lanes": [
            {
                "name": "workers",
                "group": GROUP,
                "replicas": 2,
                "readyReplicas": 2,
                "lag": 0,
                "deadLetters": 0,
                "committedPartitions": 1,
            }
        ],
        "desiredReplicas": 2,
        "readyReplicas": 2,
        "lag": 0,
        "deadLetters": 0,
        "replicas": 2,
        "selector": "kafleet.dev/kind=AgentGroup,kafleet.dev/resource=triage,kafleet.dev/lane=workers",
    }


def test_the_same_world_gives_the_same_status() -> None:
    """Times change only with the status of a condition, so that nothing is written for nothing."""
    status = report()

    assert report(previous=status, now=LATER) == status
    turned = report(previous=status, now=LATER, objects=objects(ready=1))
    assert by_type(turned, "AgentsReady")["lastTransitionTime"] == LATER
    assert by_type(turned, "TopicsReady")["lastTransitionTime"] == NOW
    still = report(previous=turned, now="2026-11-23T07:00:00Z", objects=objects(ready=0))
    assert by_type(still, "AgentsReady")["lastTransitionTime"] == LATER


@pytest.mark.parametrize(
    ("committed", "start_from", "lag"),
    [
        ((10,), "earliest", 0),
        ((4, 9), "earliest", 7),
        ((None,), "earliest", 8),
        ((None,), "latest", 0),
        ((0,), "earliest", 8),
        ((11,), "earliest", 0),
        ((), "earliest", 0),
    ],
)
def test_lag_is_what_waits(committed: tuple[int | None, ...], start_from: Any, lag: int) -> None:  # noqa: ANN401
    """From the committed offset, or where the group would begin; what retention took does not wait."""
    fleet = with_lane(delivery=Delivery(start_from=start_from))
    status = report(fleet=fleet, groups={GROUP: group(*committed)})

    assert (status["lanes"][0]["lag"], status["lag"]) == (lag, lag)


def test_what_cannot_be_read_keeps_its_last_value() -> None:
    """Unknown, not zero: numbers stay, conditions say so."""
    before = report(groups={GROUP: group(4)}, dead_letters={DEAD.name: 3})
    status = report(previous=before, seen=DOWN, groups={GROUP: DOWN}, dead_letters={DEAD.name: DOWN})

    assert (status["lag"], status["deadLetters"]) == (6, 3)
    for kind in ("Ready", "TopicsReady", "AgentsReady", "Progressing"):
        assert condition(status, kind) == ("Unknown", "KafkaUnreachable")
    assert condition(status, "Accepted") == ("True", "AllReady")


def test_what_was_never_read_is_absent() -> None:
    """No zero is made up."""
    status = report(seen=DOWN, groups={GROUP: DOWN}, dead_letters={})

    assert not {"lag", "deadLetters"} & (status.keys() | status["lanes"][0].keys())


def test_topics_just_made_have_their_ids() -> None:
    """The claim becomes a topic in the status of the same reconcile."""
    outcome = Outcome(created_topics={TASKS.name: "new"})
    status = report(seen=topics(tasks=None), outcome=outcome)

    assert status["topics"][0]["id"] == "new"
    assert status["topics"][0]["created"] is True
    assert condition(status, "TopicsReady") == ("True", "AllReady")


def test_a_create_that_failed_stays_announced() -> None:
    """It may have worked after all: then the topic is ours."""
    failure = Failure(f"topic {TASKS.name!r}", "KafkaUnreachable", "no answer in time")
    status = report(seen=topics(tasks=None), outcome=Outcome(failures=(failure,)))

    assert (status["topics"][0]["id"], status["topics"][0]["created"]) == ("", True)
    assert condition(status, "TopicsReady") == ("False", "KafkaUnreachable")


@pytest.mark.parametrize(
    "failures",
    [(), (Failure(f"topic {TASKS.name!r}", "TopicConflict", "it exists"),)],
    ids=["left out", "refused"],
)
def test_a_topic_that_others_made_first_is_not_ours(failures: tuple[Failure, ...]) -> None:
    """Used, but never deleted."""
    status = report(seen=topics(tasks=None), outcome=Outcome(failures=failures))

    assert (status["topics"][0]["id"], status["topics"][0]["created"]) == ("", False)
    assert condition(status, "TopicsReady")[0] == "False"


def test_a_fleet_without_a_scaled_lane() -> None:
    """Kinds without a scale subresource report no replicas for it."""
    assert not {"replicas", "selector"} & report(fleet=replace(FLEET, scale_lane=None)).keys()


def test_claims_are_written_into_what_was_there() -> None:
    """Nothing else of the status changes."""
    status = report()
    claimed = report_claims((Claim("tasks", "a"),), previous=status)

    assert claimed == {
        **status,
        "topics": [{"role": "tasks", "name": "a", "id": "", "managed": True, "created": False}],
    }
    jsonschema.validate(report_claims((Claim("tasks", "a"),), previous={}), SCHEMA)


def test_an_invalid_spec_leaves_the_rest_as_it_was() -> None:
    """Accepted and Ready turn; numbers and topics stay."""
    status = report()
    invalid = report_invalid(InvalidSpec("spec.workers: bad"), previous=status, generation=8, now=LATER)

    jsonschema.validate(invalid, SCHEMA)
    assert condition(invalid, "Accepted") == condition(invalid, "Ready") == ("False", "InvalidSpec")
    assert condition(invalid, "TopicsReady") == ("True", "AllReady")
    assert (invalid["observedGeneration"], invalid["topics"]) == (8, status["topics"])
    jsonschema.validate(report_invalid(InvalidSpec("bad"), previous={}, generation=1, now=NOW), SCHEMA)


def test_a_deletion_says_what_it_waits_for() -> None:
    """With the failures of its steps."""
    outcome = Outcome(failures=(Failure("group 'g'", "NotAuthorized", "forbidden"),))
    status = report_deletion(
        Plan(notes=("delete group 'g'",)), outcome, previous=report(), generation=8, now=LATER
    )

    jsonschema.validate(status, SCHEMA)
    assert condition(status, "Ready") == ("False", "Deleting")
    assert by_type(status, "Ready")["message"] == "delete group 'g'; group 'g': forbidden"


def test_events_tell_each_turn_once() -> None:
    """Trouble is told by its own condition, the good end by Ready, and nothing twice."""
    well, rolling = report(), report(objects=objects(ready=1))
    down = report(seen=DOWN, groups={GROUP: DOWN})

    def told(previous: Json, status: Json) -> list[tuple[str, str, str]]:
        return [(kind, reason, sort) for kind, reason, _, sort in transitions(previous, status)]

    assert told({}, well) == [("Ready", "AllReady", "Normal")]
    assert told(well, well) == []
    assert told(well, rolling) == [("AgentsReady", "RollingOut", "Normal")]
    assert told(rolling, well) == [("Ready", "AllReady", "Normal")]
    assert told(well, down) == [
        (kind, "KafkaUnreachable", "Warning") for kind in ("TopicsReady", "AgentsReady", "Progressing")
    ]
    assert transitions(well, {}) == []


def test_recoveries_are_told_by_lane_and_kept() -> None:
    """Of other groups nothing is told; later reports keep what was told before."""
    death = Death(GROUP, "member-1", "triage-workers-x", "OOMKilled", NOW)
    news = (Recovery(death, 1.4, (((TASKS.name, 3), 4711),)), Recovery(replace(death, group="other"), 2.0))
    status = report(recoveries=news)

    assert status["recoveries"] == 1
    assert status["lanes"][0]["recoveries"]["last"]["resumedFrom"] == [
        {"topic": TASKS.name, "partition": 3, "offset": 4711}
    ]
    assert report(previous=status) == status
    assert report(previous=status, recoveries=news)["recoveries"] == 2
