"""Gated autoencoders (Rajamanoharan et al. 2024).

``‖y − ŷ‖² + penalty · Σ relu(π) + ‖y − ŷ'‖²``, where π are the gate's scores and ŷ' decodes ``relu(π)`` with a frozen
decoder: the penalty acts on the gate alone, which the last term keeps informed; magnitudes are left unshrunk.

Where an L0 is wanted it begins as TopK, see ``train.begun``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.gated import Architecture
from monoscope.ops.responses import Outcome, Response
from monoscope.train.begun import BegunAsTopK
from monoscope.train.moments import Moments


class Objective(BegunAsTopK):
    """``mse + gate_l1 + gate_mse``; see ``BegunAsTopK`` for its options."""

    def take_over(self, dictionary: Dictionary, score: float) -> None:
        """Gates open above that score; magnitudes are the scores that were."""
        assert isinstance(dictionary, Architecture)
        dictionary.b_mag.data.copy_(dictionary.b_enc.data)
        dictionary.b_enc.data.sub_(score)

    def prepare(self, dictionary: Dictionary) -> None:
        """The magnitude begins as the gate's score."""
        assert isinstance(dictionary, Architecture)
        dictionary.b_mag.data.copy_(dictionary.b_enc.data)

    def response(self, dictionary: Dictionary) -> Response:
        """``[π > 0] · relu(u · exp(r_mag) + b_mag)``, with ``u`` the score without the gate's bias; and ``relu(π)``."""
        assert isinstance(dictionary, Architecture)
        ratio = dictionary.r_mag.exp()
        numbers = (ratio, dictionary.b_mag - ratio * dictionary.b_enc)
        return Response(gate, numbers, lengths=not self.unit_rows)

    def penalties(
        self, dictionary: Dictionary, outcome: Outcome, x: Float[Tensor, "n d_in"], weight: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``Σ relu(π)``, times the length of the direction where that is free, and the squared error of decoding it."""
        return {"gate_l1": weight * self.felt(outcome.sums[1], outcome), "gate_mse": outcome.errors[1]}

    def activity(self, outcome: Outcome) -> Float[Tensor, " n_features"]:
        """The gates' scores, which decide what is active."""
        return outcome.sums[1]

    def fold(self, dictionary: Dictionary) -> None:
        """Magnitudes' biases are in the same units as the gates'."""
        assert isinstance(dictionary, Architecture)
        if not self.unit_rows:
            dictionary.b_mag.data.mul_(dictionary.w_dec.data.norm(dim=1))
        super().fold(dictionary)

    def reborn(self, dictionary: Dictionary, moments: Moments, places: Tensor) -> None:
        """A magnitude that is the gate's score."""
        assert isinstance(dictionary, Architecture)
        for name in ("b_mag", "r_mag"):
            getattr(dictionary, name).data[places] = 0
            moments.forget(name, places)

    @torch.no_grad()
    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """With a wanted L0, one shift of all gates, and of the magnitudes that would stay 0 behind an open one."""
        assert isinstance(dictionary, Architecture)
        self.hand_over(dictionary, x)
        self.fold(dictionary)
        if self.options["l0"] is not None:
            ratio = dictionary.r_mag.exp()
            # a gate that is open where the magnitude is 0 can as well be closed: now the gates alone decide
            dictionary.b_enc.copy_(torch.minimum(dictionary.b_enc, dictionary.b_mag / ratio))
            super().finish(dictionary, x)
            dictionary.b_mag.copy_(torch.maximum(dictionary.b_mag, ratio * dictionary.b_enc))


def gate(score: Tensor, ratio: Tensor, bias: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """``[score > 0] · relu(score · ratio + bias)``, and ``relu(score)``."""
    opened = score.relu()
    with torch.no_grad():
        is_open = opened.sign()
    return ((score * ratio + bias).relu() * is_open, opened), ()
