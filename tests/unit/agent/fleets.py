"""Members of one group in memory: dispatchers on one log, moved about by a test, watched by an oracle."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from unit.agent.memory import CheckedLog, CheckedSink
from unit.agent.samples import lane

from kafleet.dispatching import Dispatcher
from kafleet.metrics import Metrics
from kafleet.records import Outgoing, Partition, Record
from kafleet.testing.memory import MemorySource
from kafleet.verdicts import Failed, Fault, Finished, Postponed, Refused, Saturated, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from kafleet.lanes import Lane
    from kafleet.ports import WriteFailed

FAULT = Fault("ValueError", "no")
SILENT = structlog.wrap_logger(
    structlog.PrintLogger(), wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
)


def settled_name(outgoing: Outgoing) -> str:
    """Return `<topic>/<partition>/<offset>` of the record that an output or a dead letter is about."""
    headers = dict(outgoing.headers)
    if "__connect.errors.topic" not in headers:
        return (outgoing.value or b"").decode()
    parts = (headers[f"__connect.errors.{part}"] or b"" for part in ("topic", "partition", "offset"))
    return "/".join(part.decode() for part in parts)


@dataclass(slots=True)
class Plan:
    """What a record's handler will do, attempt by attempt; the last verdict repeats."""

    seconds: float = 0.1
    verdicts: tuple[str, ...] = ("finished",)
    outputs: int = 1
    is_stubborn: bool = False  # goes on when it is cancelled, as if nothing had been

    def verdict(self, record: Record, call: int) -> Verdict:
        match self.verdicts[min(call, len(self.verdicts)) - 1]:
            case "failed":
                return Failed(FAULT)
            case "refused":
                return Refused("Rejected", FAULT, was_called=True)
            case "postponed":
                return Postponed(0.5)
            case "saturated":
                return Saturated(0.5)
        if self.outputs == 1:
            return Finished((Outgoing("results", record.key, record.name.encode(), []),))
        keys = (str(number).encode() for number in range(self.outputs))
        return Finished(tuple(Outgoing("results", key, record.name.encode(), []) for key in keys))


@dataclass(slots=True)
class Fleet:
    """The log, the plans by record name, and what was seen. `add` makes members."""

    plans: dict[str, Plan] = field(default_factory=dict)
    log: CheckedLog = field(default_factory=CheckedLog)
    calls: list[tuple[str, float]] = field(default_factory=list)  # record name and when its handler started
    numbers: list[tuple[str, int]] = field(default_factory=list)  # record name and number of the attempt
    counts: Counter[str] = field(default_factory=Counter)  # handlers ended, by record name
    running: Counter[tuple[Partition, bytes]] = field(default_factory=Counter)  # handlers, now
    most_running: int = 0
    is_ordered: bool = True
    violation: AssertionError | None = None  # the first promise that was broken
    killed: asyncio.Event = field(default_factory=asyncio.Event)

    def fill(self, partition: Partition, keys: Iterable[bytes | None]) -> None:
        records = self.log.records[partition]
        records.extend(Record(partition, len(records), key, b"{}") for key in keys)

    def add(
        self,
        *,
        batch: int = 3,
        fault: Callable[[Outgoing], WriteFailed | None] = lambda _: None,
        writes_seconds: float = 0.01,
        **delivery: object,
    ) -> Member:
        source = MemorySource(self.log, batch=batch, seconds=0.01)
        sink = CheckedSink(self.log, seconds=writes_seconds, fault=fault)
        return Member(self, source, sink, lane(**delivery))

    async def handle(self, record: Record, number: int) -> Verdict:
        """Do what the plan says; check that nothing is out of order, beside its key, or done again."""
        name, loop = record.name, asyncio.get_running_loop()
        plan = self.plans.get(name, Plan())
        self.calls.append((name, loop.time()))
        self.numbers.append((name, number))
        try:
            self._check(record)
        except AssertionError as error:  # the engine would survive it
            self.violation = self.violation or error
        key = record.partition, record.key or name.encode()
        self.running[key] += 1
        self.most_running = max(self.most_running, sum(self.running.values()))
        try:
            await asyncio.sleep(plan.seconds)
        except asyncio.CancelledError:
            if not plan.is_stubborn:
                raise
        finally:
            self.running[key] -= 1
        self.counts[name] += 1
        if plan.verdicts[0] == "kills":
            self.killed.set()
            await asyncio.Event().wait()  # whoever watches ends the member now
        return plan.verdict(record, self.counts[name])

    def _check(self, record: Record) -> None:
        name = record.name
        assert record.offset not in self.log.remembered[record.partition], f"{name} was settled and committed"
        if record.key is None or not self.is_ordered:
            return
        assert not self.running[record.partition, record.key], f"{name} runs beside another record of its key"
        settled = self.log.settled[record.partition]
        for before in self.log.records[record.partition][: record.offset]:
            assert before.key != record.key or before.offset in settled, f"{name} before {before.name}"

    @property
    def is_done(self) -> bool:
        if self.violation is not None:
            raise self.violation
        return all(self.log.committed[each] == len(records) for each, records in self.log.records.items())


