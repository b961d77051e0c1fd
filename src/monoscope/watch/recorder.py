"""Writing down what was seen of every token as it happens, in bounded memory, so that rules can be tried on it later.

A recording is a folder: ``recording.json`` says what is recorded, ``blocks.bin`` grows by a block at a time. Each block
is written by one call once it is full or old enough. A program that is killed loses the block that was open; what was
written before can be read.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from monoscope import folder
from monoscope.errors import MonoscopeError
from monoscope.types import Code
from monoscope.watch import blocks
from monoscope.watch.blocks import Block, Codes
from monoscope.watch.precision import rounded

HEAD, BLOCKS = "recording.json", "blocks.bin"
KIND, VERSION = "recording", 1


class Recorder:
    """Holds the open block, and writes it when it is full."""

    def __init__(
        self,
        path: str | Path,
        *,
        codes: Sequence[str | Path] | None = None,
        tokens: int = 1024,
        entries: int = 1 << 18,
        seconds: float = 5.0,
    ) -> None:
        """Nothing is written before the recording begins.

        Args:
            path: a new folder.
            codes: the dictionaries whose codes are recorded in full; None is those of the rules. Signals of others
                are recorded each by its own value.
            tokens: a block has at most so many,
            entries: it is full when it holds so many values,
            seconds: and it is written with the next token once it is so old.

        Raises:
            MonoscopeError: the folder holds something.
        """
        self.path, self.codes = Path(path), None if codes is None else [str(c) for c in codes]
        self._limits = (max(1, tokens), entries, seconds)
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise MonoscopeError(f"{self.path} is there already", fix="name a new folder for the recording")
        self._file: int | None = None
        self._shape = 0, 0  # signals and codes
        self.n_tokens = self.n_bytes = 0
        self._since: float | None = None
        self._clear()

    def begin(self, facts: Mapping[str, Any]) -> None:
        """Say what is recorded.

        Raises:
            MonoscopeError: the folder cannot be written.
        """
        self._shape = len(facts["signals"]), len(facts["codes"])
        head = {"kind": KIND, "version": VERSION, "begun": datetime.now(UTC).isoformat(timespec="seconds"), **facts}
        folder.write_json(self.path / HEAD, head)
        try:
            self._file = os.open(self.path / BLOCKS, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            raise folder.unwritable(self.path / BLOCKS, error) from error

    def add(
        self,
        sequences: Int[np.ndarray, " n"],
        places: Int[np.ndarray, " n"],
        tokens: Int[np.ndarray, " n"],
        values: Float[np.ndarray, "n n_signals"],
        codes: Sequence[Code],
    ) -> None:
        """Take tokens in the order in which they were read, and what was seen on them."""
        parts = [_sorted(code) for code in codes]
        done = 0
        while done < len(tokens):
            stop = min(len(tokens), done + self._limits[0] - self._held)
            rows = slice(done, stop)
            cut = [_rows(part, done, stop) for part in parts]
            self._pieces.append((sequences[rows], places[rows], tokens[rows], rounded(values[rows]), cut))
            self._held += stop - done
            self._entries += sum(len(part.features) for part in cut) + values[rows].size
            done = stop
            self._flush_if_due()

    def named(self, sequence: int, name: str) -> None:
        """A sequence that is about to be recorded has a name."""
        self._notes.setdefault("named", {})[str(sequence)] = name

    def ended(self, sequence: int) -> None:
        """Nothing more comes of a sequence."""
        self._notes.setdefault("ended", []).append(sequence)

    def _flush_if_due(self) -> None:
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        if self._held >= self._limits[0] or self._entries >= self._limits[1] or now - self._since >= self._limits[2]:
            self.flush()

    def flush(self) -> None:
        """Write the open block now.

        Raises:
            MonoscopeError: the disk is full, or the recording has not begun or is over.
        """
        if not self._pieces and not self._notes:
            return
        if self._file is None:
            raise MonoscopeError(f"nothing is being recorded in {self.path}", fix="use a new recorder for each watch")
        n_signals, n_codes = self._shape
        nothing = np.zeros(0, np.int64)
        whole = [np.concatenate([nothing, *(piece[i] for piece in self._pieces)]) for i in range(3)]
        values = np.concatenate([np.zeros((0, n_signals), np.float16), *(piece[3] for piece in self._pieces)])
        codes = tuple(blocks.joined([piece[4][i] for piece in self._pieces]) for i in range(n_codes))
        data = blocks.packed(Block(whole[0], whole[1], whole[2], values, codes, self._notes))
        try:
            done = 0
            while done < len(data):
                done += os.write(self._file, data[done:])
        except OSError as error:
            raise folder.unwritable(self.path / BLOCKS, error) from error
        self.n_tokens += self._held
        self.n_bytes += len(data)
        self._clear()

    def close(self) -> None:
        """Write what is open, and that the recording is whole."""
        if self._file is None:
            return
        self._notes["complete"] = True
        self.flush()
        os.fsync(self._file)
        os.close(self._file)
        self._file = None

    def _clear(self) -> None:
        self._pieces: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[Codes]]] = []
        self._notes: dict[str, Any] = {}
        self._held = self._entries = 0
        self._since = None


def _sorted(code: Code) -> Codes:
    """A code as it is recorded: features rise, values are rounded, and what rounds to 0 is left out."""
    offsets, features = code.offsets.cpu().numpy(), code.indices.cpu().numpy().astype(np.int64)
    values = rounded(code.values.float().cpu().numpy())
    rows = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    kept = np.flatnonzero(values)
    order = kept[np.argsort(rows[kept] * code.n_features + features[kept], kind="stable")]
    counts = np.bincount(rows[order], minlength=len(offsets) - 1)
    return Codes(np.concatenate([[0], np.cumsum(counts)]), features[order], values[order])


def _rows(codes: Codes, start: int, stop: int) -> Codes:
    first, last = int(codes.offsets[start]), int(codes.offsets[stop])
    return Codes(codes.offsets[start : stop + 1] - first, codes.features[first:last], codes.values[first:last])
