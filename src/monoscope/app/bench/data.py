"""The rows that contenders train on: a file, a model's site, or made up where neither is of the right width."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from monoscope import progress
from monoscope.errors import MonoscopeError
from monoscope.harvest.stream import Stream
from monoscope.models import load_model
from monoscope.text import store
from monoscope.text.corpus import open_corpus

ACTIVE = 24  # directions in a made-up row


def harvest(model: str, site: str, text: str, out: Path, tokens: int | None = None, seed: int = 0) -> tuple[int, int]:
    """Write the rows of a model's site to a ``.npy`` file, as fp32 in random order; returns its shape.

    Args:
        tokens: how many rows; None: as many as the text has.

    Raises:
        MonoscopeError: an unknown model, site or text, a text that is too short, or a file that cannot be written, or
            is larger than what the disk has left.
    """
    lm = load_model(model)
    width = lm.width(site)
    with tempfile.TemporaryDirectory() as folder:
        held = store.build((("all", d) for d in open_corpus(text)), lm.tokeniser, Path(folder) / "text")
        source = Stream(lm, held, held.documents("all"), [site], n_rows=tokens, seed=seed, dtype=torch.float32)
        n = tokens or sum(source.counts)
        place = np.random.default_rng(seed).permutation(sum(source.counts))
        out.parent.mkdir(parents=True, exist_ok=True)
        size, free = n * width * 4 / 1e9, shutil.disk_usage(out.parent).free / 1e9
        if size > free:
            raise MonoscopeError(
                f"{n:,} rows of {width} numbers take {size:,.1f} GB, and {free:,.1f} are left at {out.parent}",
                fix="name fewer with --tokens",
            )
        partial = out.with_name(out.name + ".partial")
        rows = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=(n, width))
        at = 0
        with progress.bar(f"harvesting {site}, {size:,.1f} GB", n, unit="rows") as report:
            for index, count in enumerate(source.counts):
                places = place[at : at + count]
                kept = places < n
                rows[places[kept]] = source.chunk(index).values[site].numpy()[kept]
                at += count
                report(int(kept.sum()))
        rows.flush()
        partial.replace(out)
    return n, width


@contextmanager
def given(
    rows: Path | None, model: str | None, site: str | None, text: str | None, tokens: int
) -> Iterator[Path | None]:
    """The file of rows that was named, or one of the model's site for the time being, or none.

    Raises:
        MonoscopeError: both a file and a model, or a model without its site and text.
    """
    if model is None:
        if site or text:
            raise MonoscopeError("a site and a text belong to a model", fix="pass --model too")
        if rows is not None:
            opened(rows)
        yield rows
        return
    if rows is not None or site is None or text is None:
        raise MonoscopeError(
            "rows come from a file, or from a model's site and a text",
            fix="pass --rows alone, or --model, --site and --text",
        )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{Path(model).name}.{site}.npy"
        harvest(model, site, text, path, tokens)
        yield path


def opened(path: Path) -> np.ndarray:
    """A file of rows, mapped into memory.

    Raises:
        MonoscopeError: it cannot be read, or holds something else.
    """
    try:
        rows = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise MonoscopeError(f"{path} cannot be read: {error}", fix="name a .npy file of rows") from error
    if rows.ndim != 2 or rows.dtype.kind != "f":
        raise MonoscopeError(
            f"{path} has shape {rows.shape} and type {rows.dtype}", fix="name a .npy file of (rows, width) floats"
        )
    return rows


def enough(rows: np.ndarray, batch: int) -> int:
    """How many rows there are.

    Raises:
        MonoscopeError: they fill no batch.
    """
    if len(rows) < batch:
        raise MonoscopeError(
            f"{len(rows):,} rows do not fill a batch of {batch:,}", fix="give more rows, or a smaller --batch"
        )
    return len(rows)


def make_up(width: int, n: int, out: Path) -> None:
    """Write ``n`` sparse combinations of random directions, four to a dimension, with a little noise."""
    generator = torch.Generator().manual_seed(0)
    directions = torch.randn(4 * width, width, generator=generator) / width**0.5
    rows = np.lib.format.open_memmap(out, mode="w+", dtype=np.float32, shape=(n, width))
    for first in range(0, n, 4096):
        size = min(4096, n - first)
        places = (torch.rand(size, ACTIVE, generator=generator).square() * len(directions)).long()
        amounts = -torch.rand(size, ACTIVE, generator=generator).clamp_min(1e-6).log()
        made = torch.nn.functional.embedding_bag(places, directions, per_sample_weights=amounts, mode="sum")
        rows[first : first + size] = made + 0.02 * torch.randn(size, width, generator=generator)
    rows.flush()
