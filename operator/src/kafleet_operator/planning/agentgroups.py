"""An AgentGroup as a fleet: workers take tasks and write results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafleet_operator.planning import names
from kafleet_operator.planning.connections import connection_for
from kafleet_operator.planning.fleets import Agent, Delivery, Fleet, Lane, Topic

if TYPE_CHECKING:
    from kafleet_operator.api.agentgroups import AgentGroupSpec
    from kafleet_operator.api.agents import AgentSpec
    from kafleet_operator.api.delivery import DeliverySpec
    from kafleet_operator.api.topics import TopicSpec
    from kafleet_operator.planning.fleets import Owner

TASKS, RESULTS, DEAD_LETTERS = "tasks", "results", "dead-letters"
WORKERS = "workers"


def fleet_for(owner: Owner, spec: AgentGroupSpec, *, bootstrap_servers: str, adopts_topics: bool) -> Fleet:
    """Return the fleet of an AgentGroup; `bootstrap_servers` is the chart's, which the spec may override."""
    workers = spec.workers
    lane = Lane(
        name=WORKERS,
        group=names.group_name(owner, WORKERS),
        inputs=(TASKS,),
        output=RESULTS,
        dead_letters=DEAD_LETTERS,
        replicas=1 if workers.replicas is None else workers.replicas,
        agent=_agent(workers.agent),
        delivery=_delivery(spec.delivery.overridden_by(workers.delivery)),
        path="spec.workers",
        sends={WORKERS: TASKS},
    )
    return Fleet(
        owner=owner,
        topics=(
            _topic(owner, TASKS, spec.tasks),
            _topic(owner, RESULTS, spec.results),
            _topic(owner, DEAD_LETTERS, spec.dead_letters),
        ),
        lanes=(lane,),
        inbox=TASKS,
        outbox=RESULTS,
        connection=connection_for(
            spec.connection, bootstrap_servers=bootstrap_servers, namespace=owner.namespace
        ),
        is_suspended=spec.suspend,
        deletes_topics=spec.deletion_policy == "Delete",
        adopts_topics=adopts_topics,
        scale_lane=WORKERS,
    )


def _topic(owner: Owner, role: str, spec: TopicSpec) -> Topic:
    return Topic(
        role=role,
        name=spec.topic or names.topic_name(owner, role),
        partitions=spec.partitions if spec.managed else None,
        replication_factor=spec.replication_factor,
        config=spec.config,
        managed=spec.managed,
        may_grow=spec.on_growth == "Reorder",
        is_named=bool(spec.topic),
    )


def _agent(spec: AgentSpec) -> Agent:
    return Agent(
        handler=spec.handler,
        image=spec.image or None,
        code_config_map=spec.code.config_map if spec.code else None,
        config=spec.config,
        env=tuple(variable.model_dump(by_alias=True, exclude_none=True) for variable in spec.env),
        env_from=tuple(source.model_dump(by_alias=True, exclude_none=True) for source in spec.env_from),
        resources=spec.resources.model_dump(by_alias=True, exclude_none=True),
        pod_template=spec.pod_template.model_dump(by_alias=True, exclude_unset=True),
    )


def _delivery(spec: DeliverySpec) -> Delivery:
    return Delivery(
        guarantee=spec.guarantee,
        ordering=spec.ordering,
        concurrency=spec.concurrency,
        task_timeout_seconds=spec.task_timeout,
        max_attempts=spec.max_attempts,
        backoff_initial_seconds=spec.backoff.initial,
        backoff_max_seconds=spec.backoff.max,
        drain_timeout_seconds=spec.drain_timeout,
        hop_limit=spec.hop_limit,
        start_from=spec.start_from,
    )
