"""The tables of docs/performance.md, written between their markers from what was measured.

python -m benchmarks.tables
"""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from benchmarks import results
from benchmarks.candidates import HERE, environment
from integration.servers import PROJECT

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

PAGE: Final = PROJECT / "docs" / "performance.md"
MARKER: Final = "<!-- measured: {} -->"

Run = dict[str, Any]

COLUMNS: Final[dict[str, tuple[str, str]]] = {
    "rate": ("records/s", "{:,.0f}"),
    "relative": ("relative", "{:.2f}"),
    "share": ("of ideal", "{:.1%}"),
    "cpu": ("CPU a record", "{:,.1f} µs"),
    "main": ("of it main thread", "{:,.1f} µs"),
    "p50": ("P50", "{:,.1f} ms"),
    "p99": ("P99", "{:,.1f} ms"),
    "peak": ("peak memory", "{:,.0f} MiB"),
    "resident": ("memory", "{:,.0f} MiB"),
}
"""Figures of a run: the column's title and how a value is written."""


def table(measured: Mapping[str, Any]) -> str:
    """Return one row's figures as a Markdown table: medians, and the least and the most behind them."""
    runs = _by_name(measured["runs"])
    first = next(iter(runs.values()))
    baseline = {run["round"]: run.get("rate") for run in first}
    for run in measured["runs"]:
        if run.get("rate") and baseline.get(run["round"]) and len(runs) > 1 and "share" not in run:
            run["relative"] = run["rate"] / baseline[run["round"]]
    columns = [key for key in COLUMNS if any(key in run for run in measured["runs"])]
    lines = [
        "| " + " | ".join(["", *(COLUMNS[key][0] for key in columns)]) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for name, each in runs.items():
        failed = [run["failure"] for run in each if "failure" in run]
        cells = [_cell([run[key] for run in each if key in run], COLUMNS[key][1]) for key in columns]
        note = f" (failed {len(failed)} of {len(each)} times)" if failed else ""
        lines.append("| " + " | ".join([name + note, *cells]) + " |")
    return "\n".join(lines)


def circumstances(measured: Mapping[str, Any]) -> str:
    """Say when and where it was measured."""
    loads = [run["load"] for run in measured["runs"] if "load" in run]
    rounds = 1 + max(run["round"] for run in measured["runs"])
    versions = ", ".join(f"{name} {number}" for name, number in measured["versions"].items())
    return (
        f"{rounds} round{'s' * (rounds > 1)}, {measured['made']}, commit {measured['commit']}; "
        f"{measured['machine']}; load {min(loads):.1f} to {max(loads):.1f}; {versions}."
        if loads
        else f"{measured['made']}, commit {measured['commit']}; {measured['machine']}; {versions}."
    )


def write() -> None:
    """Put every row's table where the page has its marker, and draw the picture anew."""
    page = PAGE.read_text()
    for row, measured in results.load().items():
        marker = MARKER.format(row)
        text = f"{marker}\n{table(measured)}\n\n{circumstances(measured)}\n{MARKER.format('end')}"
        between = re.compile(re.escape(marker) + r".*?" + re.escape(MARKER.format("end")), re.DOTALL)
        page = between.sub(lambda _, text=text: text, page)  # type: ignore[misc]
    PAGE.write_text(page)
    drawn = [environment("drawing"), HERE / "drawing.py", results.FILE, PAGE.with_suffix(".svg")]
    subprocess.run(drawn, check=True)


def _by_name(runs: Sequence[Run]) -> dict[str, list[Run]]:
    named: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run["round"]):
        named[run["name"]].append(run)
    return named


def _cell(values: list[float], form: str) -> str:
    if not values:
        return ""
    middle = form.format(median(values))
    return (
        middle
        if min(values) == max(values)
        else f"{middle} ({form.format(min(values))} to {form.format(max(values))})"
    )


if __name__ == "__main__":
    write()
