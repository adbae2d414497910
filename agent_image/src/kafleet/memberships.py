"""The client that is a member of the lane's group: it joins, hears of rebalances, commits and leaves.

It never fetches (`fetching` does), and its callbacks never wait. A revocation is answered when its partitions
are drained, which may be long after its callback: until then the member keeps them, its heartbeats go on, and
its commits are accepted.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections import deque
from typing import TYPE_CHECKING, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from kafleet.records import Partition

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from structlog.typing import FilteringBoundLogger

    from kafleet.contacts import Contact

    Acknowledged = Callable[[Collection[Partition]], None]

_FATAL = KafkaError._FATAL  # noqa: SLF001 - librdkafka's own codes have no other name
_ALL_BROKERS_DOWN = KafkaError._ALL_BROKERS_DOWN  # noqa: SLF001 - likewise
EXPELLED = frozenset({KafkaError.UNKNOWN_MEMBER_ID, KafkaError.FENCED_MEMBER_EPOCH})
_RESTLESS_SECONDS = 30.0
_HURRY_SECONDS = 1.0  # as often as Kafka computes assignments
_TIME = re.compile(r" \(after \d+ms in state \w+.*\)$")  # would make every complaint another one


class Rebalances(Protocol):
    """Who is told, in the thread that polls, and must not wait."""

    def assigned(self, partitions: Sequence[TopicPartition], /) -> None: ...

    def revoked(self, partitions: Sequence[Partition], /) -> None:
        """Partitions are wanted back: `Membership.release` gives them up."""

    def lost(self) -> None:
        """Everything is others' already, perhaps; nothing has to be released any more."""


class Membership:
    """One member of the lane's group. For one thread.

    `joined` is called once with the member id. `fatal` says why it can never go on.
    """

    def __init__(
        self,
        settings: Mapping[str, object],
        contact: Contact,
        rebalances: Rebalances,
        *,
        logger: FilteringBoundLogger,
        joined: Callable[[str], None],
    ) -> None:
        self._contact = contact
        self._rebalances = rebalances
        self._logger = logger
        self._joined = joined
        self._commits: deque[Acknowledged] = deque()  # not answered yet, oldest first
        self._is_leaving = False
        self._has_to_release = False  # the client waits for an answer to a revocation
        self._restless_until = self._hurried_at = 0.0
        self.fatal: str | None = None
        self.consumer = Consumer(
            {
                **settings,
                "group.protocol": "consumer",
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                # Offsets of a transaction that is not over yet are waited for.
                "isolation.level": "read_committed",
                "statistics.interval.ms": 1_000,
                "error_cb": self.report,
                "stats_cb": self._on_statistics,
                "on_commit": self._on_commit,
            },
            logger=logging.getLogger("librdkafka"),
        )

    @property
    def awaits_answers(self) -> bool:
        """Tell whether a commit is under way."""
        return bool(self._commits)

    def join(self, topics: Sequence[str]) -> None:
        """Become a member; `poll` goes on with it."""
        self._topics = list(topics)
        self._subscribe()
        self._be_restless()

    def poll(self) -> None:
        """Serve what has happened."""
        self._hurry()
        message = self.consumer.poll(0)
        error = None if message is None else message.error()
        if error is not None:
            self.report(error)

    def release(self) -> None:
        """Give the revoked partitions up; others may have them from now on."""
        if self._has_to_release:
            self._has_to_release = False
            self.consumer.incremental_unassign([])
            self._be_restless()

    def leave(self) -> None:
        """Leave the group; the client cannot be used any more."""
        self._is_leaving = True
        self.release()
        self.consumer.close()

    # Committing

    def commit(self, offsets: Sequence[TopicPartition], acknowledged: Acknowledged) -> None:
        """Commit; `acknowledged` is called once, with the partitions for which it worked."""
        self._commits.append(acknowledged)
        try:
            self.consumer.commit(offsets=list(offsets), asynchronous=True)
        except KafkaException as error:
            self._on_commit(error.args[0], list(offsets))

    def commit_and_wait(self, offsets: Sequence[TopicPartition]) -> bool:
        """Commit for the last time, and tell whether all of it was acknowledged."""
        if not offsets:
            return True
        try:
            results = self.consumer.commit(offsets=list(offsets), asynchronous=False)
            errors = [result.error for result in results if result.error is not None]
        except KafkaException as error:
            errors = [error.args[0]]
        if errors:
            self._logger.error("cannot commit, settled records will be repeated", error=errors[0].str())
        return not errors

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        errors = [error or result.error for result in partitions]
        failures = {failed.str() for failed in errors if failed is not None}
        if failures:
            self._logger.warning("cannot commit", errors=sorted(failures))
        answered = self._commits.popleft()
        answered(
            {
                Partition(result.topic, result.partition)
                for result, failed in zip(partitions, errors, strict=True)
                if failed is None
            }
        )
        if any(failed and failed.code() in EXPELLED for failed in errors):
            self.expelled()

    def expelled(self) -> None:
        """Take note that the group does not know this member any more.

        It joins again only when it has answered a revocation, and is told nothing before.
        """
        if self._has_to_release:
            self._logger.warning("expelled from the group while partitions are drained")
            self._rebalances.lost()
            self.release()

    # Rebalances

    def _subscribe(self) -> None:
        self.consumer.subscribe(
            self._topics, on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
        )

    def _be_restless(self) -> None:
        """Expect more changes for a while."""
        self._hurried_at = time.monotonic()
        self._restless_until = self._hurried_at + _RESTLESS_SECONDS

    def _hurry(self) -> None:
        """Send a heartbeat before its time while partitions change hands.

        What others give up, or what is computed a moment late, a member hears of at its next heartbeat: 5 s
        later by default. To subscribe again to the same is a heartbeat at once, and nothing else.
        """
        now = time.monotonic()
        is_due = self._hurried_at + _HURRY_SECONDS <= now < self._restless_until
        if is_due and not self._has_to_release:
            self._hurried_at = now
            self._subscribe()

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign([])  # answers: not to fetch anything
        self._be_restless()
        self._note_group()
        if partitions:
            self._rebalances.assigned(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        if self._is_leaving:
            consumer.incremental_unassign([])
            return
        # Not an answer, which would be an unassign; only keeps the binding from giving one by itself.
        consumer.incremental_assign([])
        self._has_to_release = True
        self._rebalances.revoked([Partition(each.topic, each.partition) for each in partitions])

    def _on_lost(self, consumer: Consumer, _partitions: list[TopicPartition]) -> None:
        self._has_to_release = False
        consumer.incremental_unassign([])
        self._be_restless()
        self._rebalances.lost()

    # The client's health

    def report(self, error: KafkaError) -> None:
        """Note what a client complains about; the same complaint is logged once."""
        # `error.fatal()` is False for fatal consumer errors (fenced, say): the code tells.
        if error.code() == _FATAL or error.fatal():
            self.fatal = f"the consumer cannot go on: {error.str()}"
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
            member_id = self._contact.member_id = self.consumer.memberid()
            self._be_restless()
            self._joined(member_id)
