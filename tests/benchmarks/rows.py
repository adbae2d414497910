"""What is measured, row by row. Each yields figures of single runs, interleaved: load hits all alike."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks.candidates import (
    FASTSTREAM,
    FASTSTREAM_BATCHES,
    HERE,
    KAFLEET,
    PLAIN,
    PYRALLEL,
    QUIX,
)
from benchmarks.inputs import Input, named
from benchmarks.runs import Plan, WrongOutput, running
from benchmarks.usages import peak_mib, resident_mib
from confluent_kafka import Producer
from integration.servers import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.candidates import Candidate

Figures = dict[str, Any]
STUB: Final = HERE / "stub.py"
_KEYS: Final = 1_000
_PARTITIONS: Final = 12
_PROFILED: Final = 20_000
_SLOW_SECONDS: Final = 60.0
_SLOW_RATE: Final = 200
_MOST: Final = 70_000.0  # records a second; whoever is faster runs out of them, and is measured until then


@dataclass(frozen=True, slots=True)
class Size:
    """`rounds` of `seconds` each, after `warm_up` seconds; `calls` in flight; peers have to be installed."""

    rounds: int
    seconds: float
    warm_up: float = 1.0
    calls: int = 10_000
    has_peers: bool = True


@dataclass(frozen=True, slots=True)
class Bench:
    """The broker to measure against, a folder for logs, and the size."""

    servers: str
    folder: Path
    size: Size

    def records(self, rate: float) -> int:
        """Return how many records last for a run at that rate."""
        return int(rate * (1 + 2 * self.size.warm_up + self.size.seconds))

    def fill(self, *, partitions: int, records: int, keys: int | None = None) -> Input:
        """Return a new topic with so many records."""
        source = self.topic(partitions=partitions, records=records, keys=keys)
        source.fill()
        return source

    def topic(
        self, *, partitions: int, records: int, keys: int | None = None, is_small: bool = False
    ) -> Input:
        """Return a new topic without records."""
        source = Input(self.servers, f"input-{uuid.uuid4().hex[:8]}", partitions, records, keys, is_small)
        source.create()
        return source


def throughput(bench: Bench) -> Iterator[Figures]:
    """Consume, call a trivial async handler, produce; acknowledged before the commit; 200 B, five headers."""
    source = bench.fill(partitions=_PARTITIONS, records=bench.records(_MOST), keys=_KEYS)
    plan = Plan(source, bench.folder, bench.size.seconds, bench.size.warm_up)
    candidates = [KAFLEET, PLAIN]
    if bench.size.has_peers:
        candidates += [FASTSTREAM, FASTSTREAM_BATCHES, QUIX]
    yield from _interleaved(bench, [(candidate, candidate.name, plan, {}) for candidate in candidates])


def exactlyonce(bench: Bench) -> Iterator[Figures]:
    """Do the same in transactions of at most 100 ms that hold outputs and offsets."""
    source = bench.fill(partitions=_PARTITIONS, records=bench.records(_MOST), keys=_KEYS)
    plan = Plan(source, bench.folder, bench.size.seconds, bench.size.warm_up)
    candidates = [KAFLEET] + ([QUIX] if bench.size.has_peers else [])
    wanted = [
        (candidate, f"{candidate.name}, {name}", plan, {"guarantee": guarantee})
        for candidate in candidates
        for name, guarantee in (("at least once", "AtLeastOnce"), ("exactly once", "ExactlyOnce"))
    ]
    yield from _interleaved(bench, wanted)


def profile(bench: Bench) -> Iterator[Figures]:
    """Take the cost of a record to the agent's process apart, stage by stage, without a broker."""
    for number in range(bench.size.rounds):
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.per_record", "--records", str(_PROFILED)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        for name, cost in re.findall(r"^(.+?) +([\d.]+)$", done.stdout, re.MULTILINE):
            yield {"name": name, "round": number, "cpu": float(cost)}


def fifty(bench: Bench) -> Iterator[Figures]:
    """1,000 calls in flight, each 50 ms of asyncio.sleep; every record has its own key."""
    seconds, concurrency = 0.05, 1_000
    source = bench.fill(partitions=_PARTITIONS, records=bench.records(concurrency / seconds))
    plan = Plan(source, bench.folder, bench.size.seconds, bench.size.warm_up)
    options = {"handler": "sleeping", "concurrency": concurrency, "config": {"seconds": seconds}}
    candidates = [KAFLEET] + ([PYRALLEL] if bench.size.has_peers else [])
    for figures in _interleaved(bench, [(each, each.name, plan, options) for each in candidates]):
        yield _of_ideal(figures, concurrency / seconds)


def inflight(bench: Bench) -> Iterator[Figures]:
    """10,000 calls in flight, each 1 s of asyncio.sleep or of an HTTP server; each record has its own key."""
    ideal = concurrency = bench.size.calls
    seconds = float(max(1, round(bench.size.seconds)))  # whole calls: they come in waves
    sources = [bench.fill(partitions=each, records=int(ideal * (seconds + 3))) for each in (1, _PARTITIONS)]
    with subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", sys.executable, STUB, "1"],
        stdout=subprocess.PIPE,
        text=True,
    ) as stub:
        try:
            assert stub.stdout
            port = int(stub.stdout.readline())
            wanted = [
                (
                    KAFLEET,
                    f"{what}, {source.partitions} partition{'s' * (source.partitions > 1)}",
                    Plan(source, bench.folder, seconds, warm_up=2 * bench.size.warm_up),
                    {"handler": handler, "concurrency": concurrency, "config": config},
                )
                for what, handler, config in (
                    ("asyncio.sleep", "sleeping", {"seconds": 1}),
                    ("HTTP", "calling", {"port": port}),
                )
                for source in sources
            ]
            for figures in _interleaved(bench, wanted):
                yield _of_ideal(figures, ideal)
        finally:
            stub.kill()


