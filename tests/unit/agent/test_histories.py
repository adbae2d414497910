"""Whatever happens, in whatever order: the engine under a rule-based machine that decides everything.

The machine ends handlers, acknowledges writes, answers commits, moves partitions and kills members. What must
hold it knows from its own books, which the engine never sees. `HISTORIES` in the environment multiplies how
many histories are tried; a history that ever failed is kept below as a test with a name.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from unit.agent.fleets import FAULT, settled_name
from unit.agent.memory import CheckedLog
from unit.agent.samples import THOROUGHNESS
from unit.agent.steered import CONCURRENCY, MAX_ATTEMPTS, Asked, Call, Member, Sink, Source, Write

from kafleet.commitmetadata import progress_from
from kafleet.ports import RecordRefused, WriteFailed
from kafleet.records import Outgoing, Partition, Record
from kafleet.testing.clocks import VirtualLoop
from kafleet.verdicts import Failed, Finished, Postponed, Refused, Saturated

if TYPE_CHECKING:
    from collections.abc import Coroutine


PARTITIONS = [Partition("tasks", 0), Partition("tasks", 1)]
KEYS = [b"a", b"b", None]
_STEPS_OF_A_CHANGE = 8  # turns of the loop until everything that a change leads to has happened


class Histories(RuleBasedStateMachine):
    """Two partitions, two members, and everything that can happen to them."""

    @initialize(is_ordered=st.booleans(), is_transactional=st.booleans())
    def begin(self, *, is_ordered: bool, is_transactional: bool) -> None:
        self.is_ordered = is_ordered
        self.is_transactional = is_transactional
        self.loop = VirtualLoop()
        self.runner = asyncio.Runner(loop_factory=lambda: self.loop)
        self.runner.run(asyncio.sleep(0))
        self.log = CheckedLog()
        self.failed: Counter[str] = Counter()  # attempts that were made known to have failed, by record
        self.seen: Counter[str] = Counter()  # times that a record's outputs were written
        self.refused: set[str] = set()
        self.unclean = 0  # times that a partition was not given up in good order
        self.violation: AssertionError | None = None
        self.members = [self.member(), self.member()]
        self.owners: dict[Partition, Member] = {}
        for partition, member in zip(PARTITIONS, self.members, strict=True):
            self.log.records[partition] = []
            self.give(partition, member)

    # What is driven

    def change(self, what: Coroutine[Any, Any, None] | None = None) -> None:
        """Let something happen, and everything that it leads to at once."""

        async def changed() -> None:
            if what is not None:
                await what
            for _ in range(_STEPS_OF_A_CHANGE):
                await asyncio.sleep(0)

        self.runner.run(changed())
        if self.violation is not None:
            raise self.violation
        self.finish_leaving()

    def member(self) -> Member:
        async def started() -> Member:
            sink = Sink(is_transactional=self.is_transactional)
            member = Member(self.begins, Source(self.log), self.is_ordered, sink)
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
        for member in self.members:
            for partition, leaving in list(member.leaving.items()):
                if leaving.done():
                    del member.leaving[partition]
                    member.source.commit_now(leaving.result())
                    member.source.release([partition])
                    if self.owners.get(partition) is member:
                        del self.owners[partition]

    def begins(self, member: Member, call: Call) -> None:
        """Check what must hold whenever a handler is called; an error here the engine would survive."""
        try:
            self.check(member, call)
        except AssertionError as error:
            self.violation = self.violation or error

    def check(self, member: Member, call: Call) -> None:
        record, name = call.record, call.record.name
        assert self.owners.get(record.partition) is member, f"{name} is not this member's"
        assert record.offset not in self.log.remembered[record.partition], f"{name} was settled and committed"
        suspects = member.dispatcher.lots[record.partition].suspects
        if suspects.is_lifted or suspects.limit > 1:  # else it was given out before, and then committed
            assert record.partition not in member.leaving, f"{name} is begun while its partition is drained"
            assert not member.dispatcher.throttled_seconds, f"{name} is begun while a provider is full"
        assert not member.dispatcher.is_suspended, f"{name} is begun while the coordinator is silent"
        assert len(member.calls) < CONCURRENCY, "more in flight than allowed"
        assert call.number <= MAX_ATTEMPTS, f"attempt {call.number} at {name}"
        assert call.number <= self.failed[name] + 1 + self.unclean, f"attempt {call.number} at {name}"
        known = member.inherited[record.partition].get(record.offset, 0)
        assert call.number > known, f"attempt {call.number} at {name}, {known} were committed before"
        if record.key is None or not self.is_ordered:
            return
        settled = self.log.settled[record.partition]
        for before in self.log.records[record.partition][: record.offset]:
            assert before.key != record.key or before.offset in settled, f"{name} before {before.name}"
        beside = [
            other.record.name
            for each in self.members
            for other in each.calls
            if (other.record.partition, other.record.key) == (record.partition, record.key)
        ]
        assert not beside, f"{name} beside {beside}"

    # What can happen

    @rule(partition=st.sampled_from(PARTITIONS), keys=st.lists(st.sampled_from(KEYS), min_size=1, max_size=6))
    def arrive(self, partition: Partition, keys: list[bytes | None]) -> None:
        records = self.log.records[partition]
        records.extend(Record(partition, len(records), key, b"{}") for key in keys)
        for member in self.members:
            member.source.feed(member.dispatcher)
        self.change()

    @precondition(lambda self: any(member.calls for member in self.members))
    @rule(
        data=st.data(),
        how=st.sampled_from(
            ["finish", "finish", "nothing", "fail", "refuse", "postpone", "throttle", "crash"]
        ),
    )
    def end_call(self, data: st.DataObject, how: str) -> None:
        call = data.draw(st.sampled_from([call for member in self.members for call in member.calls]))
        record = call.record
        match how:
            case "finish":
                out = (Outgoing("results", record.key, record.name.encode(), ()),)
                call.ending.set_result(Finished(out * data.draw(st.integers(1, 2))))
            case "nothing":
                self.log.settled[record.partition].add(record.offset)
                call.ending.set_result(Finished())
            case "fail":
                self.failed[record.name] += 1
                call.ending.set_result(Failed(FAULT))
            case "refuse":
                self.refused.add(record.name)
                call.ending.set_result(Refused("Rejected", FAULT, was_called=True))
            case "postpone":
                call.ending.set_result(Postponed(2.0))
            case "throttle":
                call.ending.set_result(Saturated(3.0))
            case "crash":
                call.ending.set_exception(ValueError("a mistake of ours"))
        self.change()

    @precondition(lambda self: not self.is_transactional and any(each.sink.writes for each in self.members))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        """Tell a member of some of its writes at once; also of such that it has given up meanwhile."""
        member = data.draw(st.sampled_from([each for each in self.members if each.sink.writes]))
        chosen = data.draw(st.lists(st.sampled_from(member.sink.writes), min_size=1, unique=True))
        for write in chosen:
            self.write_is_done(member, write)
        member.dispatcher.settled([write.work for write in chosen])
        self.change()

    @precondition(lambda self: not self.is_transactional and any(each.sink.writes for each in self.members))
    @rule(data=st.data(), error=st.sampled_from([WriteFailed("away"), RecordRefused("too large")]))
    def fail_write(self, data: st.DataObject, error: WriteFailed) -> None:
        member = data.draw(st.sampled_from([each for each in self.members if each.sink.writes]))
        write = data.draw(st.sampled_from(member.sink.writes))
        failed = write.outgoing[: data.draw(st.integers(1, len(write.outgoing)))]
        member.sink.writes.remove(write)
        if isinstance(error, RecordRefused):
            self.refused.add(write.work.record.name)
        member.dispatcher.unwritten(write.work, [(each, error) for each in failed])
        self.change()

    def write_is_done(self, member: Member, write: Write) -> None:
        member.sink.writes.remove(write)
        self.written(write)

    def written(self, write: Write) -> None:
        """Note that readers see what a record emitted."""
        self.log.written += write.outgoing
        record = write.work.record
        self.seen[record.name] += 1
        assert self.seen[record.name] == 1 or not self.is_transactional, f"{record.name} is seen twice"
        self.log.settled[record.partition].add(record.offset)

    @precondition(lambda self: not self.is_transactional and any(each.source.asked for each in self.members))
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

    @precondition(lambda self: self.is_transactional)
    @rule(data=st.data(), is_committed=st.booleans())
    def go_on_with_transaction(self, data: st.DataObject, *, is_committed: bool) -> None:
        """Begin a transaction, or end the one that is under way."""
        member = data.draw(st.sampled_from(self.members))
        if member.transaction is not None:
            self.end_transaction(member, is_committed=is_committed)
        elif not member.sink.lock.locked():
            self.runner.run(member.begin_transaction())
        self.change()

    def end_transaction(self, member: Member, *, is_committed: bool) -> None:
        """Let the brokers show and keep all that is in it, or nothing."""
        assert member.transaction is not None
        if is_committed:
            for write in member.transaction.writes:
                self.written(write)
            self.log.commit(member.transaction.positions)
        member.end_transaction(is_committed=is_committed)

    @rule(seconds=st.sampled_from([0.1, 1.0, 3.0, 12.0]))
    def wait(self, seconds: float) -> None:
        self.change(asyncio.sleep(seconds))

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def revoke(self, data: st.DataObject) -> None:
        """Begin to drain a partition: it goes when that is done."""
        partition = data.draw(st.sampled_from(sorted(self.owners)))
        member = self.owners[partition]
        if partition in member.leaving:
            return
        member.leaving[partition] = self.loop.create_task(member.dispatcher.revoke([partition]))
        self.change()

    @precondition(lambda self: self.owners)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """Give a partition away without asking its owner, also while it is drained."""
        partition = data.draw(st.sampled_from(sorted(self.owners)))
        member = self.owners.pop(partition)
        self.unclean += 1
        member.source.release([partition])
        member.dispatcher.lose([partition])
        self.change()

    @precondition(lambda self: len(self.owners) < len(PARTITIONS))
    @rule(data=st.data())
    def assign(self, data: st.DataObject) -> None:
        partition = data.draw(st.sampled_from([each for each in PARTITIONS if each not in self.owners]))
        member = data.draw(st.sampled_from(self.members))
        held = [
            each.partition for one in self.members if one.transaction for each in one.transaction.positions
        ]
        if partition in member.leaving or partition in held:
            return  # a takeover waits for the end of such a transaction
        self.give(partition, member)
        member.source.feed(member.dispatcher)
        self.change()

    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        """Kill a member: nothing of it is heard any more; another one is there in its place."""
        number = data.draw(st.integers(0, len(self.members) - 1))
        dead = self.members[number]
        self.unclean += 1
        for partition in [each for each, owner in self.owners.items() if owner is dead]:
            del self.owners[partition]
        dead.source.release(dead.source.positions)
        dead.committing.cancel()
        dead.dispatcher.cancel()
        dead.leaving.clear()
        if dead.transaction is not None:
            self.end_transaction(dead, is_committed=data.draw(st.booleans()))
        self.members[number] = self.member()
        self.change()

    @rule(data=st.data())
    def suspend_or_resume(self, data: st.DataObject) -> None:
        """Let the coordinator be silent, or back."""
        dispatcher = data.draw(st.sampled_from(self.members)).dispatcher
        if dispatcher.is_suspended:
            dispatcher.resume()
        else:
            dispatcher.suspend()
        self.change()

    @invariant()
    def nothing_is_worked_on_by_those_who_do_not_own_it(self) -> None:
        for member in getattr(self, "members", ()):
            for call in member.calls:
                assert self.owners.get(call.record.partition) is member

    def teardown(self) -> None:
        """In the end all is settled and committed, and nothing is a dead letter without a reason."""
        if not hasattr(self, "members"):
            return
        try:
            self.finish()
        finally:
            for member in self.members:
                member.committing.cancel()
                member.dispatcher.cancel()
            self.runner.close()

    def finish(self) -> None:
        for member in self.members:
            if member.dispatcher.is_suspended:
                member.dispatcher.resume()
        for _ in range(400):
            self.go_on()
            if all(self.log.committed[each] == len(self.log.records[each]) for each in PARTITIONS):
                break
        else:
            raise AssertionError(f"not done: {self.what_is_left()}")
        assert [member.dispatcher.in_flight for member in self.members] == [0, 0]
        assert [member.dispatcher.held for member in self.members] == [0, 0]
        buried = {settled_name(each) for each in self.log.written if each.topic == "dead-letters"}
        for name in buried - self.refused:
            assert self.failed[name] + self.unclean >= MAX_ATTEMPTS, f"{name} is a dead letter for nothing"

    def what_is_left(self) -> list[str]:
        """Say what does not come to an end."""
        return [
            f"{each}: {self.log.committed[each]} of {len(self.log.records[each])}" for each in PARTITIONS
        ] + [
            f"{item.record.name} of {item.record.key!r}: attempt {item.attempt}, {item.is_in_flight},"
            f" timer {item.timer}, outgoing {item.outgoing}"
            for member in self.members
            for lot in member.dispatcher.lots.values()
            for item in lot.items
        ]

    def go_on(self) -> None:
        """Let everything end well that is under way, and some time pass."""
        for partition in PARTITIONS:
            free = [each for each in self.members if partition not in each.leaving]
            if partition not in self.owners and free:
                self.give(partition, free[0])
        for member in self.members:
            member.source.feed(member.dispatcher)
            for call in member.calls:
                if not call.ending.done():
                    out = Outgoing("results", call.record.key, call.record.name.encode(), ())
                    call.ending.set_result(Finished((out,)))
            self.change()
            if self.is_transactional:
                if member.transaction is None:
                    self.runner.run(member.begin_transaction())
                self.end_transaction(member, is_committed=True)
                continue
            writes = list(member.sink.writes)
            for write in writes:
                self.write_is_done(member, write)
            member.dispatcher.settled([write.work for write in writes])
            while member.source.asked:
                self.answer(member, member.source.asked.pop(0))
        self.change(asyncio.sleep(0.5))

    def answer(self, member: Member, asked: Asked) -> None:
        """Keep a commit, if that has not been done, and say so."""
        kept = member.source.commit_now(asked.positions) if asked.kept is None else asked.kept
        if not asked.answer.done():
            asked.answer.set_result(kept)


test_histories = Histories.TestCase
test_histories.settings = settings(max_examples=40 * THOROUGHNESS, stateful_step_count=40, deadline=None)
