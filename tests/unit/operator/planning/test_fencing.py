"""Only what nobody will end any more is ended: no transaction of a pod that is there, or may be."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from unit.operator.planning.samples import FLEET, LANE, planned, running, topics, with_lane

from kafleet_operator.planning.fencing import exact_groups, plan_fencing, unseen_pods
from kafleet_operator.planning.fleets import Delivery
from kafleet_operator.planning.observations import Observed, OpenTransaction, Unknown

if TYPE_CHECKING:
    from kafleet_operator.planning.fleets import Json

A, B = OpenTransaction(LANE.group, "a", 1), OpenTransaction(LANE.group, "b", 2)
DENIED = Unknown("NotAuthorized", "no ACL allows it")
EXACT = Delivery(guarantee="ExactlyOnce")


def pod(name: str, phase: str | None = "Running") -> Json:
    status = {"phase": phase} if phase else {}
    return {"metadata": {"name": name, "labels": {"kafleet.dev/lane": "workers"}}, "status": status}


def test_only_lanes_that_deliver_exactly_once_make_transactions() -> None:
    """No other lane costs a request."""
    judge = replace(LANE, name="judge", group="support.triage.judge", delivery=EXACT)

    assert exact_groups(FLEET) == []
    assert exact_groups(replace(FLEET, lanes=(LANE, judge))) == ["support.triage.judge"]


def test_pods_that_were_not_seen_are_to_be_looked_for() -> None:
    """What was seen of pods may be old: that nobody has seen one proves nothing."""
    assert unseen_pods({"x": (A, B), "y": DENIED}, [pod("a"), pod("c")]) == {"b"}
    assert plan_fencing(Observed({}, transactions={LANE.group: (B,)}, pods=(pod("a"),))).is_empty


def test_the_transaction_of_a_pod_that_does_not_exist_is_ended() -> None:
    plan = plan_fencing(
        Observed(
            {},
            transactions={LANE.group: (A, B), "other": DENIED},
            pods=(pod("a"),),
            absent_pods=frozenset({"b"}),
        )
    )

    assert plan.end_transactions == (B,)
    assert not plan.is_empty
    assert plan.notes == ("end the transaction 'support.triage.workers/b': its pod is gone",)


@pytest.mark.parametrize(
    ("phase", "is_ended"),
    [
        ("Failed", True),  # evicted, or its node was shut down
        ("Succeeded", True),
        ("Running", False),  # its container may be starting again
        ("Pending", False),
        ("Unknown", False),  # its node is silent
        (None, False),
    ],
)
def test_the_transaction_of_a_pod_that_is_there_is_ended_only_if_nothing_starts_in_it_again(
    phase: str | None,
    is_ended: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    plan = plan_fencing(Observed({}, transactions={LANE.group: (A,)}, pods=(pod("a", phase),)))

    assert plan.end_transactions == ((A,) if is_ended else ())


def test_a_fleets_plan_ends_what_is_left_open() -> None:
    fleet = with_lane(delivery=EXACT)
    objects, open_now = running(fleet), {LANE.group: (A,)}
    unsure = planned(topics(), fleet=fleet, objects=objects, transactions=open_now)
    sure = planned(
        topics(), fleet=fleet, objects=objects, transactions=open_now, absent_pods=frozenset({"a"})
    )

    assert unsure.end_transactions == ()
    assert sure.end_transactions == (A,)
