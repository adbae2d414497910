"""The benchmarks run, at a tiny size and without peers; nothing is asserted on speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from benchmarks.rows import ROWS, Bench, Size

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("row", ["throughput", "inflight"])
def test_a_row_yields_figures_of_correct_output(row: str, bootstrap_servers: str, tmp_path: Path) -> None:
    size = Size(rounds=1, seconds=0.5, warm_up=0.1, calls=200, has_peers=False)

    found = list(ROWS[row](Bench(bootstrap_servers, tmp_path, size)))

    assert found
    for figures in found:
        assert "failure" not in figures, figures
        assert figures["rate"] > 0
        assert figures["records"] > 0
