"""The plan that brings the world closer to a fleet.

Agents start only when their topics, their code and their lane file are in place; agents that run are never
stopped because something could not be read.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kafleet_operator.planning import drift, manifests, names
from kafleet_operator.planning.draining import plan_leftovers
from kafleet_operator.planning.fencing import plan_fencing
from kafleet_operator.planning.observations import Unknown
from kafleet_operator.planning.plans import Dependent, Plan, Refusal, join, refusal, subject_of
from kafleet_operator.planning.references import blockers_of, content_hash, lacks_of, references_of_lane
from kafleet_operator.planning.replacing import begins_anew
from kafleet_operator.planning.topics import compacted_inputs, partitions_ahead, plan_topics

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Fleet, Json, Lane
    from kafleet_operator.planning.observations import Observed
    from kafleet_operator.planning.plans import Claim


def plan_fleet(
    fleet: Fleet, observed: Observed, claims: tuple[Claim, ...], *, agent_image: str, image_pull_policy: str
) -> Plan:
    """Return the next steps towards a fleet; an empty plan (`plan.is_empty`) once the world is as wished."""
    topics = plan_topics(fleet, observed, claims)
    plans = [topics]
    for lane in fleet.lanes:
        plans += [_plan_size(fleet, lane, topics), _plan_inputs(fleet, lane, observed)]
        plans += [_plan_references(fleet, lane, observed), _plan_template(fleet, lane)]
        files = _plan_files(fleet, lane, observed)
        blockers = _blockers(fleet, lane, topics, observed)
        plans += [files, _plan_protection(fleet, lane, observed)]
        if blockers:
            plans.append(_waits(fleet, lane, blockers))
        elif files.refusals:
            plans.append(_waits(fleet, lane, ["its lane file"]))
        else:
            deployment = manifests.deployment_for(
                fleet,
                lane,
                replicas=_replicas(fleet, lane, topics),
                references_hash=_references_hash(fleet, lane, observed),
                agent_image=agent_image,
                image_pull_policy=image_pull_policy,
            )
            needs = _needs(fleet, lane, topics, files, observed)
            plans.append(_after(_plan_object(deployment, observed), needs))
    return join((*plans, plan_leftovers(fleet, observed), plan_fencing(observed)))


def _plan_files(fleet: Fleet, lane: Lane, observed: Observed) -> Plan:
    """Plan what pods cannot start without."""
    builders = (manifests.service_account_for, manifests.config_map_for)
    return join(_plan_object(build(fleet, lane), observed) for build in builders)


def _plan_protection(fleet: Fleet, lane: Lane, observed: Observed) -> Plan:
    builders = (manifests.disruption_budget_for, manifests.network_policy_for)
    return join(_plan_object(build(fleet, lane), observed) for build in builders)


def _needs(fleet: Fleet, lane: Lane, topics: Plan, files: Plan, observed: Observed) -> frozenset[str]:
    """Return the steps of this plan without which agents would not start, or start with something old."""
    created = {step.name for step in topics.create_topics} if _is_new(fleet, lane, observed) else set()
    wanted = {fleet.topic(role).name for role in _roles(lane)}
    return frozenset(f"topic {name!r}" for name in wanted & created) | frozenset(
        subject_of(manifest) for manifest in files.apply_objects
    )


def _is_new(fleet: Fleet, lane: Lane, observed: Observed) -> bool:
    return ("Deployment", names.object_name(fleet.owner, lane.name)) not in observed.objects


def _after(plan: Plan, needs: frozenset[str]) -> Plan:
    dependents = tuple(Dependent(manifest, needs) for manifest in plan.apply_objects)
    return replace(plan, apply_objects=(), apply_dependents=dependents)


def _plan_object(manifest: Json, observed: Observed) -> Plan:
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    if (kind, name) in observed.foreign:
        holder = observed.foreign[kind, name]
        message = f"{kind} {name!r} belongs to {holder}; delete it, or name this resource differently"
        return refusal("AgentsReady", "NameConflict", message)
    seen = observed.objects.get((kind, name))
    if drift.is_in_place(manifest, seen):
        return Plan()
    return Plan(apply_objects=(manifest,), notes=(_apply_note(manifest, seen),))


def _apply_note(manifest: Json, seen: Json | None) -> str:
    subject = f"{manifest['kind']} {manifest['metadata']['name']!r}"
    replicas = manifest.get("spec", {}).get("replicas")
    if seen is None:
        return f"create {subject}" + (f" with {replicas} replicas" if replicas is not None else "")
    before = seen.get("spec", {}).get("replicas")
    scaling = f", replicas {before} to {replicas}" if before != replicas else ""
    return f"{'repair' if drift.is_last_applied(manifest, seen) else 'update'} {subject}{scaling}"


def _plan_size(fleet: Fleet, lane: Lane, topics: Plan) -> Plan:
    """Refuse more agents than partitions: they would only wait. Admission knows managed topics only."""
    capacity = _capacity(fleet, lane, topics)
    if capacity is None or lane.replicas <= capacity:
        return Plan()
    inputs = ", ".join(repr(fleet.topic(role).name) for role in lane.inputs)
    message = (
        f"lane {lane.name!r} wants {lane.replicas} replicas, but topic {inputs} has {capacity} partitions; "
        f"{capacity} run, set replicas: {capacity}"
    )
    return refusal("Accepted", "InvalidSpec", message)


def _replicas(fleet: Fleet, lane: Lane, topics: Plan) -> int:
    capacity = _capacity(fleet, lane, topics)
    wished = lane.replicas if capacity is None else min(lane.replicas, capacity)
    return 0 if fleet.is_suspended or begins_anew(lane, topics) else wished


def _capacity(fleet: Fleet, lane: Lane, topics: Plan) -> int | None:
    sizes = [partitions_ahead(fleet.topic(role), topics) for role in lane.inputs]
    return max((size for size in sizes if size is not None), default=None)


def _plan_inputs(fleet: Fleet, lane: Lane, observed: Observed) -> Plan:
    return join(
        refusal(
            "Accepted",
            "InvalidSpec",
            f"topic {name!r} is compacted, so that tasks can vanish before they are done; "
            "use a topic with cleanup.policy=delete",
        )
        for name in compacted_inputs(fleet, lane, observed)
    )


def _plan_references(fleet: Fleet, lane: Lane, observed: Observed) -> Plan:
    lacks = lacks_of(references_of_lane(fleet, lane), observed.references)
    return join(refusal("Accepted", "ReferenceNotFound", lack) for lack in lacks)


def _references_hash(fleet: Fleet, lane: Lane, observed: Observed) -> str | None:
    """Return the hash of what the pods refer to; while that is not known, the one that they run with."""
    references = references_of_lane(fleet, lane)
    content = content_hash(references, observed.references)
    if not isinstance(content, Unknown) and not blockers_of(references, observed.references):
        return content
    running = observed.objects.get(("Deployment", names.object_name(fleet.owner, lane.name)), {})
    template = running.get("spec", {}).get("template", {}).get("metadata", {})
    known: str | None = template.get("annotations", {}).get(names.REFERENCES_HASH)
    return known


def _plan_template(fleet: Fleet, lane: Lane) -> Plan:
    template = f"{lane.path}.agent.podTemplate"
    return join(
        refusal("Accepted", "InvalidSpec", f"{template}.{place} is the operator's to set; remove it")
        for place in manifests.trespasses_of(fleet, lane)
    )


def _blockers(fleet: Fleet, lane: Lane, topics: Plan, observed: Observed) -> list[str]:
    """Name what a lane needs before its first agent starts, or before those that run may be changed."""
    if manifests.trespasses_of(fleet, lane):
        return ["a podTemplate that leaves to the operator what is its own"]
    if not _is_new(fleet, lane, observed):
        return []
    ahead = {claim.name for claim in topics.claims if claim.id} | {step.name for step in topics.create_topics}
    wanted = [fleet.topic(role).name for role in _roles(lane)]
    blockers = [f"topic {name!r}" for name in wanted if name not in ahead]
    blockers += [f"topic {name!r} to keep tasks" for name in compacted_inputs(fleet, lane, observed)]
    return blockers + blockers_of(references_of_lane(fleet, lane), observed.references)


def _roles(lane: Lane) -> list[str]:
    return list(dict.fromkeys((*lane.inputs, lane.output, lane.dead_letters, *lane.sends.values())))


def _waits(fleet: Fleet, lane: Lane, blockers: list[str]) -> Plan:
    name = names.object_name(fleet.owner, lane.name)
    message = f"Deployment {name!r} waits for {', '.join(blockers)}"
    return Plan(refusals=(Refusal("AgentsReady", "RollingOut", message),), notes=(message,))
