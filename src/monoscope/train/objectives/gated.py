"""Gated autoencoders (Rajamanoharan et al. 2024).

``‖y − ŷ‖² + penalty · Σ relu(π) + ‖y − ŷ'‖²``, where π are the gate's scores and ŷ' decodes ``relu(π)`` with a frozen
decoder: the penalty acts on the gate alone, which the last term keeps informed; magnitudes are left unshrunk.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.gated import Architecture
from monoscope.train.entries import Entries
from monoscope.train.penalised import Penalised


class Objective(Penalised):
    """``mse + gate_l1 + gate_mse``; see ``Penalised`` for its options."""

    def prepare(self, dictionary: Dictionary) -> None:
        """The magnitude begins as the gate's score."""
        assert isinstance(dictionary, Architecture)
        dictionary.b_mag.data.copy_(dictionary.b_enc.data)

    def amounts(self, dictionary: Dictionary, entries: Entries) -> Float[Tensor, " n_entries"]:
        """``relu(u · exp(r_mag) + b_mag)`` with ``u`` the score without the gate's bias."""
        assert isinstance(dictionary, Architecture)
        u = entries.scores - entries.spread(dictionary.b_enc)
        return torch.relu(u * entries.spread(dictionary.r_mag.exp()) + entries.spread(dictionary.b_mag))

    def penalties(
        self,
        dictionary: Dictionary,
        entries: Entries,
        amounts: Float[Tensor, " n_entries"],
        x: Float[Tensor, "n d_in"],
        y: Float[Tensor, "n d_out"],
        weight: float,
    ) -> dict[str, Float[Tensor, ""]]:
        """``Σ relu(π)`` and the squared error of decoding it; entries are where π is positive."""
        left = y - entries.decode(entries.scores, dictionary.w_dec.detach()) - dictionary.b_dec.detach()
        return {"gate_l1": weight * entries.scores.sum(), "gate_mse": left.square().sum()}

    @torch.no_grad()
    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """With a wanted L0, one shift of all gates, and of the magnitudes that would stay 0 behind an open one."""
        assert isinstance(dictionary, Architecture)
        if self.options["l0"] is not None:
            ratio = dictionary.r_mag.exp()
            # a gate that is open where the magnitude is 0 can as well be closed: now the gates alone decide
            dictionary.b_enc.copy_(torch.minimum(dictionary.b_enc, dictionary.b_mag / ratio))
            super().finish(dictionary, x)
            dictionary.b_mag.copy_(torch.maximum(dictionary.b_mag, ratio * dictionary.b_enc))
