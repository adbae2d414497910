from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from unit.operator.planning.samples import (
    FLEET,
    NAMES,
    RESULTS,
    TASKS,
    planned,
    running,
    state,
    topics,
    with_lane,
    with_topic,
)

from kafleet_operator.planning import names
from kafleet_operator.planning.connections import Connection
from kafleet_operator.planning.fleets import Agent
from kafleet_operator.planning.observations import Unknown
from kafleet_operator.planning.plans import Claim

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Fleet, Json
    from kafleet_operator.planning.plans import Plan

DEPLOYMENT = ("Deployment", "triage-workers")
WITH_CODE = with_lane(agent=Agent("triage:agent", code_config_map="triage-code"))
CODE = ("ConfigMap", "triage-code")
DOWN = Unknown("KafkaUnreachable", "nobody answers")
CLAIMS = tuple(Claim(topic.role, topic.name, f"id of {topic.name}", 4) for topic in FLEET.topics)


def applied_deployment(plan: Plan) -> Json | None:
    return next((each.manifest for each in plan.apply_dependents), None)


def needs(plan: Plan) -> set[str]:
    (dependent,) = plan.apply_dependents
    return set(dependent.needs)


def replicas(plan: Plan) -> int:
    deployment = applied_deployment(plan)
    assert deployment is not None
    count: int = deployment["spec"]["replicas"]
    return count


def reasons(plan: Plan) -> list[tuple[str, str]]:
    return [(each.condition, each.reason) for each in plan.refusals]


def files() -> dict[tuple[str, str], Json]:
    return {key: body for key, body in running().items() if key != DEPLOYMENT}


def test_a_fleet_as_wished_needs_nothing() -> None:
    """The plan of a converged fleet is empty."""
    assert planned(topics(), CLAIMS, objects=running()).is_empty


@pytest.mark.parametrize("missing", NAMES)
def test_agents_start_when_their_topics_exist(missing: str) -> None:
    """In the pass that makes them, if that works; and not where one cannot be made."""
    plan = planned(topics() | {missing: None}, objects=files())
    assert needs(plan) == {f"topic {missing!r}"}
    assert needs(planned(topics(), objects=files())) == set()

    refused = planned(topics() | {missing: None}, held={missing: "Blackboard a/b"}, objects=files())
    assert applied_deployment(refused) is None
    assert reasons(refused) == [("TopicsReady", "TopicConflict"), ("AgentsReady", "RollingOut")]


def test_agents_start_with_their_lane_file() -> None:
    """Never before it is in place: they would read nothing, or the one before."""
    assert needs(planned(topics())) == {"ServiceAccount 'triage-workers'", "ConfigMap 'triage-workers'"}


def test_agents_roll_after_their_lane_file() -> None:
    """A changed lane changes the file first, and the pods once it is there."""
    other = replace(FLEET, connection=Connection("elsewhere:9092"))
    plan = planned(topics(), fleet=other, objects=running())

    assert [each["kind"] for each in plan.apply_objects] == ["ConfigMap"]
    assert needs(plan) == {"ConfigMap 'triage-workers'"}


def test_running_agents_are_kept_while_kafka_is_silent() -> None:
    """Scaled and made again as ever: a read that failed stops nobody."""
    scaled = with_lane(replicas=3)

    assert planned(DOWN, CLAIMS, objects=running()).is_empty
    assert replicas(planned(DOWN, CLAIMS, fleet=scaled, objects=running())) == 3
    assert replicas(planned(DOWN, CLAIMS, objects=files())) == 2


def test_new_agents_wait_while_kafka_is_silent() -> None:
    """Nothing tells that their topics exist."""
    announced = tuple(replace(claim, id="") for claim in CLAIMS)

    assert applied_deployment(planned(DOWN, announced, objects=files())) is None


def test_running_agents_are_kept_when_their_outbox_is_lost() -> None:
    """It is made again under them."""
    plan = planned(topics(results=None), CLAIMS, objects=running())

    assert [step.name for step in plan.create_topics] == [RESULTS.name]
    assert plan.apply_dependents == ()


def test_running_agents_end_when_their_inbox_is_lost() -> None:
    """What they would still commit is of no use, and worse than none, to who reads the new one."""
    plan = planned(topics(tasks=None), CLAIMS, objects=running())

    assert [step.name for step in plan.create_topics] == [TASKS.name]
    assert replicas(plan) == 0


def test_suspended_agents_go_and_nothing_else() -> None:
    """Zero replicas; topics stay cared for."""
    plan = planned(topics(), fleet=replace(FLEET, is_suspended=True), objects=running())

    assert replicas(plan) == 0
    assert plan.delete_objects == ()


def test_no_more_agents_than_partitions() -> None:
    """As many as can work do, and the spec is told."""
    crowded = with_lane(replicas=9)

    plan = planned(topics(), fleet=crowded, objects=files())
    assert replicas(plan) == 4
    assert reasons(plan) == [("Accepted", "InvalidSpec")]


def test_partitions_on_their_way_count() -> None:
    """Scaling and growing at once takes one step."""
    grown = replace(
        with_topic(replace(TASKS, partitions=9, may_grow=True)), lanes=with_lane(replicas=9).lanes
    )
    plan = planned(topics(), fleet=grown, objects=files())

    assert (replicas(plan), reasons(plan)) == (9, [])


def test_a_remembered_size_counts_while_kafka_is_silent() -> None:
    """The number of agents does not jump because a read failed."""
    assert replicas(planned(DOWN, CLAIMS, fleet=with_lane(replicas=9), objects=files())) == 4


