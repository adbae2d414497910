"""The Kafka thread: polls, pauses, commits, and tells the event loop what happened, in the order of the log.

One thread serves both clients, the member of the group and the one that fetches; everybody else talks to them
by commands. Only what was fetched is taken on the event loop, by an `Intake`. What may take long, a takeover
or the draining of what is revoked, waits on the event loop and never in the thread: the partitions that stay
are read on meanwhile.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Protocol

from confluent_kafka import Consumer, TopicPartition

from kafleet.connections import librdkafka_settings
from kafleet.fetching import Fetcher
from kafleet.intakes import Intake
from kafleet.memberships import Membership
from kafleet.ports import Assignment, Position
from kafleet.records import Partition
from kafleet.takeovers import checked, starts_of, take_over
from kafleet.undecided import undecided_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence

    from confluent_kafka import KafkaError
    from structlog.typing import FilteringBoundLogger

    from kafleet.contacts import Contact
    from kafleet.fetching import Batch
    from kafleet.lanes import Lane
    from kafleet.ports import Commit
    from kafleet.records import Record

_POLL_SECONDS = 0.02  # the longest that a command waits
_ANSWER_SECONDS = 0.002
_COMMIT_SECONDS = 90.0
_REVOKE_GRACE_SECONDS = 10.0
_STOP_SECONDS = 15.0
_SHORTEST_POLL_INTERVAL_SECONDS = 300.0
_LONGEST_POLL_INTERVAL_SECONDS = 86_400.0


class Events(Protocol):
    """Who is told, on the event loop."""

    def assign(self, assignments: Mapping[Partition, Assignment], /) -> None: ...

    def take(self, records: Iterable[Record], /) -> None: ...

    def reach(self, ends: Mapping[Partition, int], /) -> None: ...

    def revoke(self, partitions: Iterable[Partition], /) -> Coroutine[Any, Any, list[Position]]: ...

    def lose(self, partitions: Iterable[Partition], /) -> None: ...


class Reader:
    """One member of the lane's group, and what it reads.

    On the event loop, `joined` is called once with the member id, `fail` with a reason if it can never go on.

    Methods are for the event loop; those that begin with an underscore run in the thread, but for the
    coroutines among them.
    """

    def __init__(
        self,
        lane: Lane,
        client_id: str,
        contact: Contact,
        *,
        logger: FilteringBoundLogger,
        joined: Callable[[str], None],
        fail: Callable[[str], None],
    ) -> None:
        self._lane = lane
        self._contact = contact
        self._logger = logger
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._owned: dict[Partition, int] = {}  # and since which assignment
        self._begun: set[Partition] = set()  # of these, those that are not being taken over any more
        self._last_epoch = 0
        self._revocation: Sequence[Partition] = ()
        self._rebalancing = asyncio.Lock()  # one takeover or drain at a time, in their order
        self._committing = asyncio.Lock()  # commits arrive in the order in which they were asked for
        self._chores: set[asyncio.Task[None]] = set()
        self._waits = True  # for a first record, here; else the intake reads
        self._is_stopping = False
        self._is_committed = True
        self._ended: asyncio.Future[None] = self._loop.create_future()
        settings = {
            **librdkafka_settings(lane),
            "client.id": client_id,
            "group.id": lane.group,
            "reconnect.backoff.max.ms": 2_000,
        }
        self._member = Membership(
            settings | {"max.poll.interval.ms": _poll_interval_ms(lane)},
            contact,
            self,
            logger=logger,
            joined=lambda member_id: self._tell(joined, member_id),
        )
        self._fetcher = Fetcher(settings, self._member.report)
        self._intake = Intake(self._fetcher, self._take, idle=self._wait_again, fail=fail)
        # A call that waits keeps every other one out of its client, polling as well.
        self._bystander = Consumer({**settings, "isolation.level": "read_committed", "log_level": 0})

    def start(self, events: Events, *, commit_first: Commit | None = None) -> None:
        """Join the group; everything that happens is told to `events`.

        `commit_first` commits where partitions begin, if it is not to be done here.
        """
        self._events = events
        self._commit_first = commit_first or self.commit
        threading.Thread(target=self._run, name="kafka-reader", daemon=True).start()

    def pause(self, partition: Partition) -> None:
        """Fetch nothing more of a partition."""
        self._commands.put(lambda: self._fetcher.pause(partition))

    def resume(self, partition: Partition) -> None:
        """Fetch a partition again."""
        self._commands.put(lambda: self._fetcher.resume(partition))

    def pace(self, seconds: float) -> None:
        """Leave so many seconds between batches: what was fetched stays where it is, nothing is lost."""
        self._intake.pace(seconds)

    async def commit(self, positions: Sequence[Position]) -> Collection[Partition]:
        """Commit positions of partitions that are still owned; returns what was acknowledged."""
        async with self._committing:
            answer: asyncio.Future[Collection[Partition]] = self._loop.create_future()
            self._commands.put(lambda: self._commit(positions, answer))
            # However long it takes: what was given up on could still arrive, and undo a later one.
            return await answer

    async def stop(self, positions: Sequence[Position]) -> bool:
        """Commit for the last time and leave the group; False if that could not be confirmed."""
        self._commands.put(lambda: self._stop(positions))
        done, _ = await asyncio.wait({self._ended}, timeout=_STOP_SECONDS)
        return bool(done) and self._is_committed

    # For other threads

    def standing(self, positions: Sequence[Position]) -> Future[object | None]:
        """Ask for the group's metadata for a transaction; None if the assignment of a position is over.

        It fences the transaction once a partition is lost. Before that brokers take positions of any
        partition from any member: what is owned is known only here.
        """
        answer: Future[object | None] = Future()
        self._commands.put(lambda: answer.set_result(self._standing(positions)))
        return answer

    def committed(self, partitions: Sequence[Partition], *, seconds: float) -> list[TopicPartition]:
        """Read what the group has committed; transactions that are not decided are waited for."""
        wanted = [TopicPartition(*partition) for partition in partitions]
        return checked(self._bystander.committed(wanted, timeout=seconds))

    def undecided(self, partitions: Sequence[Partition]) -> Collection[Partition]:
        """Ask of which partitions a transaction holds the position."""
        return undecided_of(self._lane, partitions)

    def expelled(self) -> None:
        """Take note that the group does not know this member any more."""
        self._commands.put(self._member.expelled)

    # The thread

    def _run(self) -> None:
        try:
            self._member.join([source.topic for source in self._lane.inputs])
            while not self._is_stopping:
                self._contact.polled_at = time.monotonic()
                self._member.poll()
                seconds = _ANSWER_SECONDS if self._member.awaits_answers else _POLL_SECONDS
                if self._waits:
                    self._serve()
                    self._hand_over(self._fetcher.wait(seconds))
                else:
                    self._serve(seconds)
                if self._member.fatal is not None:
                    self._tell(self._fail, self._member.fatal)
                    return
            # The bystander may be under a call, and closing it would crash the process: it ends with it.
            self._member.leave()
            self._fetcher.close()
        except Exception as error:  # noqa: BLE001 - whatever it was, a silent thread would be worse
            self._tell(self._fail, f"the Kafka thread ended: {error}")
        finally:
            self._tell(_resolve, self._ended, None)

    def _serve(self, seconds: float = 0.0) -> None:
        """Carry out the commands that are there, waiting so long for a first one."""
        try:
            command = self._commands.get(block=seconds > 0, timeout=seconds)
            while True:
                command()
                command = self._commands.get_nowait()
        except queue.Empty:
            return

    def _hand_over(self, first: Batch) -> None:
        if first.records or first.ends:
            self._waits = False
            self._tell(self._intake.begin, first)

    def _take(self, batch: Batch) -> None:
        self._events.take(batch.records)
        self._events.reach(batch.ends)

    def _wait_again(self) -> None:
        self._waits = True
        self._commands.put(_nothing)  # wakes the thread

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: the process is ending without us
            self._is_stopping = True

    # Committing

    def _commit(self, positions: Sequence[Position], answer: asyncio.Future[Collection[Partition]]) -> None:
        offsets = self._valid(positions)
        if offsets:
            self._member.commit(offsets, lambda acknowledged: self._tell(_resolve, answer, acknowledged))
        else:
            self._tell(_resolve, answer, ())

    def _valid(self, positions: Sequence[Position]) -> list[TopicPartition]:
        """Leave out what belongs to an assignment that is over: another member may have gone further."""
        return [
            TopicPartition(*position.partition, position.offset, position.metadata)
            for position in positions
            if self._owned.get(position.partition) == position.epoch
        ]

    def _standing(self, positions: Sequence[Position]) -> object | None:
        # In another thread than the one that polls, this call can block the whole process for ever.
        metadata: object = self._member.consumer.consumer_group_metadata()
        return metadata if len(self._valid(positions)) == len(positions) else None

    def _stop(self, positions: Sequence[Position]) -> None:
        self._is_committed = self._member.commit_and_wait(self._valid(positions))
        self._is_stopping = True

    # Rebalances: told by the member in the thread, carried out on the event loop, ended in the thread

    def assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Take partitions over."""
        self._last_epoch += 1
        self._owned |= {Partition(each.topic, each.partition): self._last_epoch for each in partitions}
        self._tell(self._begin, self._take_over, partitions, self._last_epoch)

    def revoked(self, partitions: Sequence[Partition]) -> None:
        """Let go in good order."""
        self._logger.info("partitions revoked", partitions=_listed(partitions))
        for partition in set(partitions) - self._begun:
            self._owned.pop(partition, None)  # its takeover is not over yet, and ends without anything
        self._end(partitions)
        self._revocation = partitions
        self._tell(self._begin, self._give_up, partitions)

    def lost(self) -> None:
        """Let go at once."""
        lost = list(self._owned)
        self._logger.warning("partitions lost, everything on them is cancelled", partitions=_listed(lost))
        self._owned.clear()
        self._end(lost)
        self._revocation = ()
        self._tell(self._events.lose, lost)

    def _end(self, partitions: Collection[Partition]) -> None:
        self._begun.difference_update(partitions)
        self._fetcher.end(partitions)

    def _begin(self, chore: Callable[..., Coroutine[Any, Any, None]], *arguments: object) -> None:
        task = self._loop.create_task(chore(*arguments))
        self._chores.add(task)
        task.add_done_callback(self._chore_ended)

    def _chore_ended(self, chore: asyncio.Task[None]) -> None:
        self._chores.discard(chore)
        if not chore.cancelled() and chore.exception() is not None:
            self._fail(f"internal error in a rebalance: {chore.exception()!r}")

    async def _take_over(self, partitions: list[TopicPartition], epoch: int) -> None:
        await take_over(
            partitions,
            lambda left: self._read_starts(left, epoch),
            lambda starts: self._is_begun(starts, epoch),
            wait=lambda left, error: self._wait_to_go_on(left, error, epoch),
        )

    async def _read_starts(self, partitions: list[TopicPartition], epoch: int) -> list[TopicPartition]:
        async with self._committing:
            pass  # what is under way is to be seen
        return await asyncio.to_thread(self._starts, partitions, epoch)

    def _starts(self, partitions: list[TopicPartition], epoch: int) -> list[TopicPartition]:
        ours = [] if self._is_stopping else self._ours(partitions, epoch)
        return starts_of(self._bystander, ours, start_from=self._lane.delivery.start_from)

    async def _is_begun(self, starts: list[TopicPartition], epoch: int) -> bool:
        """Commit where partitions begin, and begin them; tells whether all of it was acknowledged."""
        async with self._rebalancing:
            ours = self._ours(starts, epoch)
            positions = [
                Position(Partition(each.topic, each.partition), epoch, each.offset, each.metadata)
                for each in ours
            ]
            if not positions:
                return True
            if len(await self._commit_first(positions)) < len(positions):
                return False
            self._commands.put(lambda: self._start_reading(ours, epoch))
            return True

    async def _wait_to_go_on(self, left: list[TopicPartition], error: KafkaError | None, epoch: int) -> bool:
        """Wait for a moment before a takeover goes on; False if nothing is left to be taken over."""
        if error is not None:
            self._member.report(error)
        await asyncio.sleep(_POLL_SECONDS)
        return not self._is_stopping and self._member.fatal is None and bool(self._ours(left, epoch))

    def _ours(self, partitions: Iterable[TopicPartition], epoch: int) -> list[TopicPartition]:
        return [
            each for each in partitions if self._owned.get(Partition(each.topic, each.partition)) == epoch
        ]

    def _start_reading(self, starts: Sequence[TopicPartition], epoch: int) -> None:
        ours = self._ours(starts, epoch)
        assignments = {
            Partition(each.topic, each.partition): Assignment(epoch, each.offset, each.metadata)
            for each in ours
        }
        self._logger.info("partitions assigned", partitions=_listed(assignments))
        self._begun.update(assignments)
        self._tell(self._assign, assignments, ours)

    def _assign(self, assignments: Mapping[Partition, Assignment], starts: Sequence[TopicPartition]) -> None:
        self._events.assign(assignments)
        self._commands.put(lambda: self._fetch(starts))  # no sooner: their first record may come at once

    def _fetch(self, starts: Sequence[TopicPartition]) -> None:
        self._fetcher.begin([each for each in starts if Partition(each.topic, each.partition) in self._begun])

    async def _give_up(self, partitions: Sequence[Partition]) -> None:
        async with self._rebalancing:
            positions = await self._events.revoke(partitions)
            acknowledged = await self.commit(positions)
        if len(acknowledged) < len(positions):
            self._logger.error("cannot commit before leaving a partition, settled records may be repeated")
        self._commands.put(lambda: self._release(partitions))

    def _release(self, partitions: Sequence[Partition]) -> None:
        if self._revocation is not partitions:
            return  # they were lost meanwhile
        self._revocation = ()
        for partition in partitions:
            self._owned.pop(partition, None)
        self._member.release()


def _poll_interval_ms(lane: Lane) -> int:
    """Return how long a member may take to answer a revocation before the coordinator expels it."""
    longest = lane.delivery.drain_seconds + _REVOKE_GRACE_SECONDS + _COMMIT_SECONDS
    interval = min(max(longest, _SHORTEST_POLL_INTERVAL_SECONDS), _LONGEST_POLL_INTERVAL_SECONDS)
    return int(interval * 1000)


def _listed(partitions: Iterable[Partition]) -> list[str]:
    return [f"{topic}/{number}" for topic, number in sorted(partitions)]


def _resolve(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _nothing() -> None:
    pass
