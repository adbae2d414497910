from __future__ import annotations

from dataclasses import replace
from typing import Any

from unit.operator.planning.samples import FLEET, RESULTS, TASKS, state

from kafleet_operator.planning.deleting import needs_finalizer, plan_deletion
from kafleet_operator.planning.observations import GroupState, Observed, Unknown
from kafleet_operator.planning.plans import Claim, Plan

CREATED = Claim("tasks", TASKS.name, f"id of {TASKS.name}", 4, is_created=True)
ADOPTED = Claim("results", RESULTS.name, f"id of {RESULTS.name}", 4)
GROUP = "support.triage.workers"
TOPICS = {TASKS.name: state(TASKS.name), RESULTS.name: state(RESULTS.name)}
DOWN = Unknown("KafkaUnreachable", "nobody answers")


def deletion(claims: tuple[Claim, ...] = (CREATED, ADOPTED), **seen: Any) -> Plan:  # noqa: ANN401
    return plan_deletion(Observed(**{"topics": TOPICS, **seen}), claims, deletes_topics=True)


def test_only_delete_needs_a_finalizer() -> None:
    """With Retain everything that goes is Kubernetes' to remove."""
    assert needs_finalizer(replace(FLEET, deletes_topics=True))
    assert not needs_finalizer(FLEET)


def test_retain_lets_go_at_once() -> None:
    """Even if Kafka is silent and agents still run."""
    seen = Observed(topics=DOWN, objects={("Deployment", "triage-workers"): {}})
    plan = plan_deletion(seen, (CREATED,), deletes_topics=False)

    assert (plan.release, plan.delete_topics, plan.delete_objects) == (True, (), ())


def test_agents_go_first() -> None:
    """Only Deployments: the rest is removed with its owner."""
    objects: dict[tuple[str, str], Any] = {
        ("Deployment", "triage-workers"): {},
        ("ConfigMap", "triage-workers"): {},
    }
    plan = deletion(objects=objects, groups={GROUP: GroupState(GROUP, "Stable")})

    assert plan.delete_objects == (("Deployment", "triage-workers"),)
    assert (plan.delete_groups, plan.delete_topics, plan.release) == ((), (), False)


def test_nothing_is_deleted_under_a_pod() -> None:
    """A pod that ends may still commit."""
    plan = deletion(
        pods=({"metadata": {"name": "triage-workers-x"}},), groups={GROUP: GroupState(GROUP, "Empty")}
    )

    assert plan.is_empty
    assert "triage-workers-x" in plan.notes[0]


def test_a_group_goes_once_it_has_no_member() -> None:
    """Kafka refuses to delete one with members."""
    assert deletion(groups={GROUP: GroupState(GROUP, "Stable")}).is_empty
    assert deletion(groups={GROUP: GroupState(GROUP, "Empty")}).delete_groups == (GROUP,)
    assert deletion(groups={GROUP: DOWN}).is_empty


def test_only_topics_that_this_resource_created_go() -> None:
    """Adopted ones stay, and so do those that were made again under the same name."""
    dead = {GROUP: GroupState(GROUP, "Dead")}

    assert deletion(groups=dead).delete_topics == ((TASKS.name, CREATED.id),)
    assert deletion((ADOPTED,), groups=dead).release
    assert deletion(topics={TASKS.name: state(TASKS.name, id="another")}).release


def test_a_topic_made_just_before_a_crash_goes_too() -> None:
    """Its claim has no id yet."""
    assert deletion((replace(CREATED, id=""),)).delete_topics == ((TASKS.name, CREATED.id),)


def test_it_waits_while_kafka_is_silent_and_says_the_way_out() -> None:
    """Nothing is released that might leave topics behind unsaid."""
    plan = deletion(topics=DOWN)

    assert plan.is_empty
    assert plan.notes == (
        "wait: nobody answers; to leave topics and offsets behind set deletionPolicy: Retain",
    )


def test_it_ends_when_nothing_is_left() -> None:
    """Topics already gone are fine."""
    plan = deletion(topics={TASKS.name: None})

    assert plan.release
    assert plan.claims == (CREATED, ADOPTED)
