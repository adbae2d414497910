"""Open transactions are asked of all brokers at once; one that is silent is no news of the others."""

from __future__ import annotations

import pytest
from unit.operator.effects.asking import AskedNodes, Message, answer
from virtual import run

from kafleet_operator.effects.protocol import errors
from kafleet_operator.effects.transactions import Transactions
from kafleet_operator.errors import Denied, KafleetError, Rejected
from kafleet_operator.planning.observations import OpenTransaction, Unknown

DENIED = errors.TransactionalIdAuthorizationFailedError.errno
GROUP = "support.triage.workers"
A, B = OpenTransaction(GROUP, "a", 1), OpenTransaction(GROUP, "b", 2)


class Cluster(AskedNodes):
    """Nodes with the ids that are open there."""

    def __init__(self, **ids: list[str]) -> None:
        super().__init__()
        self.open = {int(node[1:]): found for node, found in ids.items()}

    def answered(self, name: str, request: Message, node: int | None) -> Message:
        if name == "MetadataRequest":
            return answer(brokers=[answer(node_id=each) for each in self.open])
        if name == "FindCoordinatorRequest":
            assert request.key_type == 1
            return answer(
                coordinators=[
                    answer(key=key, error_code=self.faults.get(key, 0)) for key in request.coordinator_keys
                ]
            )
        if name == "ListTransactionsRequest":
            assert request.state_filters == ["Ongoing"]
            return answer(transaction_states=[answer(transactional_id=each) for each in self.open[node or 0]])
        assert name == "InitProducerIdRequest"
        return answer(error_code=self.faults.get(request.transactional_id, 0))


def observe(cluster: Cluster, *groups: str) -> dict[str, tuple[OpenTransaction, ...] | Unknown]:
    return run(Transactions(cluster, 5).observe(groups or (GROUP,), anew=True))


def end(cluster: Cluster) -> dict[str, KafleetError]:
    return run(Transactions(cluster, 5).end([A, B]))


def test_one_request_a_broker_tells_of_all_groups() -> None:
    """Others' ids, and those that no agent makes, are nobody's business."""
    cluster = Cluster(
        n1=[f"{GROUP}/a", "other/x", "alone", f"{GROUP}/not,a,pod", f"{GROUP}/"], n2=[f"{GROUP}/b", "g/c"]
    )

    assert observe(cluster, GROUP, "g", "none") == {
        GROUP: (A, B),
        "g": (OpenTransaction("g", "c", 2),),
        "none": (),
    }
    assert sorted(cluster.asked, key=str) == [
        ("FindCoordinatorRequest", None),
        ("ListTransactionsRequest", 1),
        ("ListTransactionsRequest", 2),
        ("MetadataRequest", None),
    ]


def test_a_silent_broker_is_no_news_of_the_others() -> None:
    cluster = Cluster(n1=[f"{GROUP}/a"], n2=[f"{GROUP}/b"])
    cluster.silent = {1}

    assert observe(cluster) == {GROUP: (B,)}


def test_without_any_broker_nothing_is_known() -> None:
    cluster = Cluster()
    cluster.silent = {None}

    assert observe(cluster) == {GROUP: Unknown("KafkaUnreachable", "no answer")}


def test_ids_that_may_not_be_seen_are_told_as_such() -> None:
    """Brokers just leave them out of lists."""
    cluster = Cluster(n1=["other/x"])
    cluster.faults = {f"{GROUP}/": DENIED}
    found = observe(cluster, GROUP, "other")

    unknown = found[GROUP]
    assert isinstance(unknown, Unknown)
    assert unknown.reason == "NotAuthorized"
    assert unknown.message.startswith(
        f"transactional ids '{GROUP}/*': no ACL allows the operator Describe; grant it"
    )
    assert found["other"] == (OpenTransaction("other", "x", 1),)


def test_a_transaction_is_ended_by_its_coordinator() -> None:
    """The broker says that it is at it, and needs no second request."""
    cluster = Cluster()
    cluster.faults = {A.id: errors.ConcurrentTransactionsError.errno}

    assert end(cluster) == {}
    assert cluster.asked == [("InitProducerIdRequest", 1), ("InitProducerIdRequest", 2)]


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (DENIED, Denied),
        (errors.InvalidTransactionTimeoutError.errno, Rejected),
        (errors.NotCoordinatorError.errno, None),  # found where it is now when one looks again
        (errors.CoordinatorLoadInProgressError.errno, None),
    ],
)
def test_one_refusal_hides_no_other(code: int, error: type[KafleetError] | None) -> None:
    cluster = Cluster()
    cluster.faults = {B.id: code}

    assert {name: type(found) for name, found in end(cluster).items()} == ({B.id: error} if error else {})


def test_a_coordinator_that_is_silent_now_is_asked_when_one_looks_again() -> None:
    cluster = Cluster()
    cluster.silent = {1}
    cluster.faults = {B.id: DENIED}

    assert end(cluster).keys() == {B.id}
