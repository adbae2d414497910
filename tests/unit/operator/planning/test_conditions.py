from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from unit.operator.planning.reports import (
    DEPLOYMENT,
    DOWN,
    GROUP,
    LATER,
    NOW,
    by_type,
    condition,
    group,
    objects,
    report,
)
from unit.operator.planning.samples import FLEET, TASKS, topics, with_lane

from kafleet_operator.planning.fleets import Agent
from kafleet_operator.planning.observations import Unknown
from kafleet_operator.planning.plans import Failure, Outcome

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Json


def pod(name: str, **status: Any) -> Json:  # noqa: ANN401 - as the kubelet writes it
    return {"metadata": {"name": name, "labels": {"kafleet.dev/lane": "workers"}}, "status": status}


def waiting(reason: str) -> list[Json]:
    return [{"image": "agent:1", "state": {"waiting": {"reason": reason}}}, {"state": {"running": {}}}]


@pytest.mark.parametrize(
    ("observed", "reason", "words"),
    [
        ({"objects": objects(ready=1)}, "RollingOut", "1 of 2 agents of lane 'workers'"),
        ({"objects": objects(updated=1)}, "RollingOut", "1 of 2 agents"),
        ({"objects": objects(observedGeneration=0)}, "RollingOut", "2 of 2 agents"),
        ({"objects": objects(replicas=3)}, "RollingOut", "2 of 2 agents"),
        ({"objects": objects(ready=0), "groups": {}}, "RollingOut", "0 of 2 agents"),
        ({"objects": {}}, "RollingOut", "is being created"),
        ({"groups": {GROUP: group(10, members=0)}}, "RollingOut", "partitions without a member"),
        ({"groups": {}}, "RollingOut", "partitions without a member"),
        (
            {
                "objects": objects(ready=0),
                "pods": (pod("b", containerStatuses=waiting("CrashLoopBackOff")), pod("a")),
            },
            "CrashLooping",
            "b; see kubectl logs --previous",
        ),
        (
            {"objects": objects(ready=0), "pods": (pod("a", containerStatuses=waiting("ImagePullBackOff")),)},
            "RollingOut",
            "pod 'a' cannot pull image 'agent:1'",
        ),
        (
            {
                "objects": objects(ready=0),
                "pods": (pod("a", containerStatuses=waiting("ContainerCreating")),),
            },
            "RollingOut",
            "are new and ready",
        ),
        (
            {
                "objects": objects(ready=0),
                "pods": (
                    pod("a", conditions=[{"type": "PodScheduled", "status": "False", "message": "no node"}]),
                ),
            },
            "RollingOut",
            "pod 'a' is not scheduled: no node",
        ),
        (
            {
                "objects": objects(
                    ready=0,
                    conditions=[
                        {"type": "Available", "status": "False"},
                        {
                            "type": "ReplicaFailure",
                            "status": "True",
                            "reason": "FailedCreate",
                            "message": "quota",
                        },
                    ],
                )
            },
            "RollingOut",
            "FailedCreate: quota",
        ),
    ],
)
def test_agents_that_are_not_ready(observed: dict[str, Any], reason: str, words: str) -> None:
    """The condition says what keeps them, in words that on-call can act on."""
    status = report(**observed)

    assert condition(status, "AgentsReady") == ("False", reason)
    assert words in by_type(status, "AgentsReady")["message"]
    assert condition(status, "Ready") == ("False", reason)


def test_transactions_that_may_not_be_seen_make_agents_unknown() -> None:
    """Nobody would end those of a pod that is gone, and readers would wait for them."""
    status = report(transactions={GROUP: Unknown("NotAuthorized", "no ACL allows it")})

    assert condition(status, "AgentsReady") == ("Unknown", "NotAuthorized")
    assert by_type(status, "AgentsReady")["message"] == "no ACL allows it"
    assert condition(status, "TopicsReady") == ("True", "AllReady")


def test_a_deployment_that_is_being_made() -> None:
    """Planned, and not yet there: neither ready nor waiting for anything."""
    seen = {key: body for key, body in objects().items() if key != DEPLOYMENT}
    status = report(objects=seen)

    assert condition(status, "AgentsReady") == ("False", "RollingOut")
    assert status["lanes"][0]["replicas"] == 2
    assert status["replicas"] == 0


