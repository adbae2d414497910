"""What is remembered beside a committed offset, as the commit's metadata: `contract/commit-metadata.md`.

Pure. Whatever cannot be decoded is nothing known, never an error and never something settled.
"""

from __future__ import annotations

import base64
import binascii
import zlib
from bisect import bisect
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

MAP_BYTES = 2_304
ATTEMPTS_BYTES = 512
_VERSION = b"\x01"
_CHECKSUM = slice(1, 5)
_SECTIONS = 5  # where they begin
_MAP, _ATTEMPTS, _UNCLEAN = 1, 2, 3
_PLAIN, _DEFLATED = b"\x00", b"\x01"
_RAW_DEFLATE = -15
_INFLATED_BYTES = 65_536
_VARINT_BYTES = 9


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known above a committed offset.

    `settled`: ranges of offsets, rising, with gaps between them. `failed`: attempts that failed, by offset.
    `unclean`: owners in a row that have not left in good order, the present one included.
    """

    settled: Sequence[range] = ()
    failed: Mapping[int, int] = field(default_factory=dict)
    unclean: int = 0


class CommitMetadata(NamedTuple):
    """Metadata for a commit; `fullness` is the used share of the map's budget, above 1 if it was cut."""

    text: str
    fullness: float


class _Undecodable(Exception):
    """The metadata breaks a rule of its layout."""


def metadata_of(committed: int, progress: Progress) -> CommitMetadata:
    """Encode what is known above an offset, cut at its upper end to what fits; nothing is empty text."""
    runs, ends = _runs_of(committed, progress.settled)
    settled = _shorter(runs)
    fullness = len(settled) / MAP_BYTES
    if fullness > 1:
        settled = _cut(runs, ends)
    attempts = _attempts_of(committed, progress.failed)
    unclean = _varint(progress.unclean) if progress.unclean else b""
    sections = b"".join(
        bytes([tag]) + _varint(len(content)) + content
        for tag, content in ((_MAP, settled), (_ATTEMPTS, attempts), (_UNCLEAN, unclean))
        if content
    )
    if not sections:
        return CommitMetadata("", fullness)
    checksum = _checksum(committed, sections)
    return CommitMetadata(base64.b64encode(_VERSION + checksum + sections).decode(), fullness)


def progress_from(committed: int, text: str | None) -> Progress:
    """Decode what a commit of that offset says; what cannot be decoded is nothing known."""
    try:
        return _progress(committed, text or "")
    except _Undecodable:
        return Progress()


def _progress(committed: int, text: str) -> Progress:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise _Undecodable from None
    sections = raw[_SECTIONS:]
    if raw[:1] != _VERSION or committed < 0 or raw[_CHECKSUM] != _checksum(committed, sections):
        raise _Undecodable
    found = dict(_sections(sections))
    return Progress(
        tuple(_settled(committed, found[_MAP])) if _MAP in found else (),
        dict(_failed(committed, found[_ATTEMPTS])) if _ATTEMPTS in found else {},
        _count(found[_UNCLEAN]) if _UNCLEAN in found else 0,
    )


def _checksum(committed: int, sections: bytes) -> bytes:
    return zlib.crc32(committed.to_bytes(8, "big") + _VERSION + sections).to_bytes(4, "big")


def _sections(raw: bytes) -> Iterator[tuple[int, bytes]]:
    position, last = 0, -1
    while position < len(raw):
        tag = raw[position]
        length, start = _read_varint(raw, position + 1)
        position = start + length
        if tag <= last or position > len(raw):
            raise _Undecodable
        yield tag, raw[start:position]
        last = tag


def _cut(runs: bytes, ends: Sequence[int]) -> bytes:
    """Find as many of the lower ranges as fit into the budget."""
    certain = bisect(ends, MAP_BYTES - len(_PLAIN))
    fitting = bisect(ends, MAP_BYTES, lo=certain, key=lambda end: len(_shorter(runs[:end])))
    return _shorter(runs[: ends[fitting - 1]]) if fitting else b""


def _runs_of(committed: int, settled: Sequence[range]) -> tuple[bytes, list[int]]:
    """Encode ranges as run lengths; also where each range ends in them."""
    runs, ends = bytearray(), []
    end = committed
    for each in settled:
        runs += _varint(each.start - end) + _varint(each.stop - each.start)
        ends.append(len(runs))
        end = each.stop
    return bytes(runs), ends


def _shorter(runs: bytes) -> bytes:
    """Put run lengths into the shorter form; longer than the budget where there are too many for any."""
    if not runs:
        return b""
    plain = _PLAIN + runs
    if len(runs) > _INFLATED_BYTES:
        return plain  # beyond every budget
    # Run lengths hardly repeat as sequences: looking for matches would cost more bits than it saves.
    compressor = zlib.compressobj(wbits=_RAW_DEFLATE, strategy=zlib.Z_HUFFMAN_ONLY)
    deflated = _DEFLATED + compressor.compress(runs) + compressor.flush()
    return min(plain, deflated, key=len)


def _settled(committed: int, content: bytes) -> Iterator[range]:
    match content[:1]:
        case b"\x00":
            runs = content[1:]
        case b"\x01":
            runs = _inflated(content[1:])
        case _:
            raise _Undecodable
    offset = committed
    for unsettled, settled in _pairs(runs):
        if not unsettled or not settled:
            raise _Undecodable
        offset += unsettled + settled
        yield range(offset - settled, offset)


def _inflated(content: bytes) -> bytes:
    inflater = zlib.decompressobj(wbits=_RAW_DEFLATE)
    try:
        runs = inflater.decompress(content, _INFLATED_BYTES)
    except zlib.error:
        raise _Undecodable from None
    if not inflater.eof or inflater.unused_data:
        raise _Undecodable
    return runs


def _attempts_of(committed: int, failed: Mapping[int, int]) -> bytes:
    content, last = b"", committed
    for offset in sorted(failed):
        pair = _varint(offset - last) + _varint(failed[offset])
        if len(content) + len(pair) > ATTEMPTS_BYTES:
            break
        content += pair
        last = offset
    return content


def _failed(committed: int, content: bytes) -> Iterator[tuple[int, int]]:
    offset, is_first = committed, True
    for distance, attempts in _pairs(content):
        if not attempts or not (distance or is_first):
            raise _Undecodable
        offset, is_first = offset + distance, False
        yield offset, attempts


def _count(content: bytes) -> int:
    number, end = _read_varint(content, 0)
    if not number or end != len(content):
        raise _Undecodable
    return number


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits a byte
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(raw: bytes, start: int) -> tuple[int, int]:
    """Return a number and where the next thing begins."""
    number = 0
    for index, byte in enumerate(raw[start : start + _VARINT_BYTES]):
        number |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:  # noqa: PLR2004 - the last byte of a number
            return number, start + index + 1
    raise _Undecodable


def _pairs(raw: bytes) -> Iterator[tuple[int, int]]:
    position = 0
    while position < len(raw):
        first, position = _read_varint(raw, position)
        second, position = _read_varint(raw, position)
        yield first, second
