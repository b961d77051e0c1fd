"""How much resident memory a training adds: ``python -m monoscope.app.bench.resident ARCHITECTURE ROWS.npy SETTING``.

A process of its own imports everything, compiles all kernels in a small training, loads the rows, and gives back to
the system what it has no use for. Then the system's high-water mark is set to where it stands, the training runs, and
the mark is read again. Linux only: elsewhere the mark cannot be set back.
"""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numba
import numpy as np
import torch

from monoscope.app.bench.ours import STEADY, answer, recipe
from monoscope.app.bench.peers.contender.lines import say
from monoscope.dictionary.base import Dictionary
from monoscope.train import rows
from monoscope.train.fit import fit, known_options
from monoscope.train.loop import train
from monoscope.train.transfer import Pair

STATUS, CLEAR_REFS = Path("/proc/self/status"), Path("/proc/self/clear_refs")
RESET = "5"  # written to clear_refs: the high-water mark becomes what is resident now
SMALL = {"features": 512, "k": 8, "batch": 256, "steps": 4}


def resident(field: str) -> int:
    """Bytes of ``VmRSS`` (now) or ``VmHWM`` (at most)."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) * 1024


def growth(call: Callable[[], Any]) -> tuple[int, Any]:
    """By how many bytes resident memory exceeds, at its highest during ``call``, what it is now; and what that returns.

    Raises:
        OSError: the system keeps no mark that can be set back.
    """
    gc.collect()
    give_back()
    CLEAR_REFS.write_text(RESET)
    before = resident("VmRSS")
    made = call()
    return max(0, resident("VmHWM") - before), made


def give_back() -> None:
    """Return what the allocator holds without use, so that a training cannot hide in it."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # glibc
        trim(0)


def loop(name: str, x: np.ndarray, setting: dict[str, Any]) -> tuple[int, Dictionary]:
    """Of the training loop alone, whose batches are pieces of what is in memory already."""
    chosen = recipe(name, setting, **known_options(name, {"dead_after": STEADY}))
    held = torch.from_numpy(x)
    size, n_tokens = setting["batch"], setting["steps"] * setting["batch"]

    def pieces(start: int) -> Iterator[Pair]:
        for step in range(setting["steps"]):
            first = step * size % (len(held) - size + 1)
            batch = held[first : first + size]
            yield batch, batch

    data = rows.from_arrays(held, None, size, n_tokens, 0, hold_back=chosen.calibrates)
    data = replace(data, batches=pieces, own=False)
    return growth(lambda: train(data, {"main": chosen.trainee(data)})["main"])


def whole(name: str, x: np.ndarray, setting: dict[str, Any]) -> tuple[int, Dictionary]:
    """Of ``ms.fit`` on an array."""
    options = known_options(name, {"l0": setting["k"], "dead_after": STEADY})
    n_tokens = setting["steps"] * setting["batch"]
    return growth(
        lambda: fit(
            x, setting["features"], name, setting["k"], n_tokens, setting["batch"], show_progress=False, **options
        )
    )


PARTS = {"loop": loop, "fit": whole}


def compile_kernels(name: str) -> None:
    """Train a small dictionary, with dead features, so that everything that is made once is made."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2048, 32, generator=generator).numpy()
    small = {**SMALL, **known_options(name, {"dead_after": 1, "l0": SMALL["k"]})}
    fit(
        x, small.pop("features"), name, small.pop("k"), small.pop("steps") * small["batch"], small.pop("batch"),
        show_progress=False, **small,
    )  # fmt: skip


def bound(made: Dictionary, batch: int) -> float:
    """1.5 × (parameters and Adam's two moments) + 4 batches of inputs, in bytes of fp32."""
    parameters = sum(p.numel() for p in made.parameters())
    return 4.0 * (1.5 * 3 * parameters + 4 * batch * made.d_in)


def main(name: str, path: str, setting: dict[str, Any]) -> None:
    """SETTING: ``part`` (``loop`` or ``fit``), ``features``, ``k``, ``batch``, ``steps``, ``seed``, ``threads``."""
    if setting["threads"]:
        torch.set_num_threads(setting["threads"])
        numba.set_num_threads(setting["threads"])
    compile_kernels(name)
    x = np.load(path)
    grown, made = PARTS[setting["part"]](name, x, setting)
    say(result={"growth": grown, "bound": bound(made, setting["batch"])})


if __name__ == "__main__":
    answer(main)