def test_a_suspended_fleet_says_so() -> None:
    """Not ready, on purpose; what waits, waits for nobody."""
    fleet = replace(FLEET, is_suspended=True)
    status = report(fleet=fleet, groups={GROUP: group(4, members=0)}, objects={})
    resting = report(fleet=fleet, groups={GROUP: DOWN}, objects=objects())

    assert condition(status, "Progressing") == ("False", "Suspended")
    assert status["desiredReplicas"] == 0
    assert condition(resting, "AgentsReady") == ("False", "Suspended")


def test_records_that_nobody_takes() -> None:
    """Lag without a member is no progress."""
    assert condition(report(groups={GROUP: group(4, members=0)}), "Progressing") == ("False", "RollingOut")
    assert condition(report(groups={GROUP: group(4)}), "Progressing") == ("True", "AllReady")


@pytest.mark.parametrize(
    ("young_from", "verdict"),
    [
        (5, ("False", "RetentionRisk")),  # the record at the committed offset 4 is older than that
        (99, ("False", "RetentionRisk")),
        (4, ("True", "AllReady")),
        (None, ("True", "AllReady")),
    ],
)
def test_records_that_retention_may_take(young_from: int | None, verdict: tuple[str, str]) -> None:
    """The oldest unsettled record decides; where its age is not known, nothing is said."""
    young = {} if young_from is None else {(TASKS.name, 0): young_from}
    status = report(groups={GROUP: group(4)}, young_from=young)

    assert condition(status, "Progressing") == verdict


def test_settled_records_may_grow_old() -> None:
    """Everything is settled: nothing can be lost."""
    status = report(groups={GROUP: group(10)}, young_from={(TASKS.name, 0): 10})

    assert condition(status, "Progressing") == ("True", "AllReady")


def test_objects_that_could_not_be_applied() -> None:
    """The failure is named; topics are not blamed for it."""
    failure = Failure("Deployment 'triage-workers'", "NotAuthorized", "forbidden")
    status = report(outcome=Outcome(failures=(failure,)))

    assert condition(status, "AgentsReady") == ("False", "NotAuthorized")
    assert condition(status, "TopicsReady") == ("True", "AllReady")


def test_references_that_cannot_be_read() -> None:
    """Unknown, before anything else is said about the spec."""
    fleet = with_lane(agent=Agent("triage:agent", code_config_map="triage-code"))
    status = report(
        fleet=fleet, references={("ConfigMap", "triage-code"): Unknown("NotAuthorized", "forbidden")}
    )

    assert condition(status, "Accepted") == ("Unknown", "NotAuthorized")


def test_topics_that_are_on_their_way() -> None:
    """Missing ones are named."""
    status = report(seen=topics(tasks=None), outcome=Outcome())

    assert by_type(status, "TopicsReady")["message"] == f"missing: {TASKS.name!r}"


def test_a_long_message_is_cut() -> None:
    """The API server refuses a status that is too long."""
    failure = Failure(f"topic {TASKS.name!r}", "InternalError", "x" * 5000)
    status = report(outcome=Outcome(failures=(failure,)))

    assert len(by_type(status, "TopicsReady")["message"]) == 1024


def test_what_is_wrong_goes_before_what_is_unknown() -> None:
    """Ready names the trouble that somebody can end, not the one that may be over by itself."""
    fleet = with_lane(agent=Agent("triage:agent", code_config_map="triage-code"))
    status = report(
        fleet=fleet, seen=DOWN, groups={GROUP: DOWN}, references={("ConfigMap", "triage-code"): None}
    )

    assert condition(status, "TopicsReady") == ("Unknown", "KafkaUnreachable")
    assert condition(status, "Ready") == ("False", "ReferenceNotFound")


def test_another_reason_is_no_transition() -> None:
    """The time of a condition is that of its status, as Kubernetes has it."""
    rolling = report(objects=objects(ready=1))
    crashing = report(
        objects=objects(ready=1),
        pods=(pod("a", containerStatuses=waiting("CrashLoopBackOff")),),
        previous=rolling,
        now=LATER,
    )

    assert condition(crashing, "AgentsReady") == ("False", "CrashLooping")
    assert by_type(crashing, "AgentsReady")["lastTransitionTime"] == NOW
