"""Offsets that a group had and has no more: brokers forget those of a group that was empty for too long."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafleet_operator.planning.observations import GroupState
    from kafleet_operator.planning.plans import Plan


def lost_in(group: GroupState, topics: Plan, known: int) -> list[str]:
    """Return the topics in which records lie whose offsets a group has lost.

    `known` is how many partitions had an offset before. Of a topic that was made again none is missed.
    """
    if _committed(group) >= known:
        return []
    replaced = {claim.name for claim in topics.claims if claim.replaces}
    lacking = {each.topic for each in group.partitions if each.committed is None and each.end > each.start}
    return sorted(lacking - replaced)


def known_after(group: GroupState, topics: Plan, known: int) -> int:
    """Return how many partitions are known to have had an offset; more than have one while some are lost."""
    return known if lost_in(group, topics, known) else _committed(group)


def _committed(group: GroupState) -> int:
    return sum(each.committed is not None for each in group.partitions)
