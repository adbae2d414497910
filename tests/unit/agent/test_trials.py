"""Records that may kill the process are tried alone, each counted beforehand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from unit.agent.samples import TASKS, lane, record
from virtual import run

from kafleet.backlogs import Item, Lot
from kafleet.commitmetadata import Progress, metadata_of
from kafleet.commits import Commits, plan
from kafleet.metrics import Metrics
from kafleet.ports import Assignment, Position, WriteFailed
from kafleet.trials import Trials
from kafleet.verdicts import Finished, Verdict

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from kafleet.records import Outgoing, Partition, Record


class Books:
    """Of one partition, all of whose records are suspects; whatever is to be committed is."""

    def __init__(self, records: int) -> None:
        metadata = metadata_of(0, Progress(unclean=20)).text
        delivery = lane(guarantee="ExactlyOnce").delivery
        self.lot = Lot(TASKS, Assignment(1, 0, metadata), delivery, now=0.0)
        self.items = [Item(record(offset), self.lot) for offset in range(records)]
        for item in self.items:
            self.lot.fetch(item.record.offset)
            item.is_in_flight = True

    def plan(self, works: Sequence[Item]) -> tuple[list[Item], list[Position]]:
        return plan([self.lot], works, 0.0)

    def committed(self, positions: Sequence[Position]) -> None:
        for position in positions:
            self.lot.acknowledge(position)

    async def commit(self, positions: Sequence[Position]) -> Collection[Partition]:
        return {position.partition for position in positions}

    def settled(self, works: Sequence[Item]) -> None:
        raise NotImplementedError

    def unwritten(self, work: Item, failures: Sequence[tuple[Outgoing, WriteFailed]]) -> None:
        raise NotImplementedError

    def awaits(self, work: Item) -> bool:
        return work.is_in_flight


def test_nobody_is_tried_alone_while_a_death_would_count_against_the_last() -> None:
    """Its outputs wait for their transaction, and its attempt is counted: it would be tried once more."""
    tried = []

    async def attempt(record: Record, number: int) -> Verdict:
        tried.append((record.offset, number))
        return Finished()

    async def story() -> None:
        books = Books(records=2)
        commits = Commits(books, books.commit, metrics=Metrics())
        trials = Trials(attempt, commits, max_attempts=3)
        first, second = books.items
        await trials.attempt(first)
        following = asyncio.ensure_future(trials.attempt(second))
        await asyncio.sleep(5)
        assert tried == [(0, 1)]
        first.is_in_flight = False
        await following

    run(story())

    assert tried == [(0, 1), (1, 1)]
