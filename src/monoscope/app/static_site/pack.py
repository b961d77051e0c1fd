"""Packs: many small JSON records in few files, each fetched alone by its byte range.

A record is compact JSON, deflated (RFC 1950, which browsers and every zlib read). Records stand one after the other in
shards ``0000.bin``, ``0001.bin``, …; ``index.bin`` is the deflated list of all records' lengths in bytes, as uint32 in
little-endian order, 0 for a record that is not there. Shards are small enough to be fetched whole where a host ignores
ranges.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

SHARD = 1 << 19  # bytes, after which a new shard begins


def encode(value: Any) -> bytes:
    """A value as deflated JSON; a NaN is a defect, never written."""
    return zlib.compress(json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode(), 6)


class PackWriter:
    """Writes records in order into a folder; only the shard at hand is held.

    ``firsts`` lists the first record of every shard, ``digest`` hashes all bytes.
    """

    def __init__(self, folder: Path, shard: int = SHARD) -> None:
        """``folder`` is made; ``shard`` is the size in bytes after which a new shard begins."""
        folder.mkdir(parents=True)
        self.folder, self._shard = folder, shard
        self.firsts: list[int] = [0]
        self.digest = hashlib.sha256()
        self._lengths: list[int] = []
        self._buffer = bytearray()

    def add(self, value: Any) -> None:
        """Append a record; None leaves its place empty."""
        data = b"" if value is None else encode(value)
        if len(self._buffer) + len(data) > self._shard and self._buffer:
            self._flush()
            self.firsts.append(len(self._lengths))
        self._buffer += data
        self._lengths.append(len(data))

    def close(self) -> dict[str, Any]:
        """Write what is left and the index; returns what a reader has to know beforehand, ready for JSON."""
        self._flush()
        index = zlib.compress(np.array(self._lengths, "<u4").tobytes(), 9)
        self._write("index.bin", index)
        return {"records": len(self._lengths), "firsts": self.firsts}

    def _flush(self) -> None:
        self._write(f"{len(self.firsts) - 1:04d}.bin", bytes(self._buffer))
        self._buffer.clear()

    def _write(self, name: str, data: bytes) -> None:
        (self.folder / name).write_bytes(data)
        self.digest.update(data)
