"""A fleet and a look at it, as small as planning needs them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from kafleet_operator.planning.connections import Connection
from kafleet_operator.planning.converging import plan_fleet
from kafleet_operator.planning.fleets import Agent, Delivery, Fleet, Lane, Owner, Topic
from kafleet_operator.planning.observations import Observed, TopicState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafleet_operator.planning.fleets import Json
    from kafleet_operator.planning.observations import Unknown
    from kafleet_operator.planning.plans import Claim, Plan

OWNER = Owner("kafleet.dev/v1alpha1", "AgentGroup", "support", "triage", "uid-1", 7)
TASKS = Topic("tasks", "support.triage.tasks", 4)
RESULTS = Topic("results", "support.triage.results", 4)
DEAD = Topic("dead-letters", "support.triage.dead-letters", 4)
LANE = Lane(
    name="workers",
    group="support.triage.workers",
    inputs=("tasks",),
    output="results",
    dead_letters="dead-letters",
    replicas=2,
    agent=Agent("triage:agent"),
    delivery=Delivery(),
    path="spec.workers",
    sends={"workers": "tasks"},
)
FLEET = Fleet(
    owner=OWNER,
    topics=(TASKS, RESULTS, DEAD),
    lanes=(LANE,),
    inbox="tasks",
    outbox="results",
    connection=Connection("kafka:9092"),
    scale_lane="workers",
)
NAMES = [TASKS.name, RESULTS.name, DEAD.name]
ROOM = {"max.message.bytes": str(1_048_588 + 65_536)}


def with_topic(topic: Topic) -> Fleet:
    """Return the fleet with one topic of it exchanged."""
    return replace(FLEET, topics=tuple(topic if each.role == topic.role else each for each in FLEET.topics))


def with_lane(**changes: Any) -> Fleet:  # noqa: ANN401 - any field of a lane
    return replace(FLEET, lanes=(replace(LANE, **changes),))


def state(name: str, **changes: Any) -> TopicState:  # noqa: ANN401 - any field of a topic's state
    return replace(TopicState(name, f"id of {name}", 4, 1, ROOM if name == DEAD.name else {}), **changes)


def topics(**changes: TopicState | None) -> dict[str, TopicState | None]:
    """Return three topics as wished, those of some roles exchanged."""
    by_role = {topic.role: state(topic.name) for topic in FLEET.topics} | changes
    return {fleet_topic.name: by_role[fleet_topic.role] for fleet_topic in FLEET.topics}


def planned(
    seen: Mapping[str, TopicState | None] | Unknown,
    claims: tuple[Claim, ...] = (),
    *,
    fleet: Fleet = FLEET,
    held: Mapping[str, str] | None = None,
    **observed: Any,  # noqa: ANN401 - any field of an observation
) -> Plan:
    return plan_fleet(
        fleet,
        Observed(topics=seen, claims=held or {}, **observed),
        claims,
        agent_image="agent:1",
        image_pull_policy="IfNotPresent",
    )


def applied(plan: Plan) -> dict[tuple[str, str], Json]:
    """Return the objects of a plan as if the API server had taken them, generation and all."""
    taken = {}
    for manifest in (*plan.apply_objects, *(each.manifest for each in plan.apply_dependents)):
        body = {key: value for key, value in manifest.items() if key not in {"apiVersion", "kind"}}
        body["metadata"] = {**manifest["metadata"], "generation": 1}
        taken[manifest["kind"], manifest["metadata"]["name"]] = body
    return taken


def running(fleet: Fleet = FLEET, **observed: Any) -> dict[tuple[str, str], Json]:  # noqa: ANN401
    """Return the objects of a fleet that has been brought up."""
    files = applied(planned(topics(), fleet=fleet, **observed))
    return files | applied(planned(topics(), fleet=fleet, objects=files, **observed))
