"""The operator reads what agents note beside committed offsets, by the contract's own cases."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.operator.planning.samples import LANE

from kafleet_operator.planning.commits import settled_above
from kafleet_operator.planning.observations import GroupState, PartitionState
from kafleet_operator.planning.workloads import lag_of

VECTORS = json.loads(
    (Path(__file__).parents[4] / "agent_image/contract/commit-metadata-vectors.json").read_text()
)


def sealed(sections: bytes, committed: int = 7, version: int = 1) -> str:
    """Return metadata with a checksum that is right."""
    head = bytes([version])
    check = zlib.crc32(committed.to_bytes(8, "big") + head + sections)
    return base64.b64encode(head + check.to_bytes(4, "big") + sections).decode()


def deflated(content: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-15)
    return stream.compress(content) + stream.flush()


def section(tag: int, content: bytes) -> bytes:
    assert len(content) < 128
    return bytes([tag, len(content)]) + content


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["name"])
def test_each_case_of_the_contract(vector: dict[str, Any]) -> None:
    assert settled_above(vector["committed"], vector["metadata"]) == vector["settledCount"]


@pytest.mark.parametrize(
    ("sections", "settled"),
    [
        (section(1, bytes([0, 3, 2, 1, 5])), 7),
        (section(1, bytes([1]) + deflated(bytes([3, 2]))), 2),
        (section(1, bytes([0, 3, 2])) + section(9, b"later"), 2),
        (section(1, bytes([0, 3, 2])) + section(2, bytes([0, 1, 2, 9])), 2),
        (section(1, bytes([0, 3, 2])) + section(2, bytes([5, 1])), 2),  # above the map
        (section(1, bytes([0, 3, 2])) + section(2, bytes([3, 1])), 0),  # of a settled record
        (section(1, bytes([0, 3, 2])) + section(2, bytes([0, 0])), 0),  # no attempt
        (section(1, bytes([0, 3, 2])) + section(2, bytes([0, 1, 0, 1])), 0),  # one offset twice
        (section(1, bytes([0, 3, 2])) + section(2, bytes([0])), 0),  # half a pair
        (b"", 0),
        (section(1, bytes([0, 3])), 0),  # the last run is not settled
        (section(1, bytes([0, 3, 0])), 0),  # an empty run
        (section(1, bytes([7, 3, 2])), 0),  # an unknown form
        (section(1, b""), 0),
        (section(1, bytes([1]) + deflated(bytes([3, 2])) + b"more"), 0),
        (section(1, bytes([1]) + deflated(bytes([3, 2]))[:-1]), 0),
        (section(1, bytes([1]) + deflated(bytes([1]) * 70_000)[:120]), 0),  # larger than allowed
        (section(1, bytes([0]) + b"\xff" * 9 + b"\x01"), 0),  # a number of ten bytes
        (section(1, bytes([0, 3, 0x80])), 0),  # a number that is cut off
        (section(2, b"") + section(1, bytes([0, 3, 2])), 0),  # tags that fall
        (bytes([1, 9, 0]), 0),  # beyond the end
        (bytes([1]), 0),
    ],
    ids=str,
)
def test_whatever_breaks_a_rule_means_nothing_known(sections: bytes, settled: int) -> None:
    assert settled_above(7, sealed(sections)) == settled


def test_metadata_of_another_offset_version_or_program_is_not_believed() -> None:
    metadata = sealed(section(1, bytes([0, 3, 2])))

    assert settled_above(7, metadata) == 2
    assert settled_above(8, metadata) == 0
    assert settled_above(-1, metadata) == 0
    assert settled_above(7, sealed(section(1, bytes([0, 3, 2])), version=2)) == 0
    for other in ("", "AQ==", "checkpoint", "ä", metadata[:-1], metadata + "\n"):
        assert settled_above(7, other) == 0


@given(st.text(max_size=200) | st.binary(max_size=200).map(sealed))
def test_nothing_makes_it_fail(metadata: str) -> None:
    assert settled_above(7, metadata) >= 0


@pytest.mark.parametrize(
    ("committed", "settled", "lag"), [(10, 0, 10), (10, 4, 6), (10, 99, 0), (3, 4, 15), (None, 4, 15)]
)
def test_lag_leaves_out_what_is_settled_out_of_order(committed: int | None, settled: int, lag: int) -> None:
    """Unless retention has overtaken the commit: the log begins at 5 and ends at 20."""
    partition = PartitionState("tasks", 0, 5, 20, committed, settled)

    assert lag_of(GroupState("group", "Stable", (partition,)), LANE) == lag
