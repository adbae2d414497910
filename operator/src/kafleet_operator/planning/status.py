"""What a resource's status says: deterministic, and the whole of it each time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from kafleet_operator.errors import KafleetError
    from kafleet_operator.planning.fleets import Fleet, Json
    from kafleet_operator.planning.observations import Observed
    from kafleet_operator.planning.plans import Claim, Outcome, Plan


def report_status(
    fleet: Fleet, plan: Plan, outcome: Outcome, observed: Observed, *, previous: Mapping[str, Any], now: str
) -> Json:
    """Return the whole status after a reconcile; `now` is RFC 3339 and used only where a condition turns."""
    raise NotImplementedError


def report_claims(claims: tuple[Claim, ...], *, previous: Mapping[str, Any]) -> Json:
    """Return the previous status with the plan's claims: to be written, if it differs, before performing."""
    raise NotImplementedError


def report_invalid(error: KafleetError, *, previous: Mapping[str, Any], generation: int, now: str) -> Json:
    """Return the previous status with Accepted and Ready false: the fleet goes on as it was."""
    raise NotImplementedError


def report_deletion(
    plan: Plan, outcome: Outcome, *, previous: Mapping[str, Any], generation: int, now: str
) -> Json:
    """Return the previous status with Ready false for `Deleting`, saying what is waited for."""
    raise NotImplementedError


def transitions(previous: Mapping[str, Any], status: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return one (condition type, reason, message, "Normal" or "Warning") for each Event worth sending."""
    raise NotImplementedError