def test_compacted_tasks_start_no_agent() -> None:
    """Kafka may drop a task that nobody has done: said, and agents that run already go on."""
    foreign = with_topic(replace(TASKS, managed=False, partitions=None))
    seen = topics(tasks=state(TASKS.name, cleanup_policy="compact,delete"))

    new = planned(seen, fleet=foreign, objects=files())
    assert applied_deployment(new) is None
    assert reasons(new) == [("Accepted", "InvalidSpec"), ("AgentsReady", "RollingOut")]
    assert planned(seen, CLAIMS, fleet=foreign, objects=running(foreign)).is_empty


@pytest.mark.parametrize("content", [None, DOWN])
def test_agents_start_with_their_code(content: Unknown | None) -> None:
    """Not while the ConfigMap is missing, or cannot be read."""
    plan = planned(topics(), fleet=WITH_CODE, objects=files(), references={CODE: content})

    assert applied_deployment(plan) is None
    assert ("AgentsReady", "RollingOut") in reasons(plan)


@pytest.mark.parametrize(
    ("content", "expected"),
    [(None, [("Accepted", "ReferenceNotFound")]), (DOWN, [])],
    ids=["missing", "unreadable"],
)
def test_running_agents_keep_their_code(content: Unknown | None, expected: list[tuple[str, str]]) -> None:
    """A ConfigMap that went does not roll the pods that have its content."""
    objects = running(WITH_CODE, references={CODE: {"triage.py": "hash-1"}})
    plan = planned(topics(), fleet=WITH_CODE, objects=objects, references={CODE: content})

    assert plan.apply_dependents == ()
    assert reasons(plan) == expected


def test_an_edit_of_the_code_rolls_the_pods() -> None:
    """The hash of the content is in the template."""
    objects = running(WITH_CODE, references={CODE: {"triage.py": "hash-1"}})
    plan = planned(topics(), fleet=WITH_CODE, objects=objects, references={CODE: {"triage.py": "hash-2"}})

    deployment = applied_deployment(plan)
    assert deployment is not None
    (before,) = (body["spec"] for key, body in objects.items() if key[0] == "Deployment")
    assert hash_in(deployment["spec"]) != hash_in(before)


def hash_in(deployment: Json) -> str:
    found: str = deployment["template"]["metadata"]["annotations"][names.REFERENCES_HASH]
    return found


def test_a_template_that_takes_what_is_ours_changes_nothing() -> None:
    """It is said where, agents that run stay as they are, and new ones wait."""
    template = {"spec": {"restartPolicy": "Never"}}
    fleet = with_lane(agent=Agent("triage:agent", pod_template=template))
    message = "spec.workers.agent.podTemplate.spec.restartPolicy is the operator's to set; remove it"

    new, old = (planned(topics(), fleet=fleet, objects=each) for each in (files(), running()))
    for plan in (new, old):
        assert plan.apply_dependents == ()
        assert ("Accepted", "InvalidSpec", message) in [
            (each.condition, each.reason, each.message) for each in plan.refusals
        ]


def test_a_template_reaches_the_pods() -> None:
    """And what it refers to is waited for."""
    volumes = [{"name": "models", "configMap": {"name": "models"}}]
    fleet = with_lane(agent=Agent("triage:agent", pod_template={"spec": {"volumes": volumes}}))
    models = ("ConfigMap", "models")

    deployment = applied_deployment(planned(topics(), fleet=fleet, objects=files(), references={models: {}}))
    assert deployment is not None
    assert volumes[0] in deployment["spec"]["template"]["spec"]["volumes"]
    missing = planned(topics(), fleet=fleet, objects=files(), references={models: None})
    assert applied_deployment(missing) is None
    assert reasons(missing)[0] == ("Accepted", "ReferenceNotFound")


def test_what_belongs_to_others_is_left_to_them() -> None:
    """An object of our name and another owner is said, not applied, and no agent starts without it."""
    foreign = {("ConfigMap", "triage-workers"): "Blackboard support/triage"}
    plan = planned(topics(), foreign=foreign)

    kinds = [each["kind"] for each in plan.apply_objects]
    assert kinds == ["ServiceAccount", "PodDisruptionBudget", "NetworkPolicy"]
    assert applied_deployment(plan) is None
    assert reasons(plan)[0] == ("AgentsReady", "NameConflict")
    assert "Blackboard support/triage" in plan.refusals[0].message


def test_what_belongs_to_no_lane_goes() -> None:
    """Leftovers of ours; the files of a lane that waits are none."""
    stray: dict[tuple[str, str], Json] = {
        ("ServiceAccount", "triage-judge"): {"metadata": {}},
        ("Deployment", "triage-judge"): {"metadata": {}},
    }
    plan = planned(dict.fromkeys(NAMES), objects=files() | stray)

    assert plan.delete_objects == (("Deployment", "triage-judge"), ("ServiceAccount", "triage-judge"))


def test_a_plan_says_why() -> None:
    """Repairs, updates and scaling are told apart."""
    drifted = running()
    drifted[DEPLOYMENT] = {**drifted[DEPLOYMENT], "spec": {**drifted[DEPLOYMENT]["spec"], "replicas": 7}}

    def notes(fleet: Fleet, objects: dict[tuple[str, str], Json]) -> tuple[str, ...]:
        return planned(topics(), CLAIMS, fleet=fleet, objects=objects).notes

    assert notes(FLEET, drifted) == ("repair Deployment 'triage-workers', replicas 7 to 2",)
    assert notes(with_lane(replicas=3), running()) == ("update Deployment 'triage-workers', replicas 2 to 3",)
    assert notes(FLEET, files()) == ("create Deployment 'triage-workers' with 2 replicas",)
