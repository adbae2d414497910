"""What one record costs the agent's process, stage by stage: processor time in µs, without a broker.

    cd tests && ../.venv/bin/python -m benchmarks.per_record [--records 200000] [--profile]

Each stage is the real code on real values, fed from memory. `engine` is all of them but for reading and
writing: dispatcher, envelope, handler (pydantic in, pydantic out, 200 bytes), headers. Figures depend on the
machine; each is the best of three, as whatever else runs there only adds to it.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import json
import logging
import pstats
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING

import structlog
import uvloop
from confluent_kafka import Message
from pydantic import BaseModel
from unit.agent.samples import lane

from kafleet import Agent
from kafleet.attempts import Attempts
from kafleet.dispatching import Dispatcher
from kafleet.emissions import utc_now
from kafleet.envelopes import emitted_headers, emitted_id, envelope_of, shared_headers
from kafleet.fetching import _record
from kafleet.loading import handlers_of
from kafleet.metrics import Metrics
from kafleet.offsetmaps import OffsetMap
from kafleet.payloads import encoded
from kafleet.ports import Assignment
from kafleet.records import Outgoing, Partition, Record
from kafleet.running import _spare_the_collector
from kafleet.verdicts import Finished, Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from contextlib import AbstractAsyncContextManager

    from kafleet.backlogs import Item
    from kafleet.ports import Attempting, Position

PARTITIONS = [Partition("tasks", number) for number in range(12)]
BATCH = 500
ROUNDS = 3
LANE = lane(concurrency=1_000)
LOGGER = structlog.wrap_logger(
    structlog.PrintLogger(), wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
)


class Task(BaseModel):
    """What comes in."""

    number: int
    text: str


class Answer(BaseModel):
    """What goes out."""

    number: int
    text: str


agent = Agent()


@agent.task
async def answer(task: Task) -> Answer:
    """Do as little as a handler can."""
    return Answer(number=task.number, text=task.text)


def message_of(number: int, count: int) -> Message:
    """Return a message as the client hands it out; 200 bytes, four headers, keys that repeat."""
    partition = PARTITIONS[number % len(PARTITIONS)]
    payload = {"number": number, "text": "x" * 165}
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"b7e0a3b2-9b5c-4a3e-9c53-%012d" % number),
        ("ce_type", b"Task"),
        ("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ]
    return Message(
        topic=partition.topic,
        partition=partition.number,
        offset=number // len(PARTITIONS),
        key=b"key-%d" % (number % (count // 20 or 1)),
        value=json.dumps(payload).encode(),
        headers=headers,
        timestamp=(1, 1_700_000_000_000),
    )


class Replay:
    """A source and a sink in memory: all is acknowledged on the loop's next turn, in one batch."""

    def __init__(self, records: Sequence[Record]) -> None:
        self._records = records
        self._next = 0
        self._paused: set[Partition] = set()
        self._seconds_between = 0.0
        self._works: list[Item] = []
        self._left = len(records)
        self._loop = asyncio.get_running_loop()
        self.done = asyncio.Event()

    def start(self, dispatcher: Dispatcher) -> None:
        self._dispatcher = dispatcher
        dispatcher.assign({partition: Assignment(1, 0, "") for partition in PARTITIONS})
        self._feed()

    def pause(self, partition: Partition) -> None:
        self._paused.add(partition)

    def resume(self, partition: Partition) -> None:
        self._paused.discard(partition)

    def pace(self, seconds: float) -> None:
        self._seconds_between = seconds

    def quiet(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def commit(self, positions: Sequence[Position]) -> Collection[Partition]:
        return {position.partition for position in positions}

    def _feed(self) -> None:
        if not self._seconds_between and not self._paused:
            batch = self._records[self._next : self._next + BATCH]
            self._next += len(batch)
            self._dispatcher.take(batch)
        if self._next < len(self._records):
            self._loop.call_soon(self._feed)

    def write(self, work: Item, _outgoing: Sequence[Outgoing]) -> None:
        if not self._works:
            self._loop.call_soon(self._acknowledge)
        self._works.append(work)

    def _acknowledge(self) -> None:
        works, self._works = self._works, []
        self._dispatcher.settled(works)
        self._left -= len(works)
        if not self._left:
            self.done.set()


async def replay(records: Sequence[Record], attempt: Attempting) -> None:
    """Run all records through a dispatcher."""
    source = Replay(records)
    dispatcher = Dispatcher(LANE, attempt, source, source, metrics=Metrics(), logger=LOGGER)
    source.start(dispatcher)
    chore = asyncio.create_task(dispatcher.commits.regularly())
    await source.done.wait()
    chore.cancel()


def attempts() -> Attempts:
    return Attempts(LANE, handlers_of(agent), pool=ThreadPoolExecutor(1), logger=LOGGER)


async def nothing(record: Record, _number: int) -> Verdict:
    return Finished((Outgoing("results", record.key, record.value, []),))


def values(  # noqa: C901 - a list of small functions
    messages: Sequence[Message], records: Sequence[Record]
) -> dict[str, Callable[[], None]]:
    """Return the stages of an attempt and what comes before; each does its part for all records."""
    handler = handlers_of(agent).by_type[None]
    envelopes = [envelope_of(record) for record in records]
    result = Answer(number=1, text="x" * 165)
    shared = shared_headers(LANE.group, "Answer", "application/json", utc_now())

    def read() -> None:
        for message in messages:
            _record(message, PARTITIONS[message.partition()])

    def parse() -> None:
        for record in records:
            envelope_of(record)

    def decode() -> None:
        for record in records:
            handler.decode(record.value)

    def encode() -> None:
        for _ in records:
            encoded(result)

    def emit() -> None:
        for envelope in envelopes:
            emitted_headers(envelope, shared, emitted_id(LANE.group, envelope.id, 0), b"key-1", None)

    return {
        "message to record": read,
        "headers to envelope": parse,
        "value to input": decode,
        "result to value": encode,
        "headers of an output": emit,
    }


def engine(records: Sequence[Record]) -> dict[str, Callable[[], None]]:
    """Return the parts of the engine, and all of it; each for all records."""

    def offset_map() -> None:
        maps: defaultdict[Partition, OffsetMap] = defaultdict(OffsetMap)
        for record in records:
            maps[record.partition].fetch(record.offset)
            maps[record.partition].settle(record.offset)

    async def attempt_all() -> None:
        made = attempts()
        for record in records:
            await made.attempt(record, 1)

    async def run_all() -> None:
        await replay(records, attempts().attempt)

    return {
        "offset map": offset_map,
        "whole attempt": lambda: uvloop.run(attempt_all()),
        "dispatcher alone": lambda: uvloop.run(replay(records, nothing)),
        "engine": lambda: uvloop.run(run_all()),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--records", type=int, default=200_000)
    parser.add_argument("--profile", action="store_true", help="show where the engine's time goes instead")
    options = parser.parse_args()
    messages = [message_of(number, options.records) for number in range(options.records)]
    records = [_record(message, PARTITIONS[message.partition()]) for message in messages]
    made = values(messages, records) | engine(records)
    _spare_the_collector()
    if options.profile:
        with cProfile.Profile() as profile:
            made["engine"]()
        pstats.Stats(profile).sort_stats("tottime").print_stats(35)
        return
    print(f"{'stage':<24}{'µs a record':>12}")
    for name, stage in made.items():
        spent = []
        for _ in range(ROUNDS):
            begun = time.process_time()
            stage()
            spent.append(time.process_time() - begun)
        print(f"{name:<24}{min(spent) / options.records * 1e6:12.2f}")


if __name__ == "__main__":
    main()
