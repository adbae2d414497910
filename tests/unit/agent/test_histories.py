"""Whatever happens, in whatever order: the engine under a rule-based machine that decides everything.

The machine ends handlers, acknowledges writes, answers commits, moves partitions, and stops or kills members.
What must hold it knows from its own books, which the engine never sees. `HISTORIES` in the environment
multiplies how many histories are tried; a history that ever failed is kept below as a test with a name.

Rules that let work go on outnumber those that disturb it, and all disturbances are one rule: hypothesis takes
the rules that are possible equally often and leaves some out altogether, so that hardly a record would ever
be finished otherwise.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from unit.agent.books import Books
from unit.agent.fleets import FAULT
from unit.agent.samples import DELIVERY, THOROUGHNESS
from unit.agent.steered import Asked, Call, Member, Sink, Source, Write

from kafleet.commitmetadata import progress_from
from kafleet.ports import RecordRefused, WriteFailed
from kafleet.records import Outgoing, Partition, Record
from kafleet.testing.clocks import VirtualLoop
from kafleet.verdicts import Failed, Finished, Postponed, Refused, Saturated

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence


PARTITIONS = [Partition("tasks", 0), Partition("tasks", 1)]
KEYS = st.lists(st.sampled_from([b"a", b"b", None]), min_size=1, max_size=6)
WAITS = [0.1, 1.0, 3.0, 12.0]
ERRORS = [WriteFailed("away"), RecordRefused("too large")]
_STEPS_OF_A_CHANGE = 8  # turns of the loop until everything that a change leads to has happened
_MOST_ROUNDS = 400


def least_backoff(failures: int) -> float:
    """Return the shortest wait after so many failed attempts: the half of what doubles each time."""
    doubled = DELIVERY["backoffInitialSeconds"] * 2.0 ** (failures - 1)
    return float(min(doubled, DELIVERY["backoffMaxSeconds"]) / 2)


class Histories(RuleBasedStateMachine):
    """Two partitions, two members, and everything that can happen to them."""

    @initialize(is_ordered=st.booleans(), is_transactional=st.booleans(), keys=st.tuples(KEYS, KEYS))
    def begin(
        self, *, is_ordered: bool, is_transactional: bool, keys: tuple[list[bytes | None], list[bytes | None]]
    ) -> None:
        self.loop = VirtualLoop()
        self.runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self.runner.run(asyncio.sleep(0))
        self.books = Books(is_ordered, is_transactional)
        self.log, self.owners = self.books.log, self.books.owners
        self.members = self.books.members
        self.members += [self.member(), self.member()]
        for partition, member, first in zip(PARTITIONS, self.members, keys, strict=True):
            self.log.records[partition] = []
            self.give(partition, member)
            self.arrive(partition, first)

    # What is driven

    def change(self, what: Coroutine[Any, Any, None] | None = None) -> None:
        """Let something happen, and everything that it leads to at once."""

        async def changed() -> None:
            if what is not None:
                await what
            for _ in range(_STEPS_OF_A_CHANGE):
                await asyncio.sleep(0)

        self.runner.run(changed())
        if self.books.violation is not None:
            raise self.books.violation
        self.finish_leaving()

    def member(self) -> Member:
        async def started() -> Member:
            sink = Sink(is_transactional=self.books.is_transactional)
            member = Member(self.books.begins, Source(self.log), self.books.is_ordered, sink)
            member.start()
            return member

        return self.runner.run(started())

    def give(self, partition: Partition, member: Member) -> None:
        self.owners[partition] = member
        left = progress_from(self.log.committed[partition], self.log.metadata.get(partition))
        member.inherited[partition] = dict(left.failed)
        member.source.assign(member.dispatcher, [partition])
        self.change()

    def finish_leaving(self) -> None:
        """Let partitions go that are drained: the last commit, then they are nobody's."""
        for number, member in enumerate(self.members):
            for partition, leaving in list(member.leaving.items()):
                if leaving.done():
                    del member.leaving[partition]
                    member.source.commit_now(leaving.result())
                    member.source.release([partition])
                    if self.owners.get(partition) is member:
                        del self.owners[partition]
            if member.stopping is not None and member.stopping.done() and not member.leaving:
                member.source.commit_now(member.stopping.result())
                self.replace(number)

    def replace(self, number: int) -> None:
        """Let a member be gone: nothing of it is heard any more; another one is there in its place."""
        gone = self.members[number]
        for partition in [each for each, owner in self.owners.items() if owner is gone]:
            del self.owners[partition]
        gone.source.release(gone.source.positions)
        gone.committing.cancel()
        gone.dispatcher.cancel()
        gone.leaving.clear()
        self.members[number] = self.member()

    def undecided(self) -> set[Partition]:
        """Return whose positions are in transactions: a takeover waits for their ends."""
        open_ = [each.transaction for each in self.members if each.transaction is not None]
        return {position.partition for each in open_ for position in each.positions}

    def calls(self) -> list[Call]:
        return [call for member in self.members for call in member.calls if not call.ending.done()]

    # What lets work go on

    @rule(partition=st.sampled_from(PARTITIONS), keys=KEYS)
    def arrive(self, partition: Partition, keys: list[bytes | None]) -> None:
        records = self.log.records[partition]
        records.extend(Record(partition, len(records), key, b"{}") for key in keys)
        for member in self.members:
            member.source.feed(member.dispatcher)
        self.change()

    @precondition(lambda self: self.calls())
    @rule(data=st.data())
    def finish(self, data: st.DataObject) -> None:
        """Let some handlers end well at once."""
        for call in data.draw(st.lists(st.sampled_from(self.calls()), min_size=1, unique=True)):
            outputs = data.draw(st.integers(0, 2))
            if not outputs:
                self.log.settled[call.record.partition].add(call.record.offset)
            out = Outgoing("results", call.record.key, call.record.name.encode(), [])
            call.ending.set_result(Finished((out,) * outputs))
        self.change()

    @precondition(lambda self: self.calls())
    @rule(data=st.data(), how=st.sampled_from(["fail", "fail", "refuse", "postpone", "throttle", "mistake"]))
    def fail(self, data: st.DataObject, how: str) -> None:
        call = data.draw(st.sampled_from(self.calls()))
        match how:
            case "fail":
                self.books.failed[call.record.name] += 1
                self.books.waits(call, self.loop.time() + least_backoff(call.number))
                call.ending.set_result(Failed(FAULT))
            case "refuse":
                self.books.refused.add(call.record.name)
                call.ending.set_result(Refused("Rejected", FAULT, was_called=True))
            case "postpone":
                self.books.waits(call, self.loop.time() + 2.0)
                call.ending.set_result(Postponed(2.0))
            case "throttle":
                call.ending.set_result(Saturated(3.0))
            case "mistake":
                self.books.failed[call.record.name] += 1
                self.books.waits(call, self.loop.time() + least_backoff(1))  # is no attempt that counts
                call.ending.set_exception(ValueError("a mistake of ours"))
        self.change()

    @precondition(
        lambda self: not self.books.is_transactional and any(each.sink.writes for each in self.members)
    )
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """Tell a member of some of its writes at once; also of such that it has given up meanwhile."""
        member = data.draw(st.sampled_from([each for each in self.members if each.sink.writes]))
        chosen = data.draw(st.lists(st.sampled_from(member.sink.writes), min_size=1, unique=True))
        for write in chosen:
            self.write_is_done(member, write)
        member.dispatcher.settled([write.work for write in chosen])
        self.change()

    @precondition(
        lambda self: not self.books.is_transactional and any(each.sink.writes for each in self.members)
    )
    @rule(data=st.data(), error=st.sampled_from(ERRORS))
    def fail_write(self, data: st.DataObject, error: WriteFailed) -> None:
        member = data.draw(st.sampled_from([each for each in self.members if each.sink.writes]))
        write = data.draw(st.sampled_from(member.sink.writes))
        self.blame(member, write, error, write.outgoing[: data.draw(st.integers(1, len(write.outgoing)))])
        self.change()

    def blame(self, member: Member, write: Write, error: WriteFailed, failed: Sequence[Outgoing]) -> None:
        """Tell a member that some of what a record emitted cannot be written."""
        member.sink.writes.remove(write)
        if isinstance(error, RecordRefused):
            self.books.refused.add(write.work.record.name)
        member.dispatcher.unwritten(write.work, [(each, error) for each in failed])

    def write_is_done(self, member: Member, write: Write) -> None:
        member.sink.writes.remove(write)
        self.books.written(write)

    @precondition(
        lambda self: not self.books.is_transactional and any(each.source.asked for each in self.members)
    )
    @rule(data=st.data(), step=st.sampled_from(["keep", "keep", "answer", "answer", "give up"]))
    def go_on_with_commit(self, data: st.DataObject, step: str) -> None:
        """Let the brokers keep a commit, its member hear of that, or the member hear nothing in time."""
        member = data.draw(st.sampled_from([each for each in self.members if each.source.asked]))
        asked = member.source.asked[0]
        if step == "keep" and asked.kept is None:
            asked.kept = member.source.commit_now(asked.positions)
        if step != "keep":
            member.source.asked.remove(asked)
            if not asked.answer.done():  # whoever asked may have been cancelled since
                asked.answer.set_result((asked.kept or ()) if step == "answer" else ())
        self.change()

    @precondition(lambda self: self.books.is_transactional)
    @rule(data=st.data(), end=st.sampled_from(["committed", "committed", "aborted", "blamed"]))
    def go_on_with_transaction(self, data: st.DataObject, end: str) -> None:
        """Begin a transaction, or end the one that is under way."""
        member = data.draw(st.sampled_from(self.members))
        if member.transaction is None:
            if not member.sink.lock.locked():
                self.runner.run(member.begin_transaction())
            self.change()
            return
        writes = member.transaction.writes
        self.end_transaction(member, is_committed=end == "committed")
        if end == "blamed" and writes:
            write = data.draw(st.sampled_from(writes))
            self.books.blamed.add((write.work.record.partition, write.work.record.key))
            self.blame(member, write, data.draw(st.sampled_from(ERRORS)), write.outgoing)
        self.change()

    def end_transaction(self, member: Member, *, is_committed: bool) -> None:
        """Let the brokers show and keep all that is in it, or nothing."""
        assert member.transaction is not None
        if is_committed:
            for write in member.transaction.writes:
                self.books.written(write)
            self.log.commit(member.transaction.positions)
        member.end_transaction(is_committed=is_committed)

    @rule(seconds=st.sampled_from(WAITS))
    def wait(self, seconds: float) -> None:
        self.change(asyncio.sleep(seconds))

    @precondition(lambda self: len(self.owners) < len(PARTITIONS))
    @rule(data=st.data())
    def assign(self, data: st.DataObject) -> None:
        """Give a partition to somebody, also to who is about to stop."""
        partition = data.draw(st.sampled_from([each for each in PARTITIONS if each not in self.owners]))
        member = data.draw(st.sampled_from(self.members))
        if partition in member.leaving or partition in self.undecided():
            return
        self.give(partition, member)
        member.source.feed(member.dispatcher)
        self.change()

    @precondition(lambda self: any(each.dispatcher.is_suspended for each in self.members))
    @rule()
    def coordinator_is_back(self) -> None:
        for member in self.members:
            if member.dispatcher.is_suspended:
                member.dispatcher.resume()
        self.change()

    # What disturbs it

    @rule(data=st.data(), how=st.sampled_from(["revoke", "revoke", "lose", "stop", "kill", "cut off"]))
    def disturb(self, data: st.DataObject, how: str) -> None:
        number = data.draw(st.integers(0, len(self.members) - 1))
        member = self.members[number]
        partitions = sorted(each for each, owner in self.owners.items() if owner is member)
        match how:
            case "revoke" | "lose" if partitions:
                partition = data.draw(st.sampled_from(partitions))
                self.revoke(partition) if how == "revoke" else self.lose(partition)
            case "stop" if member.stopping is None:
                member.stopping = self.loop.create_task(member.dispatcher.drain(5.0))
            case "kill":
                self.kill(number, is_committed=data.draw(st.booleans()))
            case "cut off":
                member.dispatcher.suspend()
        self.change()

    def revoke(self, partition: Partition) -> None:
        """Begin to drain a partition: it goes when that is done."""
        member = self.owners[partition]
        if partition not in member.leaving:
            member.leaving[partition] = self.loop.create_task(member.dispatcher.revoke([partition]))

    def lose(self, partition: Partition) -> None:
        """Give a partition away without asking its owner, also while it is drained."""
        member = self.owners.pop(partition)
        self.books.unclean += 1
        member.source.release([partition])
        member.dispatcher.lose([partition])

    def kill(self, number: int, *, is_committed: bool) -> None:
        """Kill a member; the brokers still end its transaction, one way or the other."""
        dead = self.members[number]
        self.books.unclean += 1
        self.replace(number)
        if dead.transaction is not None:
            self.end_transaction(dead, is_committed=is_committed)

    @invariant()
    def nothing_is_worked_on_by_those_who_do_not_own_it(self) -> None:
        for member in getattr(self, "members", ()):
            for call in member.calls:
                assert self.owners.get(call.record.partition) is member

    # The end

    def teardown(self) -> None:
        """In the end all is settled and committed."""
        if not hasattr(self, "members"):
            return
        try:
            self.coordinator_is_back()
            for _ in range(_MOST_ROUNDS):
                self.go_on()
                if self.books.is_done:
                    break
            else:
                raise AssertionError(f"not done: {self.books.what_is_left()}")
            self.books.check_the_end()
        finally:
            for member in self.members:
                member.committing.cancel()
                member.dispatcher.cancel()
            self.runner.close()

    def go_on(self) -> None:
        """Let everything end well that is under way, and some time pass."""
        self.give_all()
        for member in list(self.members):
            member.source.feed(member.dispatcher)
            for call in member.calls:
                if not call.ending.done():
                    out = Outgoing("results", call.record.key, call.record.name.encode(), [])
                    call.ending.set_result(Finished((out,)))
            self.change()
            if self.books.is_transactional:
                if member.transaction is None and not member.sink.lock.locked():
                    self.runner.run(member.begin_transaction())
                if member.transaction is not None:
                    self.end_transaction(member, is_committed=True)
                continue
            writes = list(member.sink.writes)
            for write in writes:
                self.write_is_done(member, write)
            member.dispatcher.settled([write.work for write in writes])
            while member.source.asked:
                self.answer(member, member.source.asked.pop(0))
        self.change(asyncio.sleep(0.5))

    def give_all(self) -> None:
        for partition in PARTITIONS:
            free = [each for each in self.members if partition not in each.leaving]
            if partition not in self.owners and partition not in self.undecided() and free:
                self.give(partition, free[0])

    def answer(self, member: Member, asked: Asked) -> None:
        """Keep a commit, if that has not been done, and say so."""
        kept = member.source.commit_now(asked.positions) if asked.kept is None else asked.kept
        if not asked.answer.done():
            asked.answer.set_result(kept)


test_histories = Histories.TestCase
test_histories.settings = settings(max_examples=60 * THOROUGHNESS, stateful_step_count=50, deadline=None)
