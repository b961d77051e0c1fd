"""One block of a recording as bytes: columns of some tokens, each on its own, so that like stands beside like.

Whole numbers are stored as differences, and numbers of several bytes by their first bytes, their second bytes, and so
on, which lets a fast general compressor find what there is to find: feature numbers within a token rise, so their
differences are small. What frames a block says how long it is and carries a check sum.
"""

from __future__ import annotations

import json
import mmap
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float16, Int64

from monoscope.errors import MonoscopeError

FRAME = struct.Struct("<4sII")  # magic, length of what follows, its CRC-32
MAGIC = b"MsB1"
LEVEL = 1  # of zlib; higher ones save a tenth for five times the time
INTEGERS, VALUES = "<i4", "<f2"


@dataclass(frozen=True)
class Codes:
    """The codes of some tokens at one site: row ``i`` is ``features[offsets[i]:offsets[i + 1]]``, rising."""

    offsets: Int64[np.ndarray, " n_plus_1"]
    features: Int64[np.ndarray, " n_active"]
    values: Float16[np.ndarray, " n_active"]

    def column(self, feature: int) -> Float16[np.ndarray, " n"]:
        """How strongly a feature is active on each token, 0 where it is not."""
        found = np.zeros(len(self.offsets) - 1, np.float16)
        at = np.flatnonzero(self.features == feature)
        found[np.searchsorted(self.offsets, at, side="right") - 1] = self.values[at]
        return found


@dataclass(frozen=True)
class Block:
    """Tokens in the order in which they were read.

    Args:
        sequences: which sequence each belongs to.
        places: its place there.
        tokens: its number in the vocabulary.
        values: of the signals that no codes hold.
        codes: one for each site that is recorded in full.
        notes: what else happened: names of sequences that began here (``named``), those that are over (``ended``).
    """

    sequences: Int64[np.ndarray, " n"]
    places: Int64[np.ndarray, " n"]
    tokens: Int64[np.ndarray, " n"]
    values: Float16[np.ndarray, "n n_signals"]
    codes: tuple[Codes, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.tokens)


def packed(block: Block) -> bytes:
    """A block as bytes, framed."""
    columns = [_integers(np.diff(c, prepend=0)) for c in (block.sequences, block.places)]
    columns += [_integers(block.tokens), _planes(block.values.reshape(-1).astype(VALUES))]
    for codes in block.codes:
        steps = np.diff(codes.features, prepend=0)
        first = codes.offsets[:-1][np.diff(codes.offsets) > 0]
        steps[first] = codes.features[first]
        columns += [_integers(np.diff(codes.offsets)), _integers(steps), _planes(codes.values.astype(VALUES))]
    head = {"tokens": len(block), "signals": block.values.shape[1], "bytes": [len(c) for c in columns], **block.notes}
    told = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    body = b"".join([struct.pack("<I", len(told)), told, *columns])
    return FRAME.pack(MAGIC, len(body), zlib.crc32(body)) + body


def unpacked(body: bytes) -> Block:
    """A block from what its frame holds."""
    (length,) = struct.unpack_from("<I", body)
    head = json.loads(body[4 : 4 + length])
    n, at, columns = head.pop("tokens"), 4 + length, []
    for size in head.pop("bytes"):
        columns.append(zlib.decompress(body[at : at + size]))
        at += size
    sequences, places = (np.cumsum(_from_planes(c, INTEGERS).astype(np.int64)) for c in columns[:2])
    tokens = _from_planes(columns[2], INTEGERS).astype(np.int64)
    values = _from_planes(columns[3], VALUES).astype(np.float16).reshape(n, head.pop("signals"))
    codes = tuple(_codes(columns[i : i + 3]) for i in range(4, len(columns), 3))
    return Block(sequences, places, tokens, values, codes, head)


def framed(data: bytes | mmap.mmap, at: int) -> tuple[bytes, int] | None:
    """What the frame at a place holds, and where it ends; None where the last block was not written to its end.

    Raises:
        MonoscopeError: there is no whole block although more data follow.
    """
    if at + FRAME.size > len(data):
        return None
    magic, length, check = FRAME.unpack_from(data, at)
    end = at + FRAME.size + length
    body = data[at + FRAME.size : end]
    if magic == MAGIC and end <= len(data) and zlib.crc32(body) == check:
        return body, end
    if magic == MAGIC and end >= len(data):
        return None
    raise MonoscopeError(
        f"the recording is damaged at byte {at}", fix="restore blocks.bin; what is before that byte can be read"
    )


def joined(parts: Sequence[Codes]) -> Codes:
    """Codes of tokens one after the other."""
    lengths = np.concatenate([np.diff(part.offsets) for part in parts]) if parts else np.zeros(0, np.int64)
    return Codes(
        np.concatenate([[0], np.cumsum(lengths)]),
        np.concatenate([part.features for part in parts]) if parts else np.zeros(0, np.int64),
        np.concatenate([part.values for part in parts]) if parts else np.zeros(0, np.float16),
    )


def _codes(columns: Sequence[bytes]) -> Codes:
    counts, steps = (_from_planes(c, INTEGERS).astype(np.int64) for c in columns[:2])
    offsets = np.concatenate([[0], np.cumsum(counts)])
    sums = np.cumsum(steps)
    before = np.concatenate([[0], sums])[offsets[:-1]]  # what the rows before add up to
    return Codes(offsets, sums - np.repeat(before, counts), _from_planes(columns[2], VALUES).astype(np.float16))


def _integers(numbers: Int64[np.ndarray, " n"]) -> bytes:
    return _planes(numbers.astype(INTEGERS))


def _planes(numbers: np.ndarray) -> bytes:
    """Compressed: all first bytes, then all second bytes, …"""
    width = numbers.dtype.itemsize
    return zlib.compress(np.ascontiguousarray(numbers).view(np.uint8).reshape(-1, width).T.tobytes(), LEVEL)


def _from_planes(data: bytes, dtype: str) -> np.ndarray:
    width = np.dtype(dtype).itemsize
    return np.ascontiguousarray(np.frombuffer(data, np.uint8).reshape(width, -1).T).view(dtype).reshape(-1)
