"""What must hold of a group of steered replicas, from books that the engine never sees."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from unit.agent.fleets import settled_name
from unit.agent.memory import CheckedLog
from unit.agent.steered import CONCURRENCY, MAX_ATTEMPTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from unit.agent.steered import Call, Member, Write

    from kafleet.backlogs import Lot
    from kafleet.records import Partition, Record


@dataclass
class Books:
    """Who owns what, what happened to each record, and the first promise that was broken."""

    is_ordered: bool
    is_transactional: bool
    log: CheckedLog = field(default_factory=CheckedLog)
    members: list[Member] = field(default_factory=list)
    owners: dict[Partition, Member] = field(default_factory=dict)
    failed: Counter[str] = field(default_factory=Counter)  # attempts that are known to have failed, by record
    seen: Counter[str] = field(default_factory=Counter)  # times that a record's outputs were written
    refused: set[str] = field(default_factory=set)  # they may become dead letters
    blamed: set[tuple[Partition, bytes | None]] = field(default_factory=set)  # keys that may be overtaken
    due: dict[str, tuple[Lot, float]] = field(default_factory=dict)  # in which assignment, and from when on
    unclean: int = 0  # times that a partition was not given up in good order
    violation: AssertionError | None = None

    def waits(self, call: Call, moment: float) -> None:
        """Note that a record must not be tried again in this assignment before a moment."""
        lot = self.owners[call.record.partition].dispatcher.lots[call.record.partition]
        self.due[call.record.name] = (lot, moment)

    def begins(self, member: Member, call: Call) -> None:
        """Check what must hold whenever a handler is called; an error here the engine would survive."""
        try:
            self._check(member, call)
        except AssertionError as error:
            self.violation = self.violation or error

    def written(self, write: Write) -> None:
        """Note that readers see what a record emitted, and check that they see it once and in order."""
        record = write.work.record
        self.log.written += write.outgoing
        self.seen[record.name] += 1
        if self.is_transactional:
            assert self.seen[record.name] == 1, f"{record.name} is seen twice"
        if (record.partition, record.key) not in self.blamed:
            for before in self._before(record):
                assert before.offset in self.log.settled[record.partition], f"{record.name} is seen too early"
        self.log.settled[record.partition].add(record.offset)

    def check_the_end(self) -> None:
        """Check that nothing is left, and that nothing is a dead letter without a reason."""
        assert [member.dispatcher.in_flight for member in self.members] == [0] * len(self.members)
        assert [member.dispatcher.slots for member in self.members] == [0] * len(self.members)
        assert [member.dispatcher.held for member in self.members] == [0] * len(self.members)
        assert [member.dispatcher.size for member in self.members] == [0] * len(self.members)
        for name in {settled_name(each) for each in self.log.written if each.topic == "dead-letters"}:
            is_due = name in self.refused or self.failed[name] + self.unclean >= MAX_ATTEMPTS
            assert is_due, f"{name} is a dead letter for nothing"

    @property
    def is_done(self) -> bool:
        return all(self.log.committed[each] == len(records) for each, records in self.log.records.items())

    def what_is_left(self) -> list[str]:
        """Say what does not come to an end."""
        left = [
            f"{each}: {self.log.committed[each]} of {len(all_)}" for each, all_ in self.log.records.items()
        ]
        return left + [
            f"{item.record.name} of {item.record.key!r}: attempt {item.attempt}, {item.is_in_flight},"
            f" timer {item.timer}, outgoing {item.outgoing}"
            for member in self.members
            for lot in member.dispatcher.lots.values()
            for item in lot.items
        ]

    def _check(self, member: Member, call: Call) -> None:
        record, name = call.record, call.record.name
        assert self.owners.get(record.partition) is member, f"{name} is not this member's"
        held = sum(lot.held for lot in member.dispatcher.lots.values())
        assert member.dispatcher.held == held, f"{held} are held"
        assert record.offset not in self.log.remembered[record.partition], f"{name} was settled and committed"
        suspects = member.dispatcher.lots[record.partition].suspects
        if suspects.is_lifted or suspects.limit > 1:  # else it was given out before, and then committed
            assert record.partition not in member.leaving, f"{name} is begun while its partition is drained"
            assert member.stopping is None, f"{name} is begun while its process stops"
            assert not member.dispatcher.throttled_seconds, f"{name} is begun while a provider is full"
        assert not member.dispatcher.is_suspended, f"{name} is begun while the coordinator is silent"
        assert len(member.calls) < CONCURRENCY, "more in flight than allowed"
        assert call.number <= MAX_ATTEMPTS, f"attempt {call.number} at {name}"
        assert call.number <= self.failed[name] + 1 + self.unclean, f"attempt {call.number} at {name}"
        known = member.inherited[record.partition].get(record.offset, 0)
        assert call.number > known, f"attempt {call.number} at {name}, {known} were committed before"
        lot, moment = self.due.get(name, (None, 0.0))
        if lot is member.dispatcher.lots[record.partition]:
            assert asyncio.get_running_loop().time() >= moment, f"{name} is tried again too early"
        done = self.log.settled[record.partition] | self._handed_over(member, record.partition)
        for before in self._before(record):
            assert before.offset in done, f"{name} before {before.name}"
        beside = [
            other.record.name
            for each in self.members
            for other in each.calls
            if self.is_ordered and record.key is not None
            if (other.record.partition, other.record.key) == (record.partition, record.key)
        ]
        assert not beside, f"{name} beside {beside}"

    def _before(self, record: Record) -> Iterator[Record]:
        """Return the records that must be done before this one."""
        if self.is_ordered and record.key is not None:
            records = self.log.records[record.partition][: record.offset]
            yield from (each for each in records if each.key == record.key)

    def _handed_over(self, member: Member, partition: Partition) -> set[int]:
        """Return what a member has worked on and has in its transactions, the present one and the next.

        Transactions keep the order, so the next record of a key need not wait for them.
        """
        if not self.is_transactional:
            return set()
        works = [write.work for write in member.sink.writes]
        here = [work for work in works if work.lot is member.dispatcher.lots.get(partition)]
        blamed = [
            item.record.offset
            for lot in member.dispatcher.lots.values()
            for item in lot.items
            if (item.record.partition, item.record.key) in self.blamed and item.outgoing is not None
        ]
        return {work.record.offset for work in here} | set(blamed)
