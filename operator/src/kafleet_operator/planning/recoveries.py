"""Which agents have died, by proof, and what the status tells of how their work went on.

The proof is a container that Kubernetes says has ended, and in whose termination log the process left its
member id (`agent_image/contract/termination.schema.json`). A pod that is gone or silent proves nothing.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from kafleet_operator.planning.manifests import CONTAINER

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from kafleet_operator.planning.fleets import Json

Partition = tuple[str, int]  # topic, number


@dataclass(frozen=True, slots=True)
class Death:
    """A member of a group whose process is gone: `agent` is its pod, `at` when its container ended."""

    group: str
    member: str
    agent: str
    reason: str
    at: str


@dataclass(frozen=True, slots=True)
class Recovery:
    """A dead member that was taken out of its group.

    `seconds` from the container's end until others held its partitions, None if nobody took them;
    `resumed_from` is where they went on: at the committed offset, None where that could not be read.
    """

    death: Death
    seconds: float | None
    resumed_from: tuple[tuple[Partition, int | None], ...] = ()


def deaths_in(pods: Iterable[Json], groups: Collection[str]) -> tuple[Death, ...]:
    """Return whom pods prove to be dead, of members of these groups, first things first.

    What a pod says of other groups is not believed: whoever may make pods could have others' members removed.
    """
    found = (_death(pod, ended) for pod in pods for ended in _ended(pod))
    ours = {death for death in found if death and death.group in groups}
    return tuple(sorted(ours, key=lambda death: (death.at, death.agent, death.member)))


def is_served(partitions: Iterable[Partition], members: Mapping[str, Collection[Partition]]) -> bool:
    """Tell whether somebody holds each of the partitions."""
    held = {partition for each in members.values() for partition in each}
    return held.issuperset(partitions)


def seconds_since(at: str, now: datetime) -> float:
    """Return how long ago a time of Kubernetes' was, to a tenth; clocks that differ make it 0 at least."""
    then = datetime.strptime(at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    return round(max(0.0, (now - then).total_seconds()), 1)


def recoveries_status(previous: Mapping[str, Any], news: Sequence[Recovery]) -> Json:
    """Return a lane's `recoveries`: what was told before, and what has happened since."""
    if not news:
        return dict(previous)
    last = news[-1]
    told: Json = {"agent": last.death.agent, "reason": last.death.reason, "at": last.death.at}
    if last.seconds is not None:
        told["seconds"] = last.seconds
    told["resumedFrom"] = [
        {"topic": topic, "partition": number, **({} if offset is None else {"offset": offset})}
        for (topic, number), offset in last.resumed_from
    ]
    return {"count": previous.get("count", 0) + len(news), "last": told}


def words_for(recovery: Recovery) -> str:
    """Say in words what became of a dead agent's work."""
    death = recovery.death
    begin = f"agent {death.agent!r} died ({death.reason}) and was removed from group {death.group!r}"
    if not recovery.resumed_from:
        return f"{begin}; it held no partition"
    places = ", ".join(
        f"{topic}/{number}" + ("" if at is None else f" at {at}")
        for (topic, number), at in recovery.resumed_from
    )
    when = (
        "no other has taken its partitions yet"
        if recovery.seconds is None
        else f"{recovery.seconds:g} s after its end others went on with its partitions"
    )
    return f"{begin}; {when}: {places}"


def _ended(pod: Json) -> Iterable[Json]:
    """Yield how the agent's container ended: now, and before its last start."""
    for status in pod.get("status", {}).get("containerStatuses") or ():
        if status.get("name") == CONTAINER:
            for state in (status.get("state"), status.get("lastState")):
                if state and state.get("terminated"):
                    yield state["terminated"]


def _death(pod: Json, ended: Json) -> Death | None:
    """Return who died, None where nobody did or nothing tells who."""
    try:
        told = json.loads(ended.get("message") or "null")
    except ValueError:
        return None
    if not isinstance(told, dict) or told.get("version") != 1 or ended.get("exitCode") == 0:
        return None
    group, member, at = told.get("group"), told.get("member"), ended.get("finishedAt")
    if not (isinstance(group, str) and isinstance(member, str) and group and member and at):
        return None
    reason = ended.get("reason")
    known = reason if reason and reason not in {"Error", "Completed"} else "Crashed"
    return Death(group, member, pod["metadata"]["name"], known, at)
