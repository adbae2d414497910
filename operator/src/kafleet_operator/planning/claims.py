"""Claims: the topic names a resource holds, kept in `status.topics` so that a crash leaves no orphan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kafleet_operator.planning.plans import Claim

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


def claims_in(status: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Return what a status remembers of its topics; those that are not `managed` keep nobody from them."""
    return tuple(
        Claim(
            role=topic["role"],
            name=topic["name"],
            id=topic.get("id", ""),
            partitions=topic.get("partitions"),
            is_created=topic.get("created", False),
            managed=topic.get("managed", True),
            replaces=topic.get("replaces", ""),
        )
        for topic in status.get("topics", ())
    )


def topics_status(claims: Iterable[Claim]) -> list[dict[str, Any]]:
    """Return `status.topics`; `claims_in` reads it back unchanged."""
    return [
        {
            "role": claim.role,
            "name": claim.name,
            "id": claim.id,
            "managed": claim.managed,
            "created": claim.is_created,
        }
        | ({} if claim.partitions is None else {"partitions": claim.partitions})
        | ({"replaces": claim.replaces} if claim.replaces else {})
        for claim in claims
    ]


def groups_in(status: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the consumer groups recorded in a status: what to observe when the spec cannot be read."""
    return tuple(lane["group"] for lane in status.get("lanes", ()))


def claims_of_others(body: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return who holds which topic before the resource `body` does, for `Observed.claims`.

    `others` are the bodies of living resources of all kinds, `body` itself allowed. A claim to an
    existing topic goes before one that is only announced, then the older resource goes first.
    """
    ours = {claim.name: _precedence(body, claim) for claim in claims_in(body.get("status") or {})}
    held: dict[str, str] = {}
    for other in others:
        metadata = other["metadata"]
        if metadata["uid"] == body["metadata"]["uid"]:
            continue
        for claim in claims_in(other.get("status") or {}):
            goes_first = claim.name not in ours or _precedence(other, claim) < ours[claim.name]
            if claim.managed and goes_first:
                held[claim.name] = f"{other['kind']} {metadata['namespace']}/{metadata['name']}"
    return held


def _precedence(body: Mapping[str, Any], claim: Claim) -> tuple[bool, str, str]:
    metadata = body["metadata"]
    return (not claim.id, metadata["creationTimestamp"], metadata["uid"])
