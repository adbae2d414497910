"""Claims: the topic names a resource holds, kept in `status.topics` so that a crash leaves no orphan."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kafleet_operator.planning.plans import Claim


def claims_in(status: Mapping[str, Any]) -> tuple[Claim, ...]:
    """Return the claims recorded in a status; topics of somebody else (`managed: false`) are none."""
    raise NotImplementedError


def groups_in(status: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the consumer groups recorded in a status: what to observe when the spec cannot be read."""
    raise NotImplementedError


def claims_of_others(body: Mapping[str, Any], others: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return who holds which topic before the resource `body` does, for `Observed.claims`.

    `others` are the bodies of all living resources of all kinds, `body` itself allowed. A claim to an
    existing topic goes before one that is only announced, then the older resource goes first.
    """
    raise NotImplementedError
