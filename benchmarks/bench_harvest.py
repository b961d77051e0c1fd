"""Harvesting: what it costs beyond the bare cut forward pass, and how fast shards are read.

    python benchmarks/bench_harvest.py [MODEL SITE]

Prints CPU seconds of one thread, the minimum of several turns, so that a busy machine shifts nothing; both sides of a
ratio are measured in the same run, turn by turn.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from monoscope.harvest import shards
from monoscope.harvest.stream import Stream
from monoscope.models import LanguageModel, load_model
from monoscope.source import batches
from monoscope.text import pack, store
from monoscope.text.corpora import held_out
from monoscope.types import TokenBlock


class Cut(Exception):
    """Ends a forward pass."""


def bare(lm: LanguageModel, path: str, block: TokenBlock) -> None:
    """The model's forward pass, cut after one module, and nothing else."""

    def stop(*_: object) -> None:
        raise Cut

    handle = lm.model.get_submodule(path).register_forward_hook(stop)
    try:
        with torch.inference_mode():
            base = lm.model.base_model
            base(block.tokens, attention_mask=block.attention_mask)
    except Cut:
        pass
    finally:
        handle.remove()


def least(calls: dict[str, Callable[[], object]], turns: int = 7) -> dict[str, float]:
    """The least CPU seconds of each call, taken in turns."""
    took = dict.fromkeys(calls, float("inf"))
    for turn in range(turns):
        for name, call in calls.items():
            began = time.process_time()
            call()
            if turn:
                took[name] = min(took[name], time.process_time() - began)
    return took


def main(model: str = "reference-a", site: str = "mlp_act.0", module: str = "transformer.h.0.mlp.act") -> None:
    """Measure one model and site; ``module`` is where the bare pass is cut."""
    torch.set_num_threads(1)
    lm = load_model(model)
    with tempfile.TemporaryDirectory() as folder:
        documents = (d for _, d in zip(range(60), held_out.documents("python"), strict=False))
        text = store.build((("dictionary", d) for d in documents), lm.tokeniser, Path(folder) / "text")
        stream = Stream(lm, text, text.documents(), [site], n_rows=60_000, rows_per_chunk=30_000)
        blocks = []
        for windows in stream.windows:
            size = max(1, 16_384 // lm.context)
            parts = (windows[i : i + size] for i in range(0, len(windows), size))
            blocks += [pack.block(text, part, lm.tokeniser, lm.context) for part in parts]
        took = least(
            {
                "bare": lambda: [bare(lm, module, b) for b in blocks],
                "harvest": lambda: [stream.chunk(i) for i in range(len(stream.counts))],
            }
        )
        rows = sum(stream.counts)
        speeds = ", ".join(f"{name} {rows / seconds:,.0f} tokens/s" for name, seconds in took.items())
        print(f"{model} {site}: {speeds}")
        print(f"  overhead {100 * (took['harvest'] / took['bare'] - 1):.1f} % (shuffled chunks in bf16 included)")
        written = shards.write(stream, Path(folder) / "shards")
        read = least({"read": lambda: sum(float(b.values[site][0, 0]) for b in copied(written, site))})
        print(f"  reading shards: {rows / read['read']:,.0f} rows/s of {lm.width(site)} bf16 on one core")


def copied(source: shards.Shards, site: str):  # type: ignore[no-untyped-def]
    """Every batch, its values converted to fp32, so that every byte is really read."""
    for batch in batches(source, 4096):
        batch.values[site].float()
        yield batch


if __name__ == "__main__":
    main(*sys.argv[1:])
