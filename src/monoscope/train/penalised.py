"""What penalty methods share: reconstruction from the scores above a floor, and a penalty of controlled weight."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.train.calibrate import shift_biases
from monoscope.train.control import Control
from monoscope.train.entries import Entries
from monoscope.train.objective import RATE, SparseReconstruction
from monoscope.types import Code

FIRST = 3.0  # the first batch's L0 in units of the wanted one
SAMPLE = 4096  # rows that set the first biases and scale
SMALLEST = 0.05  # first scale: a transcoder's encoder begins unlike its decoder, and may fit nothing
CHUNK = 1024  # features whose scores on the sample are held at once


class Penalised(SparseReconstruction):
    """``mse + weight · penalty``.

    As the papers do, a penalty is weighed against the *summed* squared error of a row whose mean squared norm is its
    width. Both are then divided by the width, so ``mse`` is per number and ``penalty`` is as published at every width.

    Options: ``l0``, the mean number of active features to reach (then ``penalty`` is only where the search begins, and
    what the search leaves is made up for at the end, on rows that were not trained on);
    ``penalty``, the weight; ``penalty_warmup``, the share of the training in which it grows from 0;
    ``auxk`` (off by default), ``dead_after``, ``precision`` and those of the descent as in ``SparseReconstruction``.
    """

    calibrates: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        "auxk": 0.0,
        "dead_after": 0,
        "precision": None,
        "l0": None,
        "penalty": 5.0,
        "penalty_warmup": 0.05,
        "encoder_scale": 1.0,
        "decoder_rate": 1.0,
        "bias_rate": 1.0,
        "beta1": 0.9,
        "beta2": 0.999,
    }

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        self.control = Control(self.options["penalty"], self.options["l0"], self.options["penalty_warmup"])

    @classmethod
    def usual_rate(cls, steps: int, n_features: int) -> float:
        """The one that the controller of the penalty's weight was made with."""
        return RATE

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """As every objective; with a wanted L0, biases at which all features are active equally often to begin with.

        Then the encoder's scale at which the first reconstruction fits best: a worse one sends all features the same
        way in the first steps.
        """
        super().initialise(dictionary, x, y)
        if self.options["l0"] is not None:
            share = min(0.5, FIRST * self.options["l0"] / dictionary.n_features)
            dictionary.b_enc.data.copy_(-upper_quantile(dictionary, x, share))
        self.prepare(dictionary)
        match_scale(dictionary, x, y)

    def prepare(self, dictionary: Dictionary) -> None:
        """Set what the architecture has beyond weights and biases, when these are set."""

    def entries(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Entries:
        """The scores that have a gradient: by default the positive ones."""
        return Entries(x, dictionary.w_enc, dictionary.b_enc, self.precision())

    def select(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> Code:
        """The entries' places and scores."""
        return self.entries(dictionary, x).code

    def amounts(self, dictionary: Dictionary, entries: Entries) -> Float[Tensor, " n_entries"]:
        """How strongly each entry's feature is active, 0 where it is not; by default its score."""
        return entries.scores

    @abstractmethod
    def penalties(
        self,
        dictionary: Dictionary,
        entries: Entries,
        amounts: Float[Tensor, " n_entries"],
        x: Float[Tensor, "n d_in"],
        y: Float[Tensor, "n d_out"],
        weight: float,
    ) -> dict[str, Float[Tensor, ""]]:
        """The further terms of the loss, weighed, summed over a row's features (or outputs) and over rows."""

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``mse``, the method's penalty, and what else it adds."""
        entries = self.entries(dictionary, x)
        amounts = self.amounts(dictionary, entries)
        code = entries.where(amounts > 0)
        self.silence.hear(len(x), torch.bincount(code.indices, minlength=code.n_features) > 0)
        self.l0 = len(code.indices) / len(x)
        left = y - entries.decode(amounts, dictionary.w_dec) - dictionary.b_dec
        terms = {"mse": left.square().mean()}
        weight = self.control.weigh(self.l0, progress)
        for name, term in self.penalties(dictionary, entries, amounts, x, y, weight).items():
            terms[name] = term / y.numel()
        if self.options["auxk"]:
            terms["auxk"] = self.options["auxk"] * self.unexplained(dictionary, x, left)
        return terms

    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """With a wanted L0, one shift of all encoder biases, so that held-out rows have it."""
        if self.options["l0"] is not None:
            shift_biases(dictionary, x, self.options["l0"], dictionary.b_enc)


def upper_quantile(dictionary: Dictionary, x: Float[Tensor, "n d_in"], share: float) -> Float[Tensor, " n_features"]:
    """For every feature, what its score (without bias) exceeds on that share of the rows."""
    x = x[:SAMPLE]
    rank = max(1, round((1 - share) * len(x)))
    with torch.no_grad():
        parts = [(x @ rows.T).kthvalue(rank, dim=0).values for rows in dictionary.w_enc.split(CHUNK)]
    return torch.cat(parts)


def match_scale(dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
    """Multiply all codes by the number at which the reconstruction of the sample fits best."""
    found = dictionary(x[:SAMPLE])
    best = float((found * y[:SAMPLE]).sum() / found.square().sum().clamp_min(1e-12))
    scale = max(best, SMALLEST)
    dictionary.w_enc.data.mul_(scale)
    dictionary.scale(scale)


def fold_norms(dictionary: Dictionary) -> None:
    """Give decoder rows unit norm and let the encoder take their length: what is decoded stays as it was."""
    with torch.no_grad():
        norms = dictionary.w_dec.norm(dim=1).clamp_min(1e-12)
        dictionary.w_dec.div_(norms[:, None])
        dictionary.w_enc.mul_(norms[:, None])
        dictionary.b_enc.mul_(norms)
