"""Measure Kafleet's agent and its peers on a real broker, keep the figures, and renew the page's tables.

make benchmark [ROW=throughput] [ROUNDS=3] [SECONDS=4]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import group_reads, results, tables
from benchmarks.rows import ROWS, Bench, Size
from integration.conftest import folder
from integration.servers import Broker

if TYPE_CHECKING:
    from collections.abc import Mapping

GROUPS: Final = "groups"  # what the operator's reading of consumer groups costs: printed, see record 0012


def main() -> None:
    parser = argparse.ArgumentParser(prog="make benchmark")
    parser.add_argument("--row", choices=[*ROWS, GROUPS], help=f"only this one; all but {GROUPS} if left out")
    parser.add_argument("--rounds", type=int, default=3, help="how often each candidate runs")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long a run is measured")
    parser.add_argument("--dry", action="store_true", help="print the figures, keep nothing")
    given = parser.parse_args()
    if given.row == GROUPS:
        group_reads.compare()
        return
    for row in [given.row] if given.row else ROWS:
        measure(row, Size(given.rounds, given.seconds), is_kept=not given.dry)


def measure(row: str, size: Size, *, is_kept: bool) -> None:
    """Measure a row on a broker of its own."""
    print(f"=== {row}", flush=True)
    began = time.monotonic()
    with folder() as path:
        broker = Broker(Path(path), settings={"log.retention.ms": -1})
        try:
            broker.start()
            broker.await_ready()
            runs = []
            for figures in ROWS[row](Bench(broker.bootstrap_servers, Path(path), size)):
                runs.append(figures)
                print(said(figures), flush=True)
        finally:
            broker.kill()
    if is_kept:
        results.store(row, ROWS[row].__doc__ or row, runs)
        tables.write()
    print(f"=== {row}: {time.monotonic() - began:.0f} s", flush=True)


def said(figures: Mapping[str, Any]) -> str:
    return "  ".join(
        f"{key} {value:.4g}" if isinstance(value, float) else f"{key} {value}"
        for key, value in figures.items()
    )


if __name__ == "__main__":
    main()
