"""What handlers end with goes into transactions, one after the other, and nobody waits for their ends."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
from unit.agent.ledgers import Exact, Ledger, committed, echo, expected
from unit.agent.samples import TASKS, lane, record
from virtual import run, until

from kafleet.backlogs import Item, Lot
from kafleet.commitmetadata import Progress, metadata_of, progress_from
from kafleet.commits import plan
from kafleet.ports import Assignment, Position, RecordRefused, WriteFailed
from kafleet.records import Partition, Record
from kafleet.transactors import CannotGoOn, Outcome

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kafleet.verdicts import Verdict


def test_neither_a_slot_nor_a_key_waits_for_the_end_of_a_transaction() -> None:
    ledger = Ledger()

    async def story() -> float:
        replica = Exact(ledger, keys=2, count=100)
        await replica.finish(100)
        return asyncio.get_running_loop().time()

    seconds = run(story())

    assert ledger.results == expected(2, 100)
    assert seconds < 0.5  # 100 transactions, or 50 with two keys at a time, would take five seconds and more
    assert max(ledger.sizes) > 4


def test_a_commit_that_somebody_waits_for_is_made_at_once() -> None:
    ledger = Ledger()

    async def story() -> float:
        replica = Exact(ledger, keys=1, count=1)
        await until(0.05)  # the next transaction's regular time is 0.1
        await replica.sink.commit(())
        return asyncio.get_running_loop().time()

    assert run(story()) < 0.09


def test_a_commit_that_somebody_waits_for_takes_along_what_is_just_being_written() -> None:
    ledger = Ledger()

    async def story() -> Collection[Partition]:
        replica = Exact(ledger, keys=1, count=1)
        await until(0.5)
        replica.dispatcher.take([record(1)])
        return await replica.sink.commit(())

    assert run(story()) == {TASKS}
    assert ledger.sizes == [1, 1]


def test_after_a_commit_that_was_waited_for_transactions_keep_their_time() -> None:
    ledger = Ledger()

    async def story() -> None:
        replica = Exact(ledger, keys=2, count=0)
        await replica.sink.commit(())
        replica.take(keys=2, count=100)
        await replica.finish(100)

    run(story())

    assert len(ledger.sizes) <= 3


def test_where_a_partition_begins_is_committed_by_the_next_transaction() -> None:
    """Beside what handlers have ended with by then; in a commit of its own it could come late."""
    ledger = Ledger()
    other = Partition("tasks", 1)

    async def story() -> Collection[Partition]:
        replica = Exact(ledger, keys=2, count=100)
        await asyncio.sleep(0.01)
        committed = await replica.sink.begin([Position(other, 1, 7, "")])
        assert ledger.position.offset < 100
        await replica.finish(100)
        return committed

    assert other in run(story())
    assert ledger.begun[other] > 0
    assert ledger.results == expected(2, 100)


def test_who_begins_is_told_that_nothing_was_committed_and_later_transactions_are_no_smaller() -> None:
    outcomes = [Outcome(is_committed=False)]
    ledger = Ledger(lambda writes: outcomes.pop() if outcomes else committed(writes))
    position = Position(Partition("tasks", 1), 1, 7, "")

    async def story() -> list[Collection[Partition]]:
        replica = Exact(ledger, keys=2, count=0)
        committed = [await replica.sink.begin([position]) for _ in range(2)]
        replica.take(keys=2, count=100)
        await replica.finish(100)
        return committed

    assert run(story()) == [(), {position.partition}]
    assert max(ledger.sizes[:4]) > 4  # and not two, then four


def test_the_attempt_of_a_record_that_is_tried_alone_is_counted_by_what_settles_the_last() -> None:
    """So one transaction a record, and it waits for nothing else."""
    ledger = Ledger()
    metadata = metadata_of(0, Progress(unclean=20)).text
    known = []

    async def attempt(record: Record, number: int) -> Verdict:
        known.append((record.offset, ledger.position.offset, ledger.progress.failed))
        return await echo(record, number)

    async def story() -> float:
        await Exact(ledger, keys=2, count=30, metadata=metadata, attempt=attempt).finish(30)
        return asyncio.get_running_loop().time()

    seconds = run(story())

    assert ledger.results == expected(2, 30)
    assert known == [(offset, offset, {offset: 1}) for offset in range(30)]
    assert len(ledger.sizes) <= 30 + 2
    assert seconds < 30 * 0.02


def test_a_write_that_spoils_transactions_is_found_and_the_others_go_on() -> None:
    tries = []

    def judge(writes: Sequence[Item]) -> Outcome:
        if not any(write.record.offset == 13 for write in writes):
            return committed(writes)
        if len(writes) > 1:
            return Outcome(is_committed=False)
        tries.append(len(writes))
        if len(tries) == 3:
            return committed(writes)
        return Outcome(is_committed=False, failed={0: WriteFailed("no rights")})

    ledger = Ledger(judge)

    async def story() -> None:
        replica = Exact(ledger, keys=100, count=100)
        while sum(map(len, ledger.results.values())) < 99:  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(0.05)
        assert len(tries) < 3
        await replica.finish(100)

    run(story())

    assert ledger.results == expected(100, 100)


def test_what_is_refused_becomes_one_dead_letter_and_holds_nobody_up() -> None:
    def judge(writes: Sequence[Item]) -> Outcome:
        refused = {
            index: RecordRefused("too large")
            for index, write in enumerate(writes)
            if write.record.offset == 5 and write.outgoing and write.outgoing[0].topic == "results"
        }
        return Outcome(is_committed=False, failed=refused) if refused else committed(writes)

    ledger = Ledger(judge)

    async def story() -> None:
        await Exact(ledger, keys=10, count=10).finish(10)

    run(story())

    assert ledger.results == expected(10, 10) | {b"5": [b"{}"]}  # a dead letter holds the task


@pytest.mark.parametrize("error", [WriteFailed("no rights"), RecordRefused("too large")])
def test_what_cannot_be_written_yet_is_not_overtaken_by_the_next_of_its_key(error: WriteFailed) -> None:
    """A handler that ended later has written nothing before. Other keys go on meanwhile."""
    tries: list[int] = []

    def judge(writes: Sequence[Item]) -> Outcome:
        spoiling = [index for index, write in enumerate(writes) if write.record.offset == 20]
        if not spoiling or len(tries) == 3:
            return committed(writes)
        tries.append(sum(map(len, ledger.results.values())))
        return Outcome(is_committed=False, failed=dict.fromkeys(spoiling, error))

    ledger = Ledger(judge)

    async def story() -> None:
        await Exact(ledger, keys=10, count=200).finish(200)

    run(story())

    results = expected(10, 200)
    if isinstance(error, RecordRefused):
        results[b"0"][2] = b"{}"  # a dead letter holds the task
    assert ledger.results == results
    assert tries[-1] > 20 * 9


def test_without_order_nothing_waits_for_what_cannot_be_written_yet() -> None:
    tries: list[int] = []

    def judge(writes: Sequence[Item]) -> Outcome:
        spoiling = [index for index, write in enumerate(writes) if write.record.offset == 20]
        if not spoiling or len(tries) == 3:
            return committed(writes)
        tries.append(len(ledger.results[b"0"]))
        return Outcome(is_committed=False, failed=dict.fromkeys(spoiling, WriteFailed("no rights")))

    ledger = Ledger(judge)

    async def story() -> None:
        await Exact(ledger, keys=10, count=200, ordering="None").finish(200)

    run(story())

    assert tries[-1] == 19  # all others of its key


def test_what_could_not_be_written_holds_up_nobody_once_its_partition_has_gone() -> None:
    is_refusing = True

    def judge(writes: Sequence[Item]) -> Outcome:
        spoiling = [index for index, write in enumerate(writes) if write.record.offset == 20 and is_refusing]
        if not spoiling:
            return committed(writes)
        return Outcome(is_committed=False, failed=dict.fromkeys(spoiling, WriteFailed("no rights")))

    ledger = Ledger(judge)

    async def story() -> None:
        nonlocal is_refusing
        replica = Exact(ledger, keys=10, count=200)
        while sum(map(len, ledger.results.values())) < 182:  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(0.05)
        replica.dispatcher.lose([TASKS])
        is_refusing = False
        _, _, offset, metadata, _ = ledger.position
        replica.dispatcher.assign({TASKS: Assignment(2, offset, metadata)})
        replica.dispatcher.take(record(each, key=b"%d" % (each % 10)) for each in range(offset, 200))
        await replica.finish(200)

    run(story())

    assert ledger.results == expected(10, 200)


def test_a_taken_id_ends_the_process_with_the_reason() -> None:
    def judge(_: Sequence[Item]) -> Outcome:
        raise CannotGoOn("another process has taken the id over")

    ledger = Ledger(judge)

    async def story() -> list[str]:
        replica = Exact(ledger, keys=1, count=1)
        await replica.running
        return replica.failures

    assert run(story()) == ["another process has taken the id over"]


def test_what_an_offset_map_has_no_room_for_waits() -> None:
    """Settled and forgotten would be done again; of the others, the lowest make room."""
    dice = random.Random(1)  # noqa: S311 - a test's dice
    lot = Lot(TASKS, Assignment(1, 0, ""), lane(guarantee="ExactlyOnce").delivery, now=0.0)
    items = [Item(record(offset), lot) for offset in range(25_000)]
    for item in items:
        lot.fetch(item.record.offset)
    works = [item for item in items[1:] if dice.random() < 0.5]
    fitting, [position] = plan([lot], works, 0.0)

    remembered = progress_from(position.offset, position.metadata).settled
    offsets = {item.record.offset for item in fitting}
    assert 0 < len(fitting) < len(works)
    assert fitting == works[: len(fitting)]
    assert offsets == {offset for each in remembered for offset in each}
    assert plan([lot], items, 0.0)[0] == items
