"""Codes on disk as they come, row after row: what the index is sorted from, and what co-firing is counted in."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import Float, Integer

from monoscope import folder
from monoscope.errors import MonoscopeError
from monoscope.types import Code

KIND = "catalogue spool"
FILES = ("features.u32", "values.f32", "ends.i64")


def flat(path: Path, dtype: type) -> np.ndarray:
    """A read-only memory map of a flat array; an empty file is an empty array."""
    if path.stat().st_size:
        return np.asarray(np.memmap(path, dtype=dtype, mode="r"))
    empty: np.ndarray = np.zeros(0, dtype)
    empty.flags.writeable = False  # the same type as a read-only map, so that kernels compile once
    return empty


class SpoolWriter:
    """Appends codes to a folder; ``seal`` declares it complete. Holds one block in memory."""

    def __init__(self, path: Path, n_features: int) -> None:
        self.path, self.n_features = path, n_features
        self.n_rows = self.n_entries = 0
        try:
            path.mkdir(parents=True, exist_ok=True)
            (path / folder.MANIFEST).unlink(missing_ok=True)
            self._files: list[BinaryIO] = [(path / name).open("wb") for name in FILES]
        except OSError as error:
            raise folder.unwritable(path / FILES[0], error) from error

    def __enter__(self) -> SpoolWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files:
            file.close()

    def add(self, code: Code) -> None:
        """Append the code of the next rows.

        Raises:
            MonoscopeError: the code is of another dictionary, or the disk is full.
        """
        if code.n_features != self.n_features:
            raise MonoscopeError(f"a code of {code.n_features} features in a catalogue of {self.n_features}")
        ends = code.offsets[1:].cpu().numpy().astype(np.int64) + self.n_entries
        arrays = (
            code.indices.detach().cpu().numpy().astype(np.uint32),
            code.values.detach().float().cpu().numpy(),
            ends,
        )
        try:
            for file, array in zip(self._files, arrays, strict=True):
                file.write(np.ascontiguousarray(array).data)
        except OSError as error:
            raise folder.unwritable(self.path / FILES[0], error) from error
        self.n_rows += len(code)
        self.n_entries += len(arrays[0])

    def seal(self, facts: dict[str, Any]) -> None:
        """Close the files and declare the spool complete."""
        self.__exit__(None, None, None)
        folder.seal(
            self.path,
            KIND,
            {**facts, "n_features": self.n_features, "n_rows": self.n_rows, "n_entries": self.n_entries},
            sorted(p.name for p in self.path.iterdir() if p.name != folder.MANIFEST),
        )


class Spool:
    """A complete spool: row ``i`` holds entries ``ends[i - 1]:ends[i]`` of ``features`` and ``values``."""

    def __init__(self, path: Path) -> None:
        """Open a complete spool.

        Raises:
            MonoscopeError: it is missing, incomplete or damaged.
        """
        self.path = path
        self.manifest = folder.unseal(path, KIND)
        self.n_features: int = self.manifest["n_features"]
        self.n_rows: int = self.manifest["n_rows"]
        self.features: Integer[np.ndarray, " n_entries"] = flat(path / FILES[0], np.uint32)
        self.values: Float[np.ndarray, " n_entries"] = flat(path / FILES[1], np.float32)
        self.ends: Integer[np.ndarray, " n_rows"] = flat(path / FILES[2], np.int64)
