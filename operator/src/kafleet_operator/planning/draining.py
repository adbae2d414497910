"""Lanes that are no longer wished: they work off what waits for them, for a while, then they go.

The status remembers which lanes there were and since when one drains, the lane file what it reads and how
long that may take. Agents go first, then their group, so that no offset is lost that somebody still needs.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kafleet_operator.planning import lanefiles, names
from kafleet_operator.planning.observations import GroupState, Unknown
from kafleet_operator.planning.plans import Plan, Refusal, join

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from kafleet_operator.planning.fleets import Fleet, Json
    from kafleet_operator.planning.observations import Observed


@dataclass(frozen=True, slots=True)
class Leftover:
    """A lane that a status tells of and the fleet has no more.

    `since` is when it was first seen to be left over (RFC 3339, None: only now), `seconds` how long ago that
    was. Without a lane file there is nothing to work off: no `topics`.
    """

    lane: str
    group: str
    since: str | None = None
    seconds: float = 0.0
    topics: tuple[str, ...] = ()
    drain_seconds: float = 0.0


def leftovers_of(
    fleet: Fleet,
    status: Mapping[str, Any],
    objects: Mapping[tuple[str, str], Json],
    seconds_since: Callable[[str], float],
) -> tuple[Leftover, ...]:
    """Return the lanes that are left over, out of the status and the lane files that are still there."""
    wished = {lane.name for lane in fleet.lanes}
    return tuple(
        _leftover(
            each, objects.get(("ConfigMap", names.object_name(fleet.owner, each["name"]))), seconds_since
        )
        for each in status.get("lanes", ())
        if each["name"] not in wished
    )


def plan_leftovers(fleet: Fleet, observed: Observed) -> Plan:
    """Return the next steps towards a world without lanes that are left over, and without stray objects."""
    kept = {names.object_name(fleet.owner, lane.name) for lane in fleet.lanes}
    kept |= {names.object_name(fleet.owner, each.lane) for each in observed.leftovers}
    strays = sorted(key for key in observed.objects if key[1] not in kept)
    return join((*(_plan_leftover(fleet, each, observed) for each in observed.leftovers), _delete(strays)))


def is_gone(fleet: Fleet, leftover: Leftover, observed: Observed) -> bool:
    """Tell whether nothing of a lane is left."""
    group = observed.groups.get(leftover.group)
    is_dead = isinstance(group, GroupState) and group.state == "Dead"
    return is_dead and not _objects(fleet, leftover, observed) and not observed.pods_of(leftover.lane)


def _leftover(lane: Json, config_map: Json | None, seconds_since: Callable[[str], float]) -> Leftover:
    since = lane.get("drainingSince")
    seconds = seconds_since(since) if since else 0.0
    try:
        file = json.loads(config_map["data"][lanefiles.FILE_NAME]) if config_map else {}
        topics = tuple(each["topic"] for each in file["inputs"])
        drain_seconds = float(file["delivery"]["drainTimeoutSeconds"])
    except (KeyError, TypeError, ValueError):
        topics, drain_seconds = (), 0.0
    return Leftover(lane["name"], lane["group"], since, seconds, topics, drain_seconds)


def _plan_leftover(fleet: Fleet, leftover: Leftover, observed: Observed) -> Plan:
    if is_gone(fleet, leftover, observed):
        return Plan()
    begin, group = f"lane {leftover.lane!r} is no longer wished", observed.groups.get(leftover.group)
    if _is_working(leftover, group) and leftover.seconds < leftover.drain_seconds:
        return _drains(f"{begin}: its agents work off what waits, for {leftover.drain_seconds:g} s at most")
    objects = _objects(fleet, leftover, observed)
    if objects:
        return join((_delete(objects), _drains(f"{begin}: its agents end")))
    if group is None or isinstance(group, Unknown):
        return _drains(f"{begin}: group {leftover.group!r} cannot be read, and may be left")
    if group.has_members or observed.pods_of(leftover.lane):
        return _drains(f"{begin}: its last agents end")
    message = f"{begin}: group {leftover.group!r} is deleted"
    return join((Plan(delete_groups=(leftover.group,)), _drains(message)))


def _is_working(leftover: Leftover, group: GroupState | Unknown | None) -> bool:
    """Tell whether something may wait in a lane's input: also where that cannot be read."""
    if not isinstance(group, GroupState):
        return bool(leftover.topics)
    return any(
        each.end > each.start and (each.committed is None or each.committed + each.settled < each.end)
        for each in group.partitions
    )


def _drains(message: str) -> Plan:
    return Plan(refusals=(Refusal("AgentsReady", "Draining", message),), notes=(message,))


def _delete(keys: Iterable[tuple[str, str]]) -> Plan:
    listed = tuple(keys)
    notes = tuple(f"delete {kind} {name!r}: it belongs to no lane" for kind, name in listed)
    return Plan(delete_objects=listed, notes=notes)


def _objects(fleet: Fleet, leftover: Leftover, observed: Observed) -> list[tuple[str, str]]:
    name = names.object_name(fleet.owner, leftover.lane)
    return sorted(key for key in observed.objects if key[1] == name)
