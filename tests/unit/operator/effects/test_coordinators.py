"""Each group gets an answer of its own, whatever becomes of the others and of their coordinators."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from unit.operator.effects.asking import AskedNodes, Message, answer
from virtual import run

from kafleet_operator.effects.coordinators import Coordinators, GroupReading
from kafleet_operator.effects.leaders import Leaders
from kafleet_operator.effects.protocol import errors
from kafleet_operator.errors import KafkaUnreachable, KafleetError, NotAuthorized, NotFound, Rejected

if TYPE_CHECKING:
    from collections.abc import Callable

LOADING = errors.CoordinatorLoadInProgressError.errno
MOVED = errors.NotCoordinatorError.errno
DENIED = errors.GroupAuthorizationFailedError.errno
NOT_LEADER = errors.NotLeaderForPartitionError.errno
LEADERLESS = errors.LeaderNotAvailableError.errno
NO_TOPIC = errors.UnknownTopicOrPartitionError.errno


class Cluster(AskedNodes):
    """Two nodes: `coordinators` and `leaders` say who has what."""

    def __init__(self) -> None:
        super().__init__()
        self.coordinators: dict[str, int] = {}
        self.leaders: dict[int, int] = {}

    def answered(self, name: str, request: Message, node: int | None) -> Message:
        answers: dict[str, Callable[..., Message]] = {
            "FindCoordinatorRequest": self._find,
            "ListGroupsRequest": self._list,
            "OffsetFetchRequest": self._fetch,
            "DeleteGroupsRequest": self._delete,
            "MetadataRequest": self._metadata,
            "ListOffsetsRequest": self._offsets,
        }
        return answers[name](request, node)

    def _find(self, request: Message, _node: None) -> Message:
        return answer(
            coordinators=[
                answer(key=name, node_id=self.coordinators[name], error_code=0)
                for name in request.coordinator_keys
            ]
        )

    def _list(self, _request: Message, node: int) -> Message:
        groups = [name for name, at in self.coordinators.items() if at == node and name != "absent"]
        return answer(error_code=0, groups=[answer(group_id=name, group_state="Stable") for name in groups])

    def _fetch(self, request: Message, node: int) -> Message:
        return answer(
            groups=[
                answer(group_id=group.group_id, error_code=self._fault(group.group_id, node), topics=[])
                for group in request.groups
            ]
        )

    def _delete(self, request: Message, node: int) -> Message:
        return answer(
            results=[
                answer(group_id=name, error_code=self._fault(name, node)) for name in request.groups_names
            ]
        )

    def _fault(self, group: str, node: int) -> int:
        return MOVED if self.coordinators[group] != node else self.faults.get(group, 0)

    def _metadata(self, request: Message, _node: None) -> Message:
        partitions = [
            answer(partition_index=number, leader_id=leader, error_code=0)
            for number, leader in self.leaders.items()
        ]
        return answer(
            topics=[
                answer(name=topic.name, error_code=self.faults.get(topic.name, 0), partitions=partitions)
                for topic in request.topics
            ]
        )

    def _offsets(self, request: Message, node: int) -> Message:
        return answer(
            topics=[
                answer(
                    name=topic.name,
                    partitions=[
                        answer(
                            partition_index=each.partition_index,
                            error_code=0 if self.leaders[each.partition_index] == node else NOT_LEADER,
                            offset=7,
                        )
                        for each in topic.partitions
                    ],
                )
                for topic in request.topics
            ]
        )


def read(
    cluster: Cluster, coordinators: Coordinators | None = None
) -> dict[str, GroupReading | KafleetError]:
    coordinators = coordinators or Coordinators(cluster)
    return run(coordinators.read({name: [] for name in cluster.coordinators}))


def test_one_request_of_a_kind_reads_all_groups_of_a_coordinator() -> None:
    """However many there are; who coordinates them is asked only once."""
    cluster = Cluster()
    cluster.coordinators = {f"group-{number}": number % 2 for number in range(100)}
    coordinators = Coordinators(cluster)

    assert read(cluster, coordinators) == {name: GroupReading("Stable", {}) for name in cluster.coordinators}
    kinds = ["ListGroupsRequest", "OffsetFetchRequest"]
    assert sorted(cluster.asked, key=str) == [
        ("FindCoordinatorRequest", None),
        *((kind, node) for kind in kinds for node in (0, 1)),
    ]
    cluster.asked.clear()
    read(cluster, coordinators)
    assert len(cluster.asked) == 4


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (DENIED, NotAuthorized),
        (LOADING, KafkaUnreachable),
        (errors.InvalidGroupIdError.errno, Rejected),
        (-1, Rejected),
    ],
)
def test_one_group_that_cannot_be_read_hides_no_other(code: int, error: type[Exception]) -> None:
    """A group that is not listed because it may not be seen is not taken for one that is not there."""
    cluster = Cluster()
    cluster.coordinators = dict.fromkeys(["fine", "wrong", "absent"], 1)
    cluster.faults = {"wrong": code}

    readings = read(cluster)

    assert readings["fine"] == GroupReading("Stable", {})
    assert readings["absent"] == GroupReading("Dead", {})
    assert isinstance(readings["wrong"], error)


def test_a_silent_coordinator_is_no_news_of_other_coordinators_groups() -> None:
    """And is looked for anew the next time: the group may have moved."""
    cluster = Cluster()
    cluster.coordinators = {"fine": 1, "lost": 2}
    cluster.silent = {2}
    coordinators = Coordinators(cluster)

    readings = read(cluster, coordinators)
    assert isinstance(readings["fine"], GroupReading)
    assert isinstance(readings["lost"], KafkaUnreachable)
    cluster.coordinators["lost"] = 1
    assert isinstance(read(cluster, coordinators)["lost"], GroupReading)


def test_a_group_that_moved_is_found_at_once() -> None:
    """Within the same read, by one more question for it alone."""
    cluster = Cluster()
    cluster.coordinators = {"stays": 1, "moves": 1}
    coordinators = Coordinators(cluster)
    read(cluster, coordinators)
    cluster.coordinators["moves"] = 2

    assert all(isinstance(each, GroupReading) for each in read(cluster, coordinators).values())


def test_a_deleted_group_is_no_failure_and_a_refused_one_is() -> None:
    cluster = Cluster()
    cluster.coordinators = {"absent": 1, "used": 2, "done": 1}
    cluster.faults = {
        "absent": errors.GroupIdNotFoundError.errno,
        "used": errors.NonEmptyGroupError.errno,
    }

    failures = run(Coordinators(cluster).delete(cluster.coordinators))

    assert {name: type(error) for name, error in failures.items()} == {"used": Rejected}


def test_a_partition_whose_leader_moved_is_found_at_once() -> None:
    cluster = Cluster()
    cluster.leaders = {0: 1, 1: 1}
    leaders = Leaders(cluster)
    places = [("topic", 0), ("topic", 1)]
    run(leaders.ranges(places))
    cluster.leaders = {0: 1, 1: 2}

    assert run(leaders.ranges(places)) == dict.fromkeys(places, (7, 7))


def test_partitions_that_cannot_be_read_hide_no_others() -> None:
    """One topic is gone, one has fewer partitions, and one broker is silent."""
    cluster = Cluster()
    cluster.leaders = {0: 1, 1: 2}
    cluster.silent = {2}
    cluster.faults = {"gone": NO_TOPIC}

    found = run(Leaders(cluster).ranges([("topic", 0), ("topic", 1), ("topic", 2), ("gone", 0)]))

    assert found["topic", 0] == (7, 7)
    assert isinstance(found["topic", 1], KafkaUnreachable)
    assert isinstance(found["topic", 2], NotFound)
    assert isinstance(found["gone", 0], NotFound)


def test_a_new_partition_is_waited_for_until_it_has_a_leader() -> None:
    """For about a second: brokers know a topic some moments before who leads it."""
    cluster = Cluster()
    cluster.leaders = {0: 1}

    async def story() -> None:
        cluster.faults = {"new": LEADERLESS}
        reading = asyncio.create_task(Leaders(cluster).ranges([("new", 0)]))
        await asyncio.sleep(0.5)
        cluster.faults = {}

        assert await reading == {("new", 0): (7, 7)}

    run(story())
