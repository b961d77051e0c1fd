"""Near-duplicate documents by MinHash (Broder 1997) over lines, with locality-sensitive banding.

A split by document leaks when copies of a file fall on both sides: libraries are full of copied files. Documents are
compared as sets of their longer lines; a signature of ``N_HASHES`` minima estimates the Jaccard similarity of two
sets, and documents that agree in a whole band are compared. Line hashes are CRC-32, so signatures are the same on
every machine.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Int, UInt

N_HASHES, BAND = 63, 3  # 21 bands of 3: documents of Jaccard similarity 0.5 meet with probability 0.95
SIMILAR = 0.3
MIN_LINE = 12  # shorter lines ("else:", "return x") say nothing about where a file came from

_random = np.random.default_rng(20_231_004)
_MULTIPLY = _random.integers(1, 2**63, N_HASHES, dtype=np.uint64) | np.uint64(1)
_ADD = _random.integers(0, 2**63, N_HASHES, dtype=np.uint64)


def line_hashes(text: str) -> UInt[np.ndarray, " n"]:
    """CRC-32 of the distinct stripped lines of at least ``MIN_LINE`` bytes; of word 5-grams where lines are few."""
    lines = [line.strip() for line in text.encode().split(b"\n")]
    hashes = {zlib.crc32(line) for line in lines if len(line) >= MIN_LINE}
    if len(hashes) < 8:
        words = text.encode().split()
        hashes = {zlib.crc32(b" ".join(words[i : i + 5])) for i in range(max(1, len(words) - 4))}
    return np.fromiter(hashes, dtype=np.uint32, count=len(hashes))


def signature(text: str) -> UInt[np.ndarray, " n_hashes"]:
    """The MinHash signature of a document: ``N_HASHES`` unsigned 32-bit minima."""
    hashes = line_hashes(text).astype(np.uint64)
    minima = np.full(N_HASHES, np.iinfo(np.uint32).max, dtype=np.uint32)
    for start in range(0, len(hashes), 1024):
        mixed = (hashes[start : start + 1024, None] * _MULTIPLY + _ADD) >> np.uint64(32)
        np.minimum(minima, mixed.min(0).astype(np.uint32), out=minima)
    return minima


def _bands(signatures: UInt[np.ndarray, "n n_hashes"]) -> Iterator[list[bytes]]:
    for start in range(0, N_HASHES, BAND):
        band = np.ascontiguousarray(signatures[:, start : start + BAND])
        yield [row.tobytes() for row in band]


def clusters(signatures: UInt[np.ndarray, "n n_hashes"]) -> Int[np.ndarray, " n"]:
    """For each document, the smallest index of a document in its cluster of near-duplicates."""
    parent = list(range(len(signatures)))

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = parent[i]
        return i

    for keys in _bands(signatures):
        bucket: dict[bytes, list[int]] = {}
        for i, key in enumerate(keys):
            bucket.setdefault(key, []).append(i)
        for members in bucket.values():
            first = members[0]
            alike = (signatures[members] == signatures[first]).mean(1) >= SIMILAR
            for i, same in zip(members[1:], alike[1:].tolist(), strict=True):
                a, b = root(first), root(i)
                if same and a != b:
                    parent[max(a, b)] = min(a, b)
    return np.array([root(i) for i in range(len(parent))], dtype=np.int64)


class Sketch:
    """The documents that a model was trained on, in under 100 bytes each: it knows a near-duplicate when it sees one.

    ``names`` are CRC-32 hashes of document names, ``signatures`` the lowest byte of each MinHash.
    """

    def __init__(self, names: UInt[np.ndarray, " n"], signatures: UInt[np.ndarray, "n n_hashes"]) -> None:
        self.names, self.signatures = names.astype(np.uint32), signatures.astype(np.uint8)
        self._known = set(self.names.tolist())
        self._buckets: list[dict[bytes, list[int]]] = []
        for keys in _bands(self.signatures):
            bucket: dict[bytes, list[int]] = {}
            for i, key in enumerate(keys):
                bucket.setdefault(key, []).append(i)
            self._buckets.append(bucket)

    @classmethod
    def of(cls, names: Sequence[str], signatures: UInt[np.ndarray, "n n_hashes"]) -> Sketch:
        """The sketch of documents with these names and full signatures."""
        return cls(np.array([zlib.crc32(n.encode()) for n in names], dtype=np.uint32), signatures & 0xFF)

    def knows_name(self, name: str) -> bool:
        """Whether a document of this name was among them; saves reading the file."""
        return zlib.crc32(name.encode()) in self._known

    def knows_text(self, text: str) -> bool:
        """Whether the text is a near-duplicate of one of them."""
        mine = (signature(text) & 0xFF).astype(np.uint8)
        candidates: set[int] = set()
        for bucket, keys in zip(self._buckets, _bands(mine[None]), strict=True):
            candidates.update(bucket.get(keys[0], ()))
        if not candidates:
            return False
        return bool((self.signatures[sorted(candidates)] == mine).mean(1).max() >= SIMILAR)


def shared_lines(held_out: Sequence[str], seen: Sequence[str]) -> float:
    """The leak between two sets of documents: the fraction of distinct longer lines of one that the other holds."""
    known = np.unique(np.concatenate([line_hashes(t) for t in seen])) if seen else np.zeros(0, np.uint32)
    lines = np.unique(np.concatenate([line_hashes(t) for t in held_out])) if held_out else np.zeros(0, np.uint32)
    hit: Bool[np.ndarray, " n"] = np.isin(lines, known)
    return float(hit.mean()) if len(lines) else 0.0
