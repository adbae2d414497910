from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from kafleet_operator.planning.claims import claims_in, claims_of_others, groups_in, topics_status
from kafleet_operator.planning.plans import Claim

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Json

CLAIMS = (
    Claim("tasks", "a", "1", 4, is_created=True),
    Claim("results", "b"),
    Claim("dead-letters", "c", "3", 1, managed=False),
)


def resource(uid: str, created: str, *claims: Claim) -> Json:
    return {
        "kind": "AgentGroup",
        "metadata": {"namespace": "support", "name": uid, "uid": uid, "creationTimestamp": created},
        "status": {"topics": topics_status(claims)},
    }


def test_a_status_remembers_claims_unchanged() -> None:
    """What is written is what is read."""
    assert claims_in({"topics": topics_status(CLAIMS)}) == CLAIMS
    assert claims_in({}) == ()


def test_groups_are_remembered_too() -> None:
    """For a deletion whose spec cannot be read."""
    assert groups_in({"lanes": [{"name": "workers", "group": "g"}]}) == ("g",)
    assert groups_in({}) == ()


def test_ours_and_foreign_topics_keep_nobody_out() -> None:
    """Only what another resource answers for is taken."""
    one = resource("one", "2026-01-01T00:00:00Z", *CLAIMS)
    two = resource("two", "2026-01-02T00:00:00Z")

    assert claims_of_others(two, [one, two]) == {
        "a": "AgentGroup support/one",
        "b": "AgentGroup support/one",
    }
    assert claims_of_others(one, [one, two]) == {}
    assert claims_of_others({"metadata": two["metadata"]}, [two | {"status": None}]) == {}


@pytest.mark.parametrize(
    ("older", "younger", "winner"),
    [
        (Claim("tasks", "a"), Claim("tasks", "a"), "older"),
        (Claim("tasks", "a", "1"), Claim("tasks", "a"), "older"),
        (Claim("tasks", "a"), Claim("tasks", "a", "1"), "younger"),
        (Claim("tasks", "a", "1"), Claim("tasks", "a", "1"), "older"),
    ],
)
def test_exactly_one_of_two_claims_holds(older: Claim, younger: Claim, winner: str) -> None:
    """An existing topic before an announced one, then age: both sides see it the same way."""
    one = resource("older", "2026-01-01T00:00:00Z", older)
    two = resource("younger", "2026-01-01T00:00:01Z", younger)
    losers = [uid for uid, body in (("older", one), ("younger", two)) if claims_of_others(body, [one, two])]

    assert losers == [uid for uid in ("older", "younger") if uid != winner]
