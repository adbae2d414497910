"""What keeps agents from running, in words that stay while it lasts, out of what Kubernetes says of pods."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kafleet_operator.planning.manifests import CONTAINER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from kafleet_operator.planning.fleets import Json

# Why a container waits although nobody needs to do anything, or what a condition of its own says.
_UNTROUBLING = frozenset({"ContainerCreating", "PodInitializing", "CrashLoopBackOff"})
# Kubernetes alternates between these two while it tries again and again.
_PULLING = "ErrImagePull"
_RESTING = "ImagePullBackOff"


def crashing(pods: Iterable[Json]) -> tuple[str, ...]:
    """Return the names of pods in a crash loop."""
    return tuple(
        sorted(
            pod["metadata"]["name"]
            for pod in pods
            if any(_waiting(container).get("reason") == "CrashLoopBackOff" for container in _containers(pod))
        )
    )


def trouble_of(status: Json, pods: Iterable[Json]) -> str:
    """Return the first thing that somebody must look at, or nothing; `status` is a Deployment's."""
    found = [
        f"{condition.get('reason')}: {condition.get('message')}"
        for condition in status.get("conditions") or ()
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True"
    ]
    for pod in pods:
        name = pod["metadata"]["name"]
        for container in _containers(pod):
            found += [f"pod {name!r} {words}" for words in (_wait_of(container), _end_of(container)) if words]
        found += [
            f"pod {name!r} is not scheduled: {condition.get('message')}"
            for condition in pod.get("status", {}).get("conditions") or ()
            if condition["type"] == "PodScheduled" and condition["status"] == "False"
        ]
    return min(found, default="")


def _wait_of(container: Json) -> str | None:
    """Say what a container waits for, None if it waits for nothing that lasts."""
    waiting = _waiting(container)
    reason, message = waiting.get("reason"), waiting.get("message") or ""
    if reason in {_PULLING, _RESTING}:
        # The one says the cause, the other that it waits, and in newer versions the cause at the end.
        cause = message.partition(f"{_PULLING}: ")[2] if reason == _RESTING else message
        return f"cannot pull image {container.get('image')!r}" + (f": {cause}" if cause else "")
    if reason is None or reason in _UNTROUBLING:
        return None
    return f"waits: {reason}" + (f": {message}" if message else "")


def _end_of(container: Json) -> str | None:
    """Say why an agent that is not ready ended last, as it left it in its termination log."""
    if container.get("name") != CONTAINER or container.get("ready"):
        return None
    states = [container.get(state) or {} for state in ("state", "lastState")]
    ended: Json = next((state["terminated"] for state in states if state.get("terminated")), {})
    try:
        told = json.loads(ended.get("message") or "null")
    except ValueError:
        return None
    error = told.get("error") if isinstance(told, dict) else None
    return f"ended: {error}" if isinstance(error, str) and error else None


def _waiting(container: Json) -> Json:
    found: Json = (container.get("state") or {}).get("waiting") or {}
    return found


def _containers(pod: Json) -> list[Json]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
