"""Activation shards on disk: flat, memory-mapped, shuffled as written, with the document and position of every row.

A folder holds ``plan.json`` (what is being harvested, written first), for every chunk one file per site, and
``manifest.json``, written last. Values are bf16, or int8 with one fp32 scale per row (half the space, 1 % coarser).

=========================  ==============================================
file                       what
=========================  ==============================================
``00007.SITE.bf16``        rows × width of bf16
``00007.SITE.int8``        rows × width of int8; ``….scale`` beside it, fp32
``00007.rows.i32``         rows × 2: document, position
``00007.json``             number of rows; its presence makes the chunk complete
=========================  ==============================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from monoscope import folder
from monoscope.errors import MonoscopeError
from monoscope.harvest.stream import Stream
from monoscope.types import Activations

KIND = "activations"
STORED = ("bf16", "int8")


def plan_of(stream: Stream, stored: str) -> dict[str, Any]:
    """What a harvest will write; a folder with another plan is not gone on with."""
    return {
        "model": stream.lm.name,
        "fingerprint": stream.lm.fingerprint,
        "widths": stream.widths,
        "counts": stream.counts,
        "seed": stream.seed,
        "stored": stored,
        "text": folder.content_hash(stream.store.path / folder.MANIFEST),
    }


def write(
    stream: Stream, out: str | Path, *, stored: str = "bf16", progress: Callable[[int], None] = lambda rows: None
) -> Shards:
    """Write all chunks of ``stream``; chunks that are there already are kept, so an interrupted harvest goes on.

    Args:
        stored: ``"bf16"`` or ``"int8"``.
        progress: told the rows of each chunk as it is finished (or found finished).

    Raises:
        MonoscopeError: the folder holds another harvest, or cannot be written.
    """
    out = Path(out)
    check_stored(stored)
    plan = plan_of(stream, stored)
    if (out / "plan.json").exists():
        if folder.read_json(out / "plan.json") != plan:
            raise MonoscopeError(
                f"{out} holds a harvest of something else", fix="choose another folder, or remove this one"
            )
    else:
        folder.write_json(out / "plan.json", plan)
    files = ["plan.json"]
    for index, count in enumerate(stream.counts):
        sizes = sizes_of(index, count, stream.widths, stored)
        if not _is_whole(out, index, sizes):
            _write_chunk(out, index, stream.chunk(index), stored)
        files += sorted(sizes)
        progress(count)
    if not folder.is_sealed(out):
        folder.seal(out, KIND, {"counts": stream.counts}, files)
    return Shards(out)


def check_stored(stored: str) -> None:
    """Refuse a way to store activations that there is not.

    Raises:
        MonoscopeError: naming those that there are.
    """
    if stored not in STORED:
        raise MonoscopeError(
            f"activations are stored as {' or '.join(STORED)}, not {stored!r}", fix=f"choose {' or '.join(STORED)}"
        )


def sizes_of(index: int, rows: int, widths: Mapping[str, int], stored: str) -> dict[str, int]:
    """The files of a chunk of so many rows, and how many bytes each has."""
    sizes = {f"{index:05d}.rows.i32": 8 * rows}
    for site, width in widths.items():
        name = f"{index:05d}.{site.replace(':', '@')}"
        if stored == "bf16":
            sizes[f"{name}.bf16"] = 2 * rows * width
        else:
            sizes |= {f"{name}.int8": rows * width, f"{name}.scale": 4 * rows}
    return sizes


def _is_whole(out: Path, index: int, sizes: Mapping[str, int]) -> bool:
    """Whether a chunk was finished, and is as long as it should be; one that is not is made again."""
    return (out / f"{index:05d}.json").exists() and all(
        (out / name).is_file() and (out / name).stat().st_size == size for name, size in sizes.items()
    )


def _write_chunk(out: Path, index: int, rows: Activations, stored: str) -> None:
    files: dict[str, Tensor] = {f"{index:05d}.rows.i32": torch.stack([rows.documents, rows.positions], 1)}
    for site, values in rows.values.items():
        name = f"{index:05d}.{site.replace(':', '@')}"
        if stored == "bf16":
            files[f"{name}.bf16"] = values.to(torch.bfloat16).view(torch.int16)
        else:
            scale = values.float().abs().amax(1, keepdim=True) / 127
            files[f"{name}.int8"] = (values.float() / scale.clamp_min(1e-30)).round().to(torch.int8)
            files[f"{name}.scale"] = scale
    for name, tensor in files.items():
        try:
            tensor.numpy().tofile(out / name)
            folder.sync(out / name)
        except OSError as error:
            (out / name).unlink(missing_ok=True)
            raise folder.unwritable(out / name, error) from error
    folder.write_json(out / f"{index:05d}.json", {"rows": len(rows), "files": sorted(files)})


class Shards:
    """A ``RowSource`` that reads what ``write`` wrote, memory-mapped."""

    def __init__(self, path: str | Path) -> None:
        """Open a complete folder of shards.

        Raises:
            MonoscopeError: missing, incomplete or damaged.
        """
        self.path = Path(path)
        folder.unseal(self.path, KIND)
        self.plan: dict[str, Any] = folder.read_json(self.path / "plan.json")
        self.counts: list[int] = self.plan["counts"]
        self.widths: dict[str, int] = self.plan["widths"]

    def chunk(self, index: int) -> Activations:
        """One chunk's rows. bf16 values are views of the file; int8 ones are scaled back to bf16."""
        rows = torch.from_numpy(self._map(f"{index:05d}.rows.i32", np.int32, (self.counts[index], 2)))
        values = {}
        for site, width in self.widths.items():
            name, shape = f"{index:05d}.{site.replace(':', '@')}", (self.counts[index], width)
            if self.plan["stored"] == "bf16":
                values[site] = torch.from_numpy(self._map(f"{name}.bf16", np.int16, shape)).view(torch.bfloat16)
            else:
                scale = torch.from_numpy(self._map(f"{name}.scale", np.float32, (shape[0], 1)))
                values[site] = (torch.from_numpy(self._map(f"{name}.int8", np.int8, shape)) * scale).to(torch.bfloat16)
        return Activations(values, rows[:, 0], rows[:, 1])

    def _map(self, name: str, dtype: type, shape: tuple[int, int]) -> np.ndarray:
        # copy-on-write, because torch wants arrays that it may write to
        return np.memmap(self.path / name, dtype=dtype, mode="c", shape=shape)
