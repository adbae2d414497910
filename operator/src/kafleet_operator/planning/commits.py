"""What agents note beside a committed offset, as far as lag needs it: how many records above it are settled.

The layout is the agent's: `agent_image/contract/commit-metadata.md`. Whatever cannot be decoded means that
nothing is known, so that lag is rather too high than too low.
"""

from __future__ import annotations

import base64
import zlib
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

VERSION: Final = 1
OFFSET_MAP, ATTEMPTS = 1, 2
PLAIN, DEFLATED = 0, 1
MAX_INFLATED: Final = 65_536
MAX_VARINT_BYTES: Final = 9
HEAD_BYTES: Final = 5


class _Undecodable(Exception):
    pass


def settled_above(committed: int, metadata: str) -> int:
    """Return how many records above a committed offset its metadata says are settled; 0 if it does not."""
    if not metadata:
        return 0
    try:
        content = base64.b64decode(metadata, validate=True)
        sections = dict(_sections(_checked(committed, content)))
        runs = _runs(sections[OFFSET_MAP]) if OFFSET_MAP in sections else []
        _check_attempts(_varints(sections.get(ATTEMPTS, b"")), runs)
    except (_Undecodable, ValueError, zlib.error):
        return 0
    return sum(runs[1::2])


def _checked(committed: int, content: bytes) -> bytes:
    """Return the sections of a content that is whole and belongs to that offset."""
    if len(content) < HEAD_BYTES or content[0] != VERSION or committed < 0:
        raise _Undecodable
    covered = committed.to_bytes(8, "big") + content[:1] + content[HEAD_BYTES:]
    if zlib.crc32(covered) != int.from_bytes(content[1:HEAD_BYTES], "big"):
        raise _Undecodable
    return content[HEAD_BYTES:]


def _sections(content: bytes) -> Iterator[tuple[int, bytes]]:
    at, last = 0, 0
    while at < len(content):
        tag = content[at]
        length, begin = _varint(content, at + 1)
        at = begin + length
        if tag <= last or at > len(content):
            raise _Undecodable
        yield tag, content[begin:at]
        last = tag


def _runs(section: bytes) -> list[int]:
    """Return the lengths of runs of offsets, not settled and settled by turns, from the committed one up."""
    if section[:1] == bytes([PLAIN]):
        content = section[1:]
    elif section[:1] == bytes([DEFLATED]):
        content = _inflated(section[1:])
    else:
        raise _Undecodable
    runs = _varints(content)
    if len(runs) % 2 or not all(runs):
        raise _Undecodable
    return runs


def _check_attempts(pairs: list[int], runs: list[int]) -> None:
    """Refuse failed attempts that cannot be: they count, too, for whether the whole is believed."""
    distances, counts = pairs[::2], pairs[1::2]
    if len(distances) != len(counts) or not all((*distances[1:], *counts)):
        raise _Undecodable
    borders = list(accumulate(runs))
    for offset in accumulate(distances):
        if bisect_right(borders, offset) % 2:  # within a run of settled ones
            raise _Undecodable


def _inflated(content: bytes) -> bytes:
    stream = zlib.decompressobj(wbits=-zlib.MAX_WBITS)
    inflated = stream.decompress(content, MAX_INFLATED)
    if not stream.eof or stream.unused_data:
        raise _Undecodable
    return inflated


def _varints(content: bytes) -> list[int]:
    values, at = [], 0
    while at < len(content):
        value, at = _varint(content, at)
        values.append(value)
    return values


def _varint(content: bytes, at: int) -> tuple[int, int]:
    """Return an unsigned LEB128 number and where what follows it begins."""
    value = 0
    for shift in range(MAX_VARINT_BYTES):
        if at + shift >= len(content):
            raise _Undecodable
        byte = content[at + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if byte < 0x80:  # noqa: PLR2004  the bit that says that more follows
            return value, at + shift + 1
    raise _Undecodable