class Member:
    """One replica: a dispatcher that is fed and commits by itself. Make it inside the event loop."""

    def __init__(self, fleet: Fleet, source: MemorySource, sink: CheckedSink, lane_: Lane) -> None:
        self.fleet = fleet
        self.source = source
        self.sink = sink
        self.metrics = Metrics()
        self.dispatcher = Dispatcher(
            lane_,
            fleet.handle,
            source,
            sink,
            metrics=self.metrics,
            logger=SILENT,
            randomness=random.Random(7),  # noqa: S311 - a test's dice
        )
        self.metrics.watch(self.dispatcher)
        sink.start(self.dispatcher)
        self._chores = [
            asyncio.create_task(self.dispatcher.commits.regularly()),
            asyncio.create_task(self._feed_regularly()),
        ]

    def assign(self, partition: Partition) -> None:
        self.source.assign(self.dispatcher, [partition])

    async def revoke(self, partition: Partition) -> None:
        positions = await self.dispatcher.revoke([partition])
        self.source.commit_now(positions)
        self.source.release([partition])

    def lose(self, partition: Partition) -> None:
        self.source.release([partition])
        self.dispatcher.lose([partition])

    async def stop(self, seconds: float) -> None:
        self.source.commit_now(await self.dispatcher.drain(seconds))
        self.end()

    def crash(self) -> None:
        """Die without a word."""
        self.sink.stop()
        self.dispatcher.cancel()
        self.source.release(self.source.positions)
        self.end()

    def end(self) -> None:
        """End what goes on beside the dispatcher; raises what it has ended with: a broken promise."""
        for chore in self._chores:
            if chore.done() and not chore.cancelled():
                chore.result()
            chore.cancel()

    async def _feed_regularly(self) -> None:
        while True:
            self.source.feed(self.dispatcher)
            await asyncio.sleep(0.05)


class Group:
    """Members and who owns which partition of the fleet's log."""

    def __init__(self, fleet: Fleet, members: list[Member]) -> None:
        self.fleet = fleet
        self.members = members
        self.owners: dict[Partition, Member] = {}
        for number, partition in enumerate(fleet.log.records):
            self.give(partition, members[number % len(members)])

    def give(self, partition: Partition, member: Member) -> None:
        self.owners[partition] = member
        member.assign(partition)

    async def take_away(self, how: str, partition: Partition) -> list[Partition]:
        """Revoke or lose a partition, or crash its owner; returns all that have no owner now."""
        owner = self.owners[partition]
        moved = [partition]
        if how == "crash":
            owner.crash()
            self.members[self.members.index(owner)] = self.fleet.add(concurrency=3)
            moved = [each for each, holder in self.owners.items() if holder is owner]
        elif how == "revoke":
            await owner.revoke(partition)
        else:
            owner.lose(partition)
        await asyncio.sleep(0)  # what was cancelled ends
        return moved


async def until_done(fleet: Fleet, seconds: float) -> None:
    """Wait in virtual time until everything is committed."""
    async with asyncio.timeout(seconds):
        while not fleet.is_done:  # noqa: ASYNC110 - virtual time costs nothing
            await asyncio.sleep(0.2)


def names(fleet: Fleet) -> list[str]:
    return [name for name, _ in fleet.calls]


def dead(fleet: Fleet) -> list[Outgoing]:
    return [outgoing for outgoing in fleet.log.written if outgoing.topic == "dead-letters"]


def single(fleet: Fleet, *partitions: Partition, **options: Any) -> Member:  # noqa: ANN401 - passed on
    member = fleet.add(**options)
    for partition in partitions:
        member.assign(partition)
    return member