def slow(bench: Bench) -> Iterator[Figures]:
    """Wait for records of other keys, 200 a second in one partition, with and without one of 60 s among them.

    Two agents at the same time, each with its topic; the latency is from produced to appended. A round is a
    third of the time.
    """
    count = int((_SLOW_SECONDS + 4 * bench.size.warm_up) * _SLOW_RATE)
    names = {f"with a record of {_SLOW_SECONDS:.0f} s": _SLOW_SECONDS, "without": 0.0}
    sources = [bench.topic(partitions=1, records=count) for _ in names]
    produced: list[list[float]] = [[] for _ in names]
    with contextlib.ExitStack() as stack:
        runs = [
            stack.enter_context(
                running(
                    KAFLEET,
                    source,
                    bench.folder,
                    handler="stumbling",
                    config={"slow": named(0, 1).decode(), "seconds": length},
                )
            )
            for source, length in zip(sources, names.values(), strict=True)
        ]
        producer = Producer({"bootstrap.servers": bench.servers, "linger.ms": 0})
        for source in sources:
            source.produce(producer, 0, 0)
        for run in runs:  # both have joined
            eventually(run.written)
        began = time.monotonic()
        for number in range(1, count):
            time.sleep(max(0.0, began + number / _SLOW_RATE - time.monotonic()))
            for source, moments in zip(sources, produced, strict=True):
                moments.append(time.time())
                source.produce(producer, 0, number)
            producer.poll(0)
        producer.flush()
        for run in runs:
            eventually(lambda run=run: run.committed() == {0: count}, seconds=_SLOW_SECONDS + 60)  # type: ignore[misc]
        load = os.getloadavg()[0]
        for name, moments, run in zip(names, produced, runs, strict=True):
            run.end()
            appended = {int(each.value[3:11]): each.appended for each in run.outputs()}
            waits = [appended[number] - moment * 1000 for number, moment in enumerate(moments, 1)]
            kept = waits[int(2 * bench.size.warm_up * _SLOW_RATE) : int(_SLOW_SECONDS * _SLOW_RATE)]
            third = len(kept) // 3
            for number in range(3):
                part = sorted(kept[number * third : (number + 1) * third])
                p50, p99 = (part[int(share * len(part))] for share in (0.5, 0.99))
                yield {"name": name, "round": number, "p50": p50, "p99": p99, "load": load}


def lag(bench: Bench) -> Iterator[Figures]:
    """Memory with nothing waiting, with 100,000 records and with 10 million; calls of 100 ms, 500 at once."""
    seconds = 3 * bench.size.seconds
    sizes = {
        "1,000 records a second, no lag": 0,
        "100,000 waiting": 100_000,
        "10 million waiting": 10_000_000,
    }
    trickle = int(1000 * (seconds + 60))
    sources = {}
    for name, size in sizes.items():
        source = bench.topic(partitions=_PARTITIONS, records=size or trickle, is_small=True)
        if size:
            source.fill()
        sources[name] = source
    with contextlib.ExitStack() as stack:
        runs = {
            name: stack.enter_context(
                running(
                    KAFLEET,
                    source,
                    bench.folder,
                    handler="sleeping",
                    concurrency=500,
                    config={"seconds": 0.1},
                )
            )
            for name, source in sources.items()
        }
        producer = Producer({"bootstrap.servers": bench.servers})
        fed, *_ = sources.values()
        began = time.monotonic()
        number = 0
        while time.monotonic() < began + seconds:
            while number < (time.monotonic() - began) * 1000:
                fed.produce(producer, number % _PARTITIONS, number // _PARTITIONS)
                number += 1
            producer.poll(0.01)
        producer.flush()
        for name, run in runs.items():
            figures = {
                "peak": peak_mib(run.pid),
                "resident": resident_mib(run.pid),
                "load": os.getloadavg()[0],
            }
            done = run.end().committed
            yield {"name": name, "round": 0, "records": done, **figures}


def _of_ideal(figures: Figures, rate: float) -> Figures:
    return figures | ({"share": figures["rate"] / rate} if "rate" in figures else {})


def _interleaved(
    bench: Bench, wanted: list[tuple[Candidate, str, Plan, dict[str, Any]]]
) -> Iterator[Figures]:
    for number in range(bench.size.rounds):
        turn = number % len(wanted)
        for candidate, name, plan, options in wanted[turn:] + wanted[:turn]:
            figures: Figures = {"name": name, "round": number}
            try:
                yield figures | plan.run(candidate, **options)
            except (WrongOutput, AssertionError, RuntimeError) as error:  # it failed, the others may not
                reason, _, log = str(error).partition("\n")
                if log:
                    print(log, file=sys.stderr)
                yield figures | {"failure": reason}


ROWS: Final[dict[str, Callable[[Bench], Iterator[Figures]]]] = {
    "throughput": throughput,
    "inflight": inflight,
    "fifty": fifty,
    "exactlyonce": exactlyonce,
    "slow": slow,
    "lag": lag,
    "profile": profile,
}
