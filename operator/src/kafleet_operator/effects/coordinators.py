"""Questions to group coordinators: each is asked once for all of its groups, and each group gets an answer.

An answer is what was asked for, or why it could not be told; one group's error is never another's.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from kafleet_operator.effects.nodes import SEARCHES, Moved
from kafleet_operator.effects.protocol import (
    ConsumerGroupDescribeRequest,
    DeleteGroupsRequest,
    FindCoordinatorRequest,
    LeaveGroupRequest,
    ListGroupsRequest,
    OffsetCommitRequest,
    OffsetFetchRequest,
)
from kafleet_operator.errors import KafleetError, NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from kafleet_operator.effects.nodes import Nodes

Partition = tuple[str, int]  # topic, number
Answer = TypeVar("Answer")

GROUP: Final = 0  # what is coordinated, as FindCoordinator calls it
# As brokers hold them; later versions name topics by id.
OFFSET_FETCH_VERSION: Final = 8
OFFSET_COMMIT_VERSION: Final = 9
DEAD: Final = "Dead"


class Commit(NamedTuple):
    """A committed offset and what was noted beside it; the offset is -1 where nothing was committed."""

    offset: int
    metadata: str


@dataclass(frozen=True, slots=True)
class GroupReading:
    """A group's state, by Kafka's name for it, and its commits. A group that is not there is Dead."""

    state: str
    commits: Mapping[Partition, Commit]


class Coordinators:
    """The coordinators of one Kafka cluster's groups; remembers who they are until somebody is not."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes
        self._known: dict[str, int] = {}

    async def read(
        self, groups: Mapping[str, Collection[Partition]]
    ) -> dict[str, GroupReading | KafleetError]:
        """Return how groups are and what they have committed of the partitions."""

        async def read_at(node: int, names: list[str]) -> dict[str, GroupReading | KafleetError]:
            states, fetched = await asyncio.gather(
                self._states(node), self._fetch(node, {name: groups[name] for name in names})
            )
            return {
                name: commits
                if isinstance(commits, KafleetError)
                else GroupReading(states.get(name, DEAD), commits)
                for name, commits in fetched.items()
            }

        return await self._ask_each(groups, read_at)

    async def members(self, group: str) -> dict[str, tuple[Partition, ...]]:
        """Return a group's members by id, with the partitions that each holds; none if it is not there."""

        async def describe_at(node: int, names: list[str]) -> dict[str, Any]:
            request = ConsumerGroupDescribeRequest(group_ids=names, include_authorized_operations=False)
            answer = await self._nodes.ask(request, node)
            return {each.group_id: self._nodes.error_of(each.error_code) or each for each in answer.groups}

        described = (await self._ask_each([group], describe_at))[group]
        if isinstance(described, NotFound):
            return {}
        if isinstance(described, KafleetError):
            raise described
        return {
            member.member_id: tuple(
                (topic.topic_name, number)
                for topic in member.assignment.topic_partitions
                for number in topic.partitions
            )
            for member in described.members
        }

    async def remove(self, group: str, member_id: str) -> None:
        """Take a member out of a group, as if it had left; one that is not in it needs nothing."""

        async def leave_at(node: int, names: list[str]) -> dict[str, KafleetError | None]:
            member = LeaveGroupRequest.MemberIdentity(
                member_id=member_id, group_instance_id=None, reason="its container ended"
            )
            request = LeaveGroupRequest(group_id=group, members=[member], min_version=3)
            answer = await self._nodes.ask(request, node)
            codes = [answer.error_code, *(each.error_code for each in answer.members)]
            return dict.fromkeys(names, self._nodes.error_of(*codes))

        error = (await self._ask_each([group], leave_at))[group]
        if error and not isinstance(error, NotFound):
            raise error

    async def reset(self, groups: Mapping[str, Collection[Partition]]) -> dict[str, KafleetError]:
        """Set groups to offset 0 of partitions; return what went wrong. Refused to those with members."""

        async def commit_at(node: int, names: list[str]) -> dict[str, KafleetError | None]:
            answers = [self._nodes.ask(_commit_of_nobody(name, groups[name]), node) for name in names]
            return {
                name: self._nodes.error_of(
                    *(each.error_code for topic in answer.topics for each in topic.partitions)
                )
                for name, answer in zip(names, await asyncio.gather(*answers), strict=True)
            }

        return {name: error for name, error in (await self._ask_each(groups, commit_at)).items() if error}

    async def delete(self, groups: Iterable[str]) -> dict[str, KafleetError]:
        """Delete groups; return what went wrong. A group that is not there is deleted."""

        async def delete_at(node: int, names: list[str]) -> dict[str, KafleetError | None]:
            answer = await self._nodes.ask(DeleteGroupsRequest(groups_names=names), node)
            return {each.group_id: self._nodes.error_of(each.error_code) for each in answer.results}

        results = await self._ask_each(groups, delete_at)
        return {name: error for name, error in results.items() if error and not isinstance(error, NotFound)}

    async def _states(self, node: int) -> dict[str, str]:
        """Return the states of all groups that a node coordinates, and that the operator may see."""
        answer = await self._nodes.ask(ListGroupsRequest(min_version=4), node)
        if error := self._nodes.error_of(answer.error_code):
            raise error
        return {each.group_id: each.group_state for each in answer.groups}

    async def _fetch(
        self, node: int, groups: Mapping[str, Collection[Partition]]
    ) -> dict[str, Mapping[Partition, Commit] | KafleetError]:
        wanted = OffsetFetchRequest.OffsetFetchRequestGroup
        request = OffsetFetchRequest(
            groups=[
                wanted(
                    group_id=name,
                    topics=[
                        wanted.OffsetFetchRequestTopics(name=topic, partition_indexes=numbers)
                        for topic, numbers in by_topic(partitions).items()
                    ],
                )
                for name, partitions in groups.items()
            ],
            require_stable=False,
            min_version=OFFSET_FETCH_VERSION,
            max_version=OFFSET_FETCH_VERSION,
        )
        answer = await self._nodes.ask(request, node)
        return {each.group_id: self._commits(each) for each in answer.groups}

    def _commits(self, group: Any) -> Mapping[Partition, Commit] | KafleetError:  # noqa: ANN401 - kafka-python is untyped
        codes = [partition.error_code for topic in group.topics for partition in topic.partitions]
        if error := self._nodes.error_of(group.error_code, *codes):
            return error
        return {
            (topic.name, partition.partition_index): Commit(
                partition.committed_offset, partition.metadata or ""
            )
            for topic in group.topics
            for partition in topic.partitions
        }

    async def _ask_each(
        self,
        groups: Iterable[str],
        ask_at: Callable[[int, list[str]], Awaitable[Mapping[str, Answer | KafleetError]]],
    ) -> dict[str, Answer | KafleetError]:
        """Ask each coordinator for its groups; those that moved are looked for a few times."""
        answers: dict[str, Answer | KafleetError] = {}
        missing = list(groups)
        for delay in SEARCHES:
            await asyncio.sleep(delay)
            answers |= await self._find(missing)
            places: dict[int, list[str]] = defaultdict(list)
            for name in missing:
                if name in self._known:
                    places[self._known[name]].append(name)
            asked = [self._ask_one(node, names, ask_at) for node, names in places.items()]
            for told in await asyncio.gather(*asked):
                answers |= told
            missing = [name for name in missing if isinstance(answers[name], Moved)]
            if not missing:
                break
        return answers

    async def _ask_one(
        self,
        node: int,
        names: list[str],
        ask_at: Callable[[int, list[str]], Awaitable[Mapping[str, Answer | KafleetError]]],
    ) -> dict[str, Answer | KafleetError]:
        answers: dict[str, Answer | KafleetError]
        try:
            answers = dict(await ask_at(node, names))
        except KafleetError as error:
            # Perhaps its groups have another coordinator by now; found out the next time.
            answers = dict.fromkeys(names, error)
            self._forget(names)
        self._forget(name for name, answer in answers.items() if isinstance(answer, Moved))
        return answers

    async def _find(self, groups: list[str]) -> dict[str, KafleetError]:
        """Learn who coordinates groups; return why that is not known, by group."""
        unknown = [name for name in groups if name not in self._known]
        if not unknown:
            return {}
        try:
            answer = await self._nodes.ask(
                FindCoordinatorRequest(key_type=GROUP, coordinator_keys=unknown, min_version=4)
            )
        except KafleetError as error:
            return dict.fromkeys(unknown, error)
        found = {each.key: each for each in answer.coordinators}
        errors = {name: self._nodes.error_of(each.error_code) for name, each in found.items()}
        self._known |= {name: found[name].node_id for name, error in errors.items() if not error}
        return {name: error for name, error in errors.items() if error}

    def _forget(self, groups: Iterable[str]) -> None:
        for name in groups:
            self._known.pop(name, None)


def _commit_of_nobody(group: str, partitions: Collection[Partition]) -> object:
    """Return the request that commits offset 0 as nobody: only a group without members takes it."""
    wanted = OffsetCommitRequest.OffsetCommitRequestTopic
    return OffsetCommitRequest(
        group_id=group,
        generation_id_or_member_epoch=-1,
        member_id="",
        topics=[
            wanted(
                name=topic,
                partitions=[
                    wanted.OffsetCommitRequestPartition(
                        partition_index=number, committed_offset=0, committed_metadata=""
                    )
                    for number in numbers
                ],
            )
            for topic, numbers in by_topic(partitions).items()
        ],
        min_version=OFFSET_COMMIT_VERSION,
        max_version=OFFSET_COMMIT_VERSION,
    )


def by_topic(partitions: Iterable[Partition]) -> dict[str, list[int]]:
    """Return the numbers of partitions by topic."""
    numbers: dict[str, list[int]] = defaultdict(list)
    for topic, number in partitions:
        numbers[topic].append(number)
    return numbers
