"""What is measured, row by row. Each yields figures of single runs, interleaved: load hits all alike."""

from __future__ import annotations

import subprocess
import sys
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
from benchmarks.inputs import Input
from benchmarks.runs import Plan, WrongOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from benchmarks.candidates import Candidate

Figures = dict[str, Any]
STUB: Final = HERE / "stub.py"
_KEYS: Final = 1_000
_PARTITIONS: Final = 12
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
        source = Input(self.servers, f"input-{uuid.uuid4().hex[:8]}", partitions, records, keys)
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
    sources = [bench.fill(partitions=each, records=bench.records(ideal)) for each in (1, _PARTITIONS)]
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
                yield figures | {"failure": str(error)}


ROWS: Final[dict[str, Callable[[Bench], Iterator[Figures]]]] = {
    "throughput": throughput,
    "fifty": fifty,
    "inflight": inflight,
}
