"""The Kafka thread: polls, pauses, commits, and tells the event loop what happened, in the order of the log.

One thread owns the consumer; everybody else talks to it by commands. Records are polled one by one and
handed over in batches: a rebalance callback then always falls between two records, never inside a batch that
was read before it (`consume()` loses or repeats records there).
"""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import re
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from kafleet.connections import librdkafka_settings
from kafleet.ports import Assignment
from kafleet.records import Partition, Record
from kafleet.takeovers import taken_over

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping, Sequence

    from confluent_kafka import Message
    from structlog.typing import FilteringBoundLogger

    from kafleet.contacts import Contact
    from kafleet.lanes import Lane
    from kafleet.ports import Position

_FATAL = KafkaError._FATAL  # noqa: SLF001 - librdkafka's own codes have no other name
_EXPELLED = frozenset({KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_MEMBER_EPOCH})
_ALL_BROKERS_DOWN = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 - likewise
_TIME = re.compile(r" \(after \d+ms in state \w+.*\)$")  # would make every complaint another one
_POLL_SECONDS = 0.05
_BATCH_RECORDS = 500
_BATCHES_AHEAD = 2
_COMMIT_SECONDS = 90.0
_REVOKE_GRACE_SECONDS = 10.0
_STOP_SECONDS = 15.0
_SHORTEST_POLL_INTERVAL_SECONDS = 300.0
_LONGEST_POLL_INTERVAL_SECONDS = 86_400.0


class Events(Protocol):
    """Who is told, on the event loop."""

    def assign(self, assignments: Mapping[Partition, Assignment], /) -> None: ...

    def take(self, records: Iterable[Record], /) -> None: ...

    def revoke(self, partitions: Iterable[Partition], /) -> Coroutine[Any, Any, list[Position]]: ...

    def lose(self, partitions: Iterable[Partition], /) -> None: ...


