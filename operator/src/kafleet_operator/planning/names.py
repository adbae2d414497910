"""The names of everything a fleet makes. They are part of the API: changing one orphans what exists."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Owner

FINALIZER = "kafleet.dev/cleanup"
ADOPT = "kafleet.dev/adopt"
KIND = "kafleet.dev/kind"
RESOURCE = "kafleet.dev/resource"
LANE = "kafleet.dev/lane"
LANE_HASH = "kafleet.dev/lane-hash"
REFERENCES_HASH = "kafleet.dev/references-hash"
MANIFEST_HASH = "kafleet.dev/manifest-hash"


def topic_name(owner: Owner, role: str) -> str:
    return f"{owner.namespace}.{owner.name}.{role}"


def group_name(owner: Owner, lane: str) -> str:
    return f"{owner.namespace}.{owner.name}.{lane}"


def object_name(owner: Owner, lane: str) -> str:
    """Return the name that a lane's Deployment, ServiceAccount and ConfigMap share."""
    return f"{owner.name}-{lane}"


def selector_labels(owner: Owner, lane: str) -> dict[str, str]:
    """Return the labels that tell a lane's pods apart; a Deployment's selector can never change."""
    return {KIND: owner.kind, RESOURCE: owner.name, LANE: lane}


def labels(owner: Owner, lane: str) -> dict[str, str]:
    """Return every label of a lane's objects: the selector's and Kubernetes' recommended ones."""
    return {
        "app.kubernetes.io/name": "kafleet-agent",
        "app.kubernetes.io/component": lane,
        "app.kubernetes.io/part-of": owner.name,
        "app.kubernetes.io/managed-by": "kafleet",
        **selector_labels(owner, lane),
    }
