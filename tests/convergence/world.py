"""A small cluster in memory: a Kafka, a Kubernetes and one reconcile loop, honest about claims and failures.

It does to itself what a plan says, one write at a time, and can end the operator after any of them.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from kafleet_operator.api.kinds import KINDS
from kafleet_operator.errors import KafleetError
from kafleet_operator.planning import names
from kafleet_operator.planning.claims import claims_in, claims_of_others, groups_in
from kafleet_operator.planning.converging import plan_fleet
from kafleet_operator.planning.deleting import needs_finalizer, plan_deletion
from kafleet_operator.planning.draining import leftovers_of
from kafleet_operator.planning.fleets import Owner
from kafleet_operator.planning.observations import GroupState, Observed, PartitionState, TopicState, Unknown
from kafleet_operator.planning.patterns import fleet_for
from kafleet_operator.planning.plans import Failure, Outcome, held_back, subject_of
from kafleet_operator.planning.recoveries import seconds_since
from kafleet_operator.planning.references import references_of
from kafleet_operator.planning.status import (
    report_claims,
    report_deletion,
    report_invalid,
    report_status,
    transitions,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from kafleet_operator.planning.fleets import Fleet, Json
    from kafleet_operator.planning.plans import ConfigureTopic, CreateTopic, GrowTopic, Plan, ResetOffsets

DOWN = Unknown("KafkaUnreachable", "no broker of 'kafka:9092' answers")
MAX_ROUNDS = 20


class Crash(Exception):
    """The operator ended between two writes."""


def agent_group(name: str = "triage", **spec: object) -> Json:
    """Return an AgentGroup as the API server holds it; `spec` is merged over a minimal one."""
    workers = {"replicas": 2, "agent": {"handler": "triage:agent"}}
    return {
        "apiVersion": "kafleet.dev/v1alpha1",
        "kind": "AgentGroup",
        "metadata": {
            "name": name,
            "namespace": "support",
            "uid": f"uid-of-{name}",
            "generation": 1,
            "creationTimestamp": "2026-11-23T05:00:00Z",
        },
        "spec": {"workers": workers, "tasks": {"partitions": 4}, **spec},
    }


@dataclass
class World:
    """Everything there is. `body` is the resource under test; `writes_left` counts down to a crash."""

    body: Json
    others: list[Json] = field(default_factory=list)
    topics: dict[str, TopicState] = field(default_factory=dict)
    groups: set[str] = field(default_factory=set)
    objects: dict[tuple[str, str], Json] = field(default_factory=dict)
    foreign: dict[tuple[str, str], str] = field(default_factory=dict)
    referenced: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    lanes: tuple[str, ...] = ()  # beside what the resource asks for: no kind lets one remove a lane yet
    waiting: int = 0  # records that wait for each group
    is_kafka_down: bool = False
    is_gone: bool = False
    writes_left: int | None = None
    fails: Callable[[str], bool] = lambda _subject: False
    log: list[str] = field(default_factory=list)
    preempted: set[str] = field(default_factory=set)
    begun_anew: set[str] = field(default_factory=set)  # ids of topics that groups were set to the start of
    ids: int = 0
    rounds: int = 0

    # What users and other programs do.

    def say(self, what: str) -> None:
        self.log += ["", f"# {what}"]

    def edit(self, what: str, **spec: object) -> None:
        self.say(what)
        self.body["spec"] |= spec
        self.body["metadata"]["generation"] += 1

    def make_topic(self, name: str, partitions: int = 4, **overrides: str) -> TopicState:
        self.ids += 1
        dotted = {key.replace("_", "."): value for key, value in overrides.items()}
        self.topics[name] = TopicState(name, f"id-{self.ids}", partitions, 1, dotted)
        return self.topics[name]

    # The operator, as resources.py does it.

    def converge(self) -> World:
        """Reconcile until nothing is left to do and the status stays as it is."""
        for _ in range(MAX_ROUNDS):
            before = copy.deepcopy((self.body, self.objects, self.topics))
            is_settled = self.reconcile()
            if self.is_gone or (is_settled and before == (self.body, self.objects, self.topics)):
                return self
        raise AssertionError("\n".join([*self.log, f"not settled after {MAX_ROUNDS} rounds"]))

    def reconcile(self) -> bool:
        """Reconcile once; tell whether there was nothing to do."""
        self.rounds += 1
        self.run_kubernetes()
        try:
            fleet = self.fleet()
        except KafleetError as error:
            self.write_status(
                report_invalid(error, previous=self.status, generation=self.generation, now=self.now)
            )
            return True
        return self.clear_up(fleet) if "deletionTimestamp" in self.body["metadata"] else self.work_on(fleet)

    def work_on(self, fleet: Fleet) -> bool:
        self.body["metadata"]["finalizers"] = [names.FINALIZER] if needs_finalizer(fleet) else []
        observed = self.observe(fleet)
        plan = self.plan(fleet, observed)
        self.log += [f"  {note}" for note in plan.notes]
        claimed = report_claims(plan.claims, previous=self.status)
        if claimed != self.status:
            self.write_status(claimed)
            observed = replace(observed, claims=claims_of_others(self.body, self.others))
            plan = self.plan(fleet, observed)
        outcome = self.perform(plan)
        self.write_status(report_status(fleet, plan, outcome, observed, previous=self.status, now=self.now))
        return plan.is_empty

    def clear_up(self, fleet: Fleet) -> bool:
        if not self.body["metadata"]["finalizers"]:
            self.is_gone = True
            return True
        claims = claims_in(self.status)
        plan = plan_deletion(
            self.observe(fleet, groups_in(self.status)), claims, deletes_topics=fleet.deletes_topics
        )
        self.log += [f"  {note}" for note in plan.notes]
        outcome = self.perform(plan)
        if plan.release and not outcome.failures:
            self.is_gone = True
            return True
        self.write_status(
            report_deletion(plan, outcome, previous=self.status, generation=self.generation, now=self.now)
        )
        return plan.is_empty

    def fleet(self) -> Fleet:
        metadata = self.body["metadata"]
        owner = Owner(
            self.body["apiVersion"],
            self.body["kind"],
            metadata["namespace"],
            metadata["name"],
            metadata["uid"],
            self.generation,
        )
        adopts = metadata.get("annotations", {}).get(names.ADOPT) == "true"
        spec = KINDS[owner.kind].parse(self.body)
        fleet = fleet_for(owner, spec, bootstrap_servers="kafka:9092", adopts_topics=adopts)
        (lane,) = fleet.lanes
        more = (replace(lane, name=name, group=names.group_name(owner, name)) for name in self.lanes)
        return replace(fleet, lanes=(lane, *more))

    def plan(self, fleet: Fleet, observed: Observed) -> Plan:
        return plan_fleet(
            fleet,
            observed,
            claims_in(self.status),
            agent_image="agent:1",
            image_pull_policy="IfNotPresent",
        )

    def observe(self, fleet: Fleet, groups: tuple[str, ...] | None = None) -> Observed:
        leftovers = leftovers_of(fleet, self.status, self.objects, self.seconds_since)
        read = (*(lane.group for lane in fleet.lanes), *(each.group for each in leftovers))
        lanes = groups if groups is not None else read
        wished_topics = {topic.name for topic in fleet.topics}
        return Observed(
            topics=DOWN if self.is_kafka_down else {name: self.topics.get(name) for name in wished_topics},
            groups={name: DOWN if self.is_kafka_down else self.group(fleet, name) for name in lanes},
            dead_letters={
                fleet.topic(lane.dead_letters).name: DOWN if self.is_kafka_down else 0 for lane in fleet.lanes
            },
            objects=copy.deepcopy(self.objects),
            pods=self.pods(),
            foreign=self.foreign,
            leftovers=leftovers,
            references={
                (each.kind, each.name): self.referenced.get((each.kind, each.name))
                for each in references_of(fleet)
            },
            claims=claims_of_others(self.body, self.others),
        )

    def group(self, fleet: Fleet, name: str) -> GroupState:
        inbox = self.topics.get(fleet.topic(fleet.inbox).name)
        if name not in self.groups:
            return GroupState(name, "Dead")
        partitions = range(inbox.partitions if inbox else 0)
        committed = 0 if inbox and inbox.id in self.begun_anew else 10
        return GroupState(
            name,
            "Stable" if any(self.group_of(pod) == name for pod in self.pods()) else "Empty",
            tuple(
                PartitionState(fleet.topic(fleet.inbox).name, number, 0, committed + self.waiting, committed)
                for number in partitions
            ),
        )

    # The writes, in the order of the plan's fields; each may fail, and after each the operator may end.

    def perform(self, plan: Plan) -> Outcome:
        created: dict[str, str] = {}
        applied: dict[tuple[str, str], Json] = {}
        failures = self._do(
            *((f"topic {each.name!r}", partial(self._create, each, created)) for each in plan.create_topics),
            *((f"topic {each.name!r}", partial(self._grow, each)) for each in plan.grow_topics),
            *((f"topic {each.name!r}", partial(self._configure, each)) for each in plan.configure_topics),
            *((f"group {each.group!r}", partial(self._reset, each)) for each in plan.reset_offsets),
            *((subject_of(each), partial(self._apply, each, applied)) for each in plan.apply_objects),
        )
        held = [(each.manifest, held_back(each, failures)) for each in plan.apply_dependents]
        failures += self._do(
            *((subject_of(each), partial(self._apply, each, applied)) for each, why in held if not why),
            *((f"{key[0]} {key[1]!r}", partial(self.objects.pop, key)) for key in plan.delete_objects),
            *((f"group {name!r}", partial(self.groups.remove, name)) for name in plan.delete_groups),
            *((f"topic {key[0]!r}", partial(self._delete, *key)) for key in plan.delete_topics),
        )
        return Outcome(created, applied, tuple(failures), tuple(why for _, why in held if why))

    def _do(self, *steps: tuple[str, Callable[[], object]]) -> list[Failure]:
        failures = []
        for subject, step in steps:
            if self.fails(subject):
                failures.append(Failure(subject, "InternalError", "the server says no"))
            else:
                self.write()
                step()
        return failures

    def write(self) -> None:
        """Count a write; the one too many never happens."""
        if self.writes_left == 0:
            raise Crash
        if self.writes_left is not None:
            self.writes_left -= 1

    def write_status(self, status: Json) -> None:
        if status == self.status:
            return
        self.write()
        for kind, reason, message, sort in transitions(self.status, status):
            self.log.append(f"  Event {sort} {reason}: {message} ({kind})")
        self.body["status"] = copy.deepcopy(status)

    def _create(self, step: CreateTopic, created: dict[str, str]) -> None:
        if step.name in self.preempted:
            return
        assert step.name not in self.topics
        topic = self.make_topic(step.name, step.partitions)
        self.topics[step.name] = replace(topic, overrides=dict(step.config))
        created[step.name] = topic.id

    def _grow(self, step: GrowTopic) -> None:
        assert self.topics[step.name].partitions < step.partitions
        self.topics[step.name] = replace(self.topics[step.name], partitions=step.partitions)

    def _configure(self, step: ConfigureTopic) -> None:
        topic = self.topics[step.name]
        kept = {key: value for key, value in topic.overrides.items() if key not in step.reset}
        self.topics[step.name] = replace(topic, overrides={**kept, **step.set})

    def _reset(self, step: ResetOffsets) -> None:
        assert not self.pods()
        self.begun_anew.add(self.topics[step.topic].id)

    def _delete(self, name: str, id_: str) -> None:
        assert self.topics[name].id == id_
        assert not self.pods()
        del self.topics[name]

    def _apply(self, manifest: Json, applied: dict[tuple[str, str], Json]) -> None:
        key = (manifest["kind"], manifest["metadata"]["name"])
        seen = self.objects.get(key, {"metadata": {"generation": 0}})
        generation = seen["metadata"]["generation"] + (seen.get("spec") != manifest.get("spec"))
        body = copy.deepcopy(manifest) | ({"status": seen["status"]} if "status" in seen else {})
        body["metadata"]["generation"] = generation
        self.objects[key] = applied[key] = body

    # Kubernetes, at once done with everything it was told.

    def run_kubernetes(self) -> None:
        for (kind, _), body in self.objects.items():
            if kind == "Deployment":
                replicas = body["spec"]["replicas"]
                counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), replicas)
                body["status"] = {"observedGeneration": body["metadata"]["generation"], **counts}
                if replicas and not self.is_kafka_down:
                    self.groups.add(self.group_of(body))

    def group_of(self, body: Json) -> str:
        labels = body["metadata"]["labels"]
        return f"{self.body['metadata']['namespace']}.{labels[names.RESOURCE]}.{labels[names.LANE]}"

    def pods(self) -> tuple[Json, ...]:
        return tuple(
            {"metadata": {"name": f"{name}-{number}", "labels": body["metadata"]["labels"]}, "status": {}}
            for (kind, name), body in self.objects.items()
            if kind == "Deployment"
            for number in range(body.get("status", {}).get("replicas", 0))
        )

    @property
    def status(self) -> Json:
        status: Json = self.body.get("status", {})
        return status

    @property
    def generation(self) -> int:
        generation: int = self.body["metadata"]["generation"]
        return generation

    @property
    def now(self) -> str:
        return f"2026-11-23T05:{self.rounds:02}:00Z"

    def seconds_since(self, at: str) -> float:
        return seconds_since(at, datetime.fromisoformat(self.now))

    def condition(self, kind: str) -> tuple[str, str]:
        found = next(each for each in self.status["conditions"] if each["type"] == kind)
        return found["status"], found["reason"]

    def deployment(self) -> Json:
        return self.objects["Deployment", f"{self.body['metadata']['name']}-workers"]
