"""The running sequences as one batch: keys and values of their tokens, padded on the left, rows that come and go.

A sequence that joins has its prompt read in a pass beside the batch's, and its keys and values become a row. All
layers keep all columns, those with a sliding window too: their mask does the rest.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from monoscope.errors import MonoscopeError


@dataclass
class Batch:
    """Sequences that share passes. ``mask`` is 1 on their tokens, 0 on padding; every row's last column is a token."""

    cache: DynamicCache
    mask: Int[Tensor, "rows columns"]

    def __len__(self) -> int:
        return len(self.mask)

    def join(self, others: Batch) -> None:
        """Add rows below."""
        width = max(self.mask.shape[1], others.mask.shape[1])
        for mine, theirs in zip(self.cache.layers, others.cache.layers, strict=True):
            mine.keys = torch.cat([_widened(mine.keys, width), _widened(theirs.keys, width)])
            mine.values = torch.cat([_widened(mine.values, width), _widened(theirs.values, width)])
        masks = [pad(m, (width - m.shape[1], 0)) for m in (self.mask, others.mask)]
        self.mask = torch.cat(masks)

    def keep(self, rows: Sequence[int]) -> None:
        """Keep some rows, in the order given and as often as given, and no column that none of them needs."""
        chosen = torch.tensor(rows, dtype=torch.long, device=self.mask.device)
        mask = self.mask[chosen]
        first = int(mask.any(0).long().argmax()) if len(rows) else mask.shape[1]
        self.mask = mask[:, first:]
        for layer in self.cache.layers:
            layer.keys = layer.keys[chosen, :, first:]
            layer.values = layer.values[chosen, :, first:]


class Passes:
    """Forward passes of one model: prompts read, and batches gone on with by a token a row."""

    def __init__(self, model: Any, padding: int) -> None:
        """``padding`` is the token that stands where there is none.

        Raises:
            MonoscopeError: the model keeps something else than keys and values of every token.
        """
        kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
        if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
            raise MonoscopeError(
                f"{type(model).__name__} keeps a state that is not keys and values of its tokens, so its sequences "
                "cannot be batched",
                fix="serve a model with attention in all layers",
            )
        self.model, self.padding = model, padding
        known = inspect.signature(model.forward).parameters
        self._positions = "position_ids" in known
        self._last: dict[str, Any] = {"logits_to_keep": 1} if "logits_to_keep" in known else {}

    @property
    def device(self) -> torch.device:
        """Where tokens go in."""
        return next(self.model.parameters()).device

    def read(self, prompts: Sequence[Sequence[int]]) -> tuple[Batch, Float[Tensor, "n vocabulary"]]:
        """A batch of these prompts, and the logits of what comes next after each."""
        width = max(map(len, prompts))
        tokens = [[self.padding] * (width - len(p)) + list(p) for p in prompts]
        mask = [[0] * (width - len(p)) + [1] * len(p) for p in prompts]
        batch = Batch(DynamicCache(), torch.tensor(mask, device=self.device))
        logits = self._run(torch.tensor(tokens, device=self.device), batch)
        return batch, logits

    def step(self, batch: Batch, tokens: Sequence[int]) -> Float[Tensor, "n vocabulary"]:
        """Let each row read one more token; the logits of what comes next."""
        batch.mask = pad(batch.mask, (0, 1), value=1)
        return self._run(torch.tensor(tokens, device=self.device)[:, None], batch)

    def _run(self, tokens: Int[Tensor, "n t"], batch: Batch) -> Float[Tensor, "n vocabulary"]:
        inputs = dict(self._last)
        if self._positions:
            inputs["position_ids"] = (batch.mask.cumsum(1) - 1).clamp(min=0)[:, -tokens.shape[1] :]
        found = self.model(
            input_ids=tokens, attention_mask=batch.mask, past_key_values=batch.cache, use_cache=True, **inputs
        )
        logits: Tensor = found.logits[:, -1].float()
        return logits


def _widened(held: Float[Tensor, "n heads t d"], width: int) -> Float[Tensor, "n heads width d"]:
    return pad(held, (0, 0, width - held.shape[2], 0))
