"""sparsify."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from .trainer import LONG, Codes, Contender, autocast, lengths


def contender(setting: dict[str, Any], width: int, kind: str) -> Contender:
    """Its coder, stepped as its trainer does with Adam; its AuxK, off by default, with ``dead`` or ``silence``."""
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # its own switch: Triton has nothing to run on here
    from sparsify import SparseCoder, SparseCoderConfig

    steps, warm, decay = lengths(setting)
    coder = SparseCoder(width, SparseCoderConfig(num_latents=setting["features"], k=setting["k"]))
    optimiser = torch.optim.Adam(coder.parameters(), lr=setting["rate"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: min(1.0, (i + 1) / warm, (steps - i) / decay))
    since = torch.zeros(setting["features"], dtype=torch.long)
    long = setting.get("silence") or 10_000_000
    weight, at = (1 / 32 if setting["dead"] or setting.get("silence") else 0.0), SimpleNamespace(first=True)
    parts = (at, SimpleNamespace(coder=coder, optimiser=optimiser, schedule=schedule, since=since))

    def step(batch: Tensor) -> None:
        if at.first:
            coder.b_dec.data.copy_(batch.mean(0))
            at.first = False
        coder.set_decoder_norm_to_unit_norm()
        with autocast(setting):
            out = coder(batch, dead_mask=since > long if weight else None)
        fired = torch.zeros_like(since, dtype=torch.bool)
        fired[out.latent_indices.flatten()] = True
        (out.fvu + weight * out.auxk_loss).backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        since.add_(len(batch))
        since[fired] = 0

    def run(batch: Tensor) -> Codes:
        out = coder(batch)
        return out.sae_out, out.latent_indices[out.latent_acts > 0]

    def code(batch: Tensor) -> Tensor:
        values, indices, _ = coder.encode(batch)
        return torch.zeros(len(batch), setting["features"]).scatter(1, indices, values)

    def silence(places: Tensor) -> None:
        since[places] = LONG

    return Contender(step, code, lambda: (run, ""), coder.encoder.bias, silence, parts=parts)
