"""Draw the page's picture from what was measured. Runs in an environment of its own, which has matplotlib.

python drawing.py results.json picture.svg
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter

if TYPE_CHECKING:
    from collections.abc import Callable

OURS = "#1f6f8b"
OTHERS = "#b8b8b8"
INK = "#222222"

# Row, figure, title, how its numbers are written: a panel each, if it was measured.
PANELS: list[tuple[str, str, str, Callable[[float], str]]] = [
    ("throughput", "rate", "Records a second, one process", lambda value: f"{value:,.0f}"),
    ("throughput", "cpu", "Processor time a record, µs", lambda value: f"{value:,.0f}"),
    ("exactlyonce", "rate", "Records a second, exactly once", lambda value: f"{value:,.0f}"),
    ("fifty", "share", "1,000 calls of 50 ms: share of ideal", lambda value: f"{value:.0%}"),
    ("inflight", "share", "10,000 calls of 1 s: share of ideal", lambda value: f"{value:.0%}"),
    ("lag", "peak", "Peak memory, MiB", lambda value: f"{value:,.0f}"),
]


def draw(measured: dict[str, Any], picture: Path) -> None:
    panels = [panel for panel in PANELS if any(panel[1] in run for run in _runs(measured, panel[0]))]
    mpl.rcParams.update(
        {"font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "kafleet", "text.color": INK}
    )
    rows = (len(panels) + 1) // 2
    heights = [
        1 + max(len(_values(measured, *panel[:2])) for panel in panels[2 * row : 2 * row + 2])
        for row in range(rows)
    ]
    figure, axes = plt.subplots(
        rows, 2, figsize=(11, 0.36 * sum(heights) + 0.5), squeeze=False, height_ratios=heights
    )
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    for axis, (row, key, title, written) in zip(axes.flat, panels, strict=False):
        _bars(axis, _values(measured, row, key), title, written, is_share=key == "share")
    figure.tight_layout(h_pad=2.0, w_pad=3.0)
    figure.savefig(picture, metadata={"Date": None})


def _runs(measured: dict[str, Any], row: str) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = measured.get(row, {"runs": []})["runs"]
    return sorted(runs, key=lambda run: run["round"])


def _values(measured: dict[str, Any], row: str, key: str) -> dict[str, list[float]]:
    values: dict[str, list[float]] = {}
    for run in _runs(measured, row):
        if key in run:
            values.setdefault(run["name"], []).append(run[key])
    return values


def _bars(
    axis: Any,  # noqa: ANN401 - matplotlib is not there to be checked against
    values: dict[str, list[float]],
    title: str,
    written: Callable[[float], str],
    *,
    is_share: bool,
) -> None:
    """Draw a bar for each candidate's median, from zero, with a line from its least to its most."""
    most = 1.0 if is_share else max(max(each) for each in values.values())
    peers = {"plain", "FastStream", "Quix", "pyrallel-consumer"}
    for place, (name, each) in enumerate(values.items()):
        middle = median(each)
        is_peer = name.split()[0].rstrip(",") in peers
        axis.barh(place, middle, color=OTHERS if is_peer else OURS, height=0.62)
        axis.plot([min(each), max(each)], [place, place], color=INK, linewidth=1.2, marker="|", markersize=6)
        axis.text(max(middle, *each) + 0.015 * most, place, written(middle), va="center")
    axis.set_yticks(range(len(values)), list(values))
    axis.invert_yaxis()
    axis.set_xlim(0, 1.15 * most)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: written(value)))
    axis.locator_params(axis="x", nbins=5)
    axis.set_title(title, loc="left", fontsize=10, fontweight="bold")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)


if __name__ == "__main__":
    draw(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))
