"""Whoever is cut off from the group's coordinator stops in time, and goes on where nobody took over."""

from __future__ import annotations

import asyncio

from unit.agent.fleets import SILENT, Fleet, Member, Plan, names, single, until_done
from virtual import run, until

from kafleet.records import Partition
from kafleet.watchdogs import Timing, Watchdog

P0 = Partition("tasks", 0)
HEARTBEAT = 2.0


class Contact:
    """A coordinator that answers at once until it is cut off, and again after."""

    def __init__(self) -> None:
        self.cut_at: float | None = None

    @property
    def unheard_seconds(self) -> float:
        return 0.0 if self.cut_at is None else asyncio.get_running_loop().time() - self.cut_at


async def cut(member: Member, *, start: float, end: float, session: float = 10.0) -> asyncio.Task[None]:
    """Cut a member off for a while, under a watchdog that runs until the returned task is cancelled."""
    contact = Contact()
    watchdog = Watchdog(contact, member.dispatcher, timing=lambda: Timing(session, HEARTBEAT), logger=SILENT)
    watching = asyncio.create_task(watchdog.run())
    await until(start)
    contact.cut_at = start
    await until(end)
    contact.cut_at = None
    return watching


def test_work_goes_on_until_most_of_the_session_has_passed_without_contact_and_then_ends() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=60)})
    fleet.fill(P0, [b"slow", *[None] * 500])

    async def story() -> None:
        member = single(fleet, P0, batch=10)
        watching = await cut(member, start=5, end=14)
        watching.cancel()
        member.crash()

    run(story())

    assert sum(fleet.running.values()) == 0
    assert max(moment for _, moment in fleet.calls) < 5 + 8.5
    assert max(moment for _, moment in fleet.calls) > 5 + 7.5


def test_where_nobody_took_over_everything_is_done_once_and_no_attempt_is_counted() -> None:
    fleet = Fleet(plans={f"tasks/0/{offset}": Plan(seconds=30) for offset in range(3)})
    fleet.fill(P0, [b"a", b"a", b"b", *[b"c"] * 20])

    async def story() -> None:
        member = single(fleet, P0)
        watching = await cut(member, start=5, end=14)
        assert fleet.log.settled[P0] == set(range(3, 23))
        await until_done(fleet, 120)
        watching.cancel()
        member.end()

    run(story())

    assert names(fleet).count("tasks/0/0") == names(fleet).count("tasks/0/2") == 2
    assert names(fleet).count("tasks/0/1") == 1
    assert {number for _, number in fleet.numbers} == {1}
    assert len(fleet.log.written) == 23


def test_a_short_silence_is_nothing() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=20)})
    fleet.fill(P0, [b"a"])

    async def story() -> None:
        member = single(fleet, P0)
        watching = await cut(member, start=5, end=12)
        await until_done(fleet, 60)
        watching.cancel()
        member.end()

    run(story())

    assert names(fleet) == ["tasks/0/0"]


def test_a_partition_that_is_lost_in_the_silence_is_not_worked_on_any_more() -> None:
    fleet = Fleet(plans={"tasks/0/0": Plan(seconds=20)})
    fleet.fill(P0, [b"a", b"a"])

    async def story() -> None:
        member = single(fleet, P0)
        watching = await cut(member, start=5, end=14)
        await until(14 + HEARTBEAT)  # only with its heartbeat's answer it is told
        member.lose(P0)
        await until(60)
        watching.cancel()
        member.crash()

    run(story())

    assert names(fleet) == ["tasks/0/0"]
    assert fleet.log.written == []
