"""A tiny language model and reconstructors with known answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from monoscope.text.tokenise import Tokeniser
from monoscope.types import Code, TokenBlock

CONTEXT = 16


class TinyModel:
    """Embedding, running mean over the window (``mlp_in.0``), ReLU neurons (``mlp_act.0``), logits: float64, random."""

    name, has_head, device = "tiny", True, torch.device("cpu")
    context = window = CONTEXT

    def __init__(self, tokeniser: Tokeniser, width: int = 12, seed: int = 0) -> None:
        g = torch.Generator().manual_seed(seed)
        vocabulary = tokeniser.vocabulary_size
        self.tokeniser = tokeniser
        self.embedding = torch.randn(vocabulary, 8, generator=g, dtype=torch.float64)
        self.up = torch.randn(8, width, generator=g, dtype=torch.float64)
        self.out = torch.randn(width, vocabulary, generator=g, dtype=torch.float64)

    def run(
        self, block: TokenBlock, *, read: Sequence[str], write: Mapping[str, Callable[[Tensor], Tensor]] | None = None
    ) -> dict[str, Tensor]:
        h = self.embedding[block.tokens]
        mixed = h + h.cumsum(1) / torch.arange(1, h.shape[1] + 1)[:, None]
        act = self.neurons(mixed)
        if write and "mlp_act.0" in write:
            act = write["mlp_act.0"](act)
        found = {"mlp_in.0": mixed, "mlp_act.0": act}
        if "logits" in read:
            found["logits"] = (act.cumsum(1) / torch.arange(1, h.shape[1] + 1)[:, None]) @ self.out
        return {k: found[k] for k in map(str, read)}

    def neurons(self, mixed: Tensor) -> Tensor:
        """What the neurons make of ``mlp_in.0``."""
        return torch.relu(mixed @ self.up)


@dataclass(frozen=True)
class Function:
    """A reconstructor that applies a function, with the sparse code of its input for a code."""

    function: Callable[[Tensor], Tensor]
    n_features: int = 12

    def encode(self, x: Tensor) -> Code:
        return Code.from_dense(x)

    def decode(self, code: Code, x: Tensor) -> Tensor:
        return self.function(code.to_dense())