class Reader:
    """One member of the lane's group.

    On the event loop, `joined` is called once with the member id, `fail` with a reason if it can never go on.

    Methods are for the event loop; those that begin with an underscore run in the thread.
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
        self._joined = joined
        self._fail = fail
        self._loop = asyncio.get_running_loop()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._owned: dict[Partition, int] = {}
        self._last_epoch = 0
        self._batch: list[Record] = []
        self._handed_over = 0  # batches; written by the thread only
        self._taken = 0  # batches; written by the event loop only
        self._committing: asyncio.Future[Collection[Partition]] | None = None
        self._fatal: str | None = None
        self._is_stopping = False
        self._is_committed = True
        self._ended: asyncio.Future[None] = self._loop.create_future()
        settings = _settings(lane, client_id) | {
            "error_cb": self._on_error,
            "stats_cb": self._on_statistics,
            "on_commit": self._on_commit,
        }
        self._consumer = Consumer(settings, logger=logging.getLogger("librdkafka"))

    def start(self, events: Events) -> None:
        """Join the group; everything that happens is told to `events`."""
        self._events = events
        threading.Thread(target=self._run, name="kafka-reader", daemon=True).start()

    def pause(self, partition: Partition) -> None:
        """Fetch nothing more of a partition."""
        self._commands.put(lambda: self._if_owned(self._consumer.pause, partition))

    def resume(self, partition: Partition) -> None:
        """Fetch a partition again."""
        self._commands.put(lambda: self._if_owned(self._consumer.resume, partition))

    async def commit(self, positions: Sequence[Position]) -> Collection[Partition]:
        """Commit positions of partitions that are still owned; returns what was acknowledged."""
        answer: asyncio.Future[Collection[Partition]] = self._loop.create_future()
        self._commands.put(lambda: self._commit(positions, answer))
        try:
            async with asyncio.timeout(_COMMIT_SECONDS):
                return await answer
        except TimeoutError:
            return ()

    async def stop(self, positions: Sequence[Position]) -> bool:
        """Commit for the last time and leave the group; False if that could not be confirmed."""
        self._commands.put(lambda: self._stop(positions))
        done, _ = await asyncio.wait({self._ended}, timeout=_STOP_SECONDS)
        return bool(done) and self._is_committed

    # The thread

    def _run(self) -> None:
        try:
            topics = [source.topic for source in self._lane.inputs]
            self._consumer.subscribe(
                topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
            while not self._is_stopping:
                self._contact.polled_at = time.monotonic()
                if self._handed_over - self._taken < _BATCHES_AHEAD:
                    self._serve()
                    self._poll()
                else:
                    self._serve(_POLL_SECONDS)  # the event loop is behind: memory must not grow
                if self._fatal is not None:
                    self._tell(self._fail, self._fatal)
                    return
            self._consumer.close()
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

    def _poll(self) -> None:
        message = self._consumer.poll(_POLL_SECONDS)
        while message is not None:
            error = message.error()
            if error is None:
                self._batch.append(_record(message))
            else:
                self._on_error(error)
            if len(self._batch) >= _BATCH_RECORDS or self._is_stopping:
                break
            message = self._consumer.poll(0)
        self._hand_over()

    def _hand_over(self) -> None:
        if self._batch:
            batch, self._batch = self._batch, []
            self._handed_over += 1
            self._tell(self._take, batch)

    def _take(self, batch: list[Record]) -> None:
        self._events.take(batch)
        self._taken += 1
        self._commands.put(_nothing)  # wakes the thread if it waits for room

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed: the process is ending without us
            self._is_stopping = True

    def _if_owned(self, call: Callable[[list[TopicPartition]], None], partition: Partition) -> None:
        if partition in self._owned:
            call([TopicPartition(*partition)])

    # Committing

    def _commit(self, positions: Sequence[Position], answer: asyncio.Future[Collection[Partition]]) -> None:
        offsets = self._valid(positions)
        if not offsets:
            self._tell(_resolve, answer, ())
            return
        self._committing = answer
        try:
            self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], offsets)

    def _commit_and_wait(self, positions: Sequence[Position]) -> bool:
        """Commit, and tell whether all of it was acknowledged."""
        offsets = self._valid(positions)
        if not offsets:
            return True
        try:
            results = self._consumer.commit(offsets=offsets, asynchronous=False)
            errors = [result.error for result in results if result.error is not None]
        except KafkaException as error:
            errors = [error.args[0]]
        if errors:
            self._logger.error("cannot commit, settled records will be repeated", error=errors[0].str())
        return not errors

    def _valid(self, positions: Sequence[Position]) -> list[TopicPartition]:
        """Leave out what belongs to an assignment that is over: another member may have gone further."""
        return [
            TopicPartition(*position.partition, position.offset, position.metadata)
            for position in positions
            if self._owned.get(position.partition) == position.epoch
        ]

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        errors = [error or result.error for result in partitions]
        acknowledged = {
            Partition(result.topic, result.partition)
            for result, failed in zip(partitions, errors, strict=True)
            if failed is None
        }
        failures = {failed.str() for failed in errors if failed is not None}
        if failures:
            self._logger.warning("cannot commit, trying again", errors=sorted(failures))
        if self._committing is not None:
            self._tell(_resolve, self._committing, acknowledged)
            self._committing = None

    # Rebalances

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._hand_over()
        start_from = self._lane.delivery.start_from
        starts = taken_over(consumer, partitions, start_from=start_from, wait=self._wait_for_brokers)
        if starts is None:
            return  # they are not ours, or nothing will be read any more: what comes of them is ignored
        consumer.incremental_assign(starts)
        self._last_epoch += 1
        assignments = {
            Partition(each.topic, each.partition): Assignment(self._last_epoch, each.offset, each.metadata)
            for each in starts
        }
        self._owned |= dict.fromkeys(assignments, self._last_epoch)
        self._note_group()
        self._logger.info("partitions assigned", partitions=_listed(assignments))
        self._tell(self._events.assign, assignments)

    def _wait_for_brokers(self, error: KafkaError) -> bool:
        """Go on serving commands for a moment; False if there is nothing to wait for any more."""
        self._on_error(error)
        self._serve(_POLL_SECONDS)
        self._contact.polled_at = time.monotonic()
        # Whoever was expelled joins again, but only after this callback, which must not wait for it.
        return not self._is_stopping and self._fatal is None and error.code() not in _EXPELLED

    def _on_revoke(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Let go in good order. The client gives the partitions up when this returns."""
        self._hand_over()
        revoked = [Partition(each.topic, each.partition) for each in partitions]
        self._logger.info("partitions revoked", partitions=_listed(revoked))
        if not self._is_stopping:
            leaving = asyncio.run_coroutine_threadsafe(self._events.revoke(revoked), self._loop)
            deadline = time.monotonic() + self._lane.delivery.drain_seconds + _REVOKE_GRACE_SECONDS
            while not leaving.done() and time.monotonic() < deadline:
                self._serve(_POLL_SECONDS)
                # In here the client tells nobody whether the coordinator answers; heartbeats do go on.
                self._contact.polled_at = self._contact.heard_at = time.monotonic()
            self._serve()  # older commits must not come after the last one
            self._commit_and_wait(leaving.result() if leaving.done() else [])
        for partition in revoked:
            self._owned.pop(partition, None)

    def _on_lost(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._hand_over()
        lost = [Partition(each.topic, each.partition) for each in partitions]
        self._logger.warning("partitions lost, everything on them is cancelled", partitions=_listed(lost))
        for partition in lost:
            self._owned.pop(partition, None)
        self._tell(self._events.lose, lost)

    def _stop(self, positions: Sequence[Position]) -> None:
        self._is_committed = self._commit_and_wait(positions)
        self._is_stopping = True

    # The client's health

    def _on_error(self, error: KafkaError) -> None:
        # `error.fatal()` is False for fatal consumer errors (fenced, say): the code tells.
        if error.code() == _FATAL or error.fatal():
            self._fatal = f"the consumer cannot go on: {error.str()}"
            return
        if error.code() == _ALL_BROKERS_DOWN and self._contact.error is not None:
            return  # why, was said before
        complaint = _TIME.sub("", error.str())
        if self._contact.error != complaint:
            self._contact.error = complaint
            self._logger.warning("Kafka reports an error", error=complaint, code=error.name())

    def _on_statistics(self, text: str) -> None:
        statistics = json.loads(text)
        is_up = any(each["state"] == "UP" and each["nodeid"] >= 0 for each in statistics["brokers"].values())
        if is_up and not self._contact.has_brokers:
            self._logger.info("brokers are reachable")
        if not is_up and self._contact.has_brokers:
            self._logger.warning("no broker is reachable, waiting", error=self._contact.error)
        if is_up:
            self._contact.error = None
        self._contact.has_brokers = is_up
        idle = statistics["brokers"].get("GroupCoordinator", {}).get("rxidle", -1)  # µs; -1: nothing came yet
        if idle >= 0:
            self._contact.heard_at = time.monotonic() - idle / 1e6
        # With an empty assignment the client calls nothing back; its group state is all there is.
        if statistics.get("cgrp", {}).get("state") == "up":
            self._note_group()
        else:
            self._contact.has_group = False

    def _note_group(self) -> None:
        self._contact.has_group = True
        if self._contact.member_id is None:
            member_id = self._contact.member_id = self._consumer.memberid()
            self._tell(self._joined, member_id)


def _settings(lane: Lane, client_id: str) -> dict[str, object]:
    longest_silence = lane.delivery.drain_seconds + _REVOKE_GRACE_SECONDS + _COMMIT_SECONDS
    interval = min(max(longest_silence, _SHORTEST_POLL_INTERVAL_SECONDS), _LONGEST_POLL_INTERVAL_SECONDS)
    return {
        **librdkafka_settings(lane),
        "client.id": client_id,
        "group.id": lane.group,
        "group.protocol": "consumer",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # startFrom latest is done by pinning; a position that retention overtook must never skip to the end.
        "auto.offset.reset": "earliest",
        "isolation.level": "read_committed",
        "max.poll.interval.ms": int(interval * 1000),
        "queued.max.messages.kbytes": 16_384,
        # A record above fetch.max.bytes still comes, alone; above this limit it would stop its partition.
        "receive.message.max.bytes": 1_000_000_000,
        "reconnect.backoff.max.ms": 2_000,
        "statistics.interval.ms": 1_000,
    }


def _record(message: Message) -> Record:
    try:
        headers = tuple(message.headers() or ())
    except (SystemError, UnicodeDecodeError):  # a header's name that is not UTF-8 (the binding raises either)
        headers = None
    return Record(
        Partition(message.topic(), message.partition()),
        message.offset(),
        message.key(),
        message.value(),
        headers,
        message.timestamp()[1],
    )


def _listed(partitions: Iterable[Partition]) -> list[str]:
    return [f"{topic}/{number}" for topic, number in sorted(partitions)]


def _resolve(future: asyncio.Future[Any], result: object) -> None:
    if not future.done():
        future.set_result(result)


def _nothing() -> None:
    pass
