"""The loss of chosen next tokens, without the logits of all the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from monoscope.models import LanguageModel
from monoscope.types import Site, TokenBlock

Write = Callable[[Tensor], Tensor]


class Readout:
    """Reads losses off a model with a head.

    The pass is cut where the head begins, and the head is applied to the chosen positions alone. Where the logits are
    more than the head's output (a soft cap, a scale), which a few tokens show, whole logits are read.
    """

    def __init__(self, lm: LanguageModel) -> None:
        self._lm = lm
        self._head = lm.model.get_output_embeddings()
        path = next(path for path, module in lm.model.named_modules() if module is self._head)
        self._read = f"{path}:in"
        if not self._is_plain():
            self._read = "logits"

    def _is_plain(self) -> bool:
        tokens = torch.arange(min(4, self._lm.context))[None]
        block = TokenBlock(tokens, torch.zeros_like(tokens), tokens)
        logits = self._lm.run(block, read=["logits"])["logits"]
        again = self._head(self._lm.run(block, read=[self._read])[self._read])
        tolerance = 1e-4 * float(logits.abs().max().clamp_min(1e-6))
        return again.shape == logits.shape and bool((again - logits).abs().max() <= tolerance)

    def losses(
        self,
        block: TokenBlock,
        rows: Int[Tensor, " n"],
        columns: Int[Tensor, " n"],
        targets: Int[Tensor, " n"],
        write: Mapping[Site | str, Write],
    ) -> Float[Tensor, " n"]:
        """The loss, in nats, of predicting each target from (row, column) of the block, on the CPU."""
        held = self._lm.run(block, read=[self._read], write=write)[self._read]
        held = held[rows.to(held.device), columns.to(held.device)]
        logits = held if self._read == "logits" else self._head(held)
        return cross_entropy(logits.float(), targets.to(logits.device), reduction="none").cpu()
