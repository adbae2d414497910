"""Carrying out a plan: step by step, with failures side by side with what worked."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from kafleet_operator.errors import ApiUnavailable, Conflict, KafleetError
from kafleet_operator.planning.plans import Failure, Outcome, held_back, subject_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from kafleet_operator.effects.kafka import Kafka
    from kafleet_operator.effects.objects import Name, Objects
    from kafleet_operator.planning.fleets import Json
    from kafleet_operator.planning.plans import Plan

Step = TypeVar("Step")
Result = TypeVar("Result")


async def perform(plan: Plan, *, kafka: Kafka, objects: Objects) -> Outcome:
    """Carry out every step of a plan, in its order; release is the caller's.

    Raises only `ApiUnavailable` and `Conflict`: after them nothing can be reported or the view was old, and
    the whole reconcile is to be repeated.
    """
    ended = await _batch(plan.end_transactions, kafka.transactions.end, lambda step: step.id)
    created = await _batch(plan.create_topics, kafka.topics.create, lambda step: step.name)
    grown = await _batch(plan.grow_topics, kafka.topics.grow, lambda step: step.name)
    configured = await _batch(plan.configure_topics, kafka.topics.configure, lambda step: step.name)
    reset = await _batch(plan.reset_offsets, kafka.groups.reset, lambda step: step.group)
    failures = [*_failures("transactional id", ended), *_failures("topic", created, grown, configured)]
    failures += _failures("group", reset)
    applied = await _apply(plan.apply_objects, objects, failures)
    held = [(each, held_back(each, failures)) for each in plan.apply_dependents]
    applied |= await _apply([each.manifest for each, why in held if why is None], objects, failures)
    await _delete(plan.delete_objects, objects, failures)
    failures += _failures("group", await _batch(plan.delete_groups, kafka.groups.delete, str))
    deleted = await _batch(
        plan.delete_topics, lambda steps: kafka.topics.delete(dict(steps)), lambda step: step[0]
    )
    return Outcome(
        created_topics={name: id_ for name, id_ in created.items() if isinstance(id_, str)},
        applied=applied,
        failures=(*failures, *_failures("topic", deleted)),
        held=tuple(why for _, why in held if why is not None),
    )


async def _batch(
    steps: Sequence[Step],
    do: Callable[[Sequence[Step]], Awaitable[Mapping[str, Result]]],
    name: Callable[[Step], str],
) -> dict[str, Result | KafleetError]:
    """Do steps of one sort together; a failure of the whole batch is the failure of each."""
    if not steps:
        return {}
    try:
        return dict(await do(steps))
    except KafleetError as error:
        return {name(step): error for step in steps}


async def _apply(desired: Iterable[Json], objects: Objects, failures: list[Failure]) -> dict[Name, Json]:
    """Apply objects and return them as they are now; what failed is added to the failures."""
    applied: dict[Name, Json] = {}
    for body in desired:
        kind, name = body["kind"], body["metadata"]["name"]
        try:
            applied[kind, name] = await objects.apply(body)
        except (ApiUnavailable, Conflict):
            raise
        except KafleetError as error:
            failures.append(Failure(subject_of(body), error.reason, str(error)))
    return applied


async def _delete(names: Iterable[Name], objects: Objects, failures: list[Failure]) -> None:
    for kind, name in names:
        try:
            await objects.delete(kind, name)
        except (ApiUnavailable, Conflict):
            raise
        except KafleetError as error:
            failures.append(Failure(f"{kind} {name!r}", error.reason, str(error)))


def _failures(sort: str, *results: Mapping[str, object]) -> list[Failure]:
    return [
        Failure(f"{sort} {name!r}", result.reason, str(result))
        for each in results
        for name, result in each.items()
        if isinstance(result, KafleetError)
    ]
