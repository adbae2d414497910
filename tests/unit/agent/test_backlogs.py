"""Records wait behind their key and their partition's turn, however many there are."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from unit.agent.samples import lane, record

from kafleet.backlogs import Backlog, Item, Lot
from kafleet.commitmetadata import Progress, metadata_of
from kafleet.ports import Assignment
from kafleet.records import Partition

if TYPE_CHECKING:
    from collections.abc import Iterator

P0, P1 = (Partition("tasks", number) for number in range(2))
MANY = 100_000
"""With anything quadratic in it a test takes minutes, and its time is over."""


def lot_of(partition: Partition, deaths: int = 0) -> Lot:
    metadata = metadata_of(0, Progress(unclean=deaths + 1)).text
    return Lot(partition, Assignment(1, 0, metadata), lane().delivery, now=0.0)


def taken(backlog: Backlog) -> Iterator[Item]:
    """Take records, each settled before the next one is taken."""
    while (item := backlog.take()) is not None:
        item.is_in_flight = True
        yield item
        backlog.give_back(item)
        backlog.remove(item, 0.0)


@pytest.mark.timeout(60)
def test_one_key_with_very_many_records_is_worked_off_in_order() -> None:
    backlog, lot = Backlog(is_ordered=True), lot_of(P0)
    for offset in range(MANY):
        backlog.add(Item(record(offset), lot), 0.0)

    assert [item.record.offset for item in taken(backlog)] == list(range(MANY))
    assert not lot.items


@pytest.mark.timeout(60)
def test_dropping_a_partition_leaves_the_records_of_its_keys_in_others_in_their_order() -> None:
    backlog, going, staying = Backlog(is_ordered=True), lot_of(P0), lot_of(P1)
    for offset in range(MANY // 2):
        backlog.add(Item(record(offset), going), 0.0)
        backlog.add(Item(record(offset, partition=P1), staying), 0.0)
    backlog.drop(going, 0.0)

    assert [item.record.offset for item in taken(backlog)] == list(range(MANY // 2))
    assert not going.items


@pytest.mark.timeout(60)
def test_very_many_suspects_run_alone_one_after_the_other_while_others_go_on() -> None:
    backlog, suspected, innocent = Backlog(is_ordered=True), lot_of(P0, deaths=30), lot_of(P1)
    for offset in range(MANY // 2):
        backlog.add(Item(record(offset, key=None), suspected), 0.0)
    first = backlog.take()
    assert first is not None
    assert backlog.take() is None
    backlog.add(Item(record(key=None, partition=P1), innocent), 0.0)
    assert [item.lot for item in taken(backlog)] == [innocent]

    backlog.give_back(first)
    backlog.remove(first, 0.0)

    assert [item.record.offset for item in taken(backlog)] == list(range(1, MANY // 2))


def test_what_is_held_back_is_dropped_with_its_partition() -> None:
    backlog, suspected = Backlog(is_ordered=True), lot_of(P0, deaths=30)
    for offset in range(3):
        backlog.add(Item(record(offset, key=None), suspected), 0.0)
    first = backlog.take()
    assert first is not None
    first.is_in_flight = True
    assert backlog.take() is None
    backlog.drop(suspected, 0.0)
    backlog.give_back(first)

    assert backlog.take() is None
    assert list(suspected.items) == [first]
