"""What penalty methods share: reconstruction from a response to scores, and a penalty of controlled weight."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops.responses import Outcome, Response, respond
from monoscope.ops.room import room
from monoscope.train import dense
from monoscope.train.calibrate import shift_biases
from monoscope.train.control import BIASES, Control, Pace
from monoscope.train.descent import Descent
from monoscope.train.options import COUNT, NOT_NEGATIVE, POSITIVE, PRECISION, SHARE, SOME, Allowed

SAMPLE = 4096  # rows that set the first biases and scale
SMALLEST = 0.05  # first scale: a transcoder's encoder begins unlike its decoder, and may fit nothing
CHUNK, ROWS = 128, 256  # features whose scores on the sample are held at once, and rows that are decoded at once


class Penalised(Descent):
    """``mse + weight · penalty``.

    As the papers do, a penalty is weighed against the *summed* squared error of a row whose mean squared norm is its
    width. Both are then divided by the width, so ``mse`` is per number and ``penalty`` is as published at every width.

    Options beyond ``Descent``'s: ``l0``, the mean number of active features to reach (then ``penalty`` is only where
    the search begins, and what the search leaves is made up for at the end, on rows that were not trained on);
    ``l0_start``, ``l0_until``: the first batch has so many times that, and from the share ``l0_until`` of the tokens on
    no more than that is wanted; ``penalty``, the weight; ``penalty_warmup``, the share of the training in which it
    grows from 0; ``first_active``, how many features of a row, at most half of all, are active before the first step;
    ``auxk`` (off by default), ``dead_after``, ``auxk_features`` and ``precision`` as in ``SparseReconstruction``, the
    last that of all products where many features are active. ``encoder_scale`` is by default what fits best.
    """

    calibrates: ClassVar[bool] = True
    pace: ClassVar[Pace] = BIASES  # of the way to a wanted L0
    crowded: float | None = None  # see ``respond``
    defaults: ClassVar[dict[str, Any]] = {
        **Descent.defaults,
        "auxk": 0.0,
        "dead_after": 0,
        "auxk_features": None,
        "precision": None,
        "l0": None,
        "l0_start": 3.0,
        "l0_until": 0.2,
        "penalty": 5.0,
        "penalty_warmup": 0.05,
        "first_active": None,
    }
    allowed: ClassVar[dict[str, Allowed]] = {
        **Descent.allowed,
        "auxk": NOT_NEGATIVE,
        "dead_after": COUNT,
        "auxk_features": SOME,
        "precision": PRECISION,
        "l0": POSITIVE,
        "l0_start": POSITIVE,
        "l0_until": SHARE,
        "penalty": NOT_NEGATIVE,
        "penalty_warmup": SHARE,
        "first_active": POSITIVE,
    }

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        wanted, until = self.options["l0"], self.options["l0_until"]
        self.control = Control(self.options["penalty"], wanted, self.options["penalty_warmup"], until, self.pace)

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """As every objective; where ``first_active`` or a wanted L0 says how many features are active to begin with,
        biases at which all are so equally often.

        Then the encoder's scale at which the first reconstruction fits best, unless another was told: a worse one sends
        all features the same way in the first steps.
        """
        super().initialise(dictionary, x, y)
        first, wanted = self.options["first_active"], self.options["l0"]
        if first is None and wanted is not None:
            first = self.options["l0_start"] * wanted
        if first is not None:
            share = min(0.5, first / dictionary.n_features)
            dictionary.b_enc.data.copy_(-upper_quantile(dictionary, x, share))
        self.prepare(dictionary)
        if self.options["encoder_scale"] is None:
            match_scale(dictionary, x, y)

    def prepare(self, dictionary: Dictionary) -> None:
        """Set what the architecture has beyond weights and biases, when these are set."""

    def response(self, dictionary: Dictionary) -> Response:
        """What a score becomes: by default how strongly its feature is active, and nothing else."""
        return Response(relu)

    @abstractmethod
    def penalties(
        self, dictionary: Dictionary, outcome: Outcome, x: Float[Tensor, "n d_in"], weight: float
    ) -> dict[str, Float[Tensor, ""]]:
        """The further terms of the loss, weighed, summed over a row's features (or outputs) and over rows."""

    def felt(self, sums: Float[Tensor, " n_features"], outcome: Outcome) -> Float[Tensor, ""]:
        """The sum of activations as a penalty feels them: times the lengths of directions, where these are free."""
        return sums.sum() if self.unit_rows else sums @ outcome.lengths

    def activity(self, outcome: Outcome) -> Float[Tensor, " n_features"]:
        """How strongly each feature is active, summed over rows: what a penalty makes smaller, so that fewer are."""
        return outcome.sums[0]

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``mse``, the method's penalty, ``dense`` and ``auxk`` where they have a weight."""
        weights = (dictionary.w_enc, dictionary.b_enc, dictionary.w_dec, dictionary.b_dec)
        response, dense_weight = self.response(dictionary), self.options["dense_penalty"]
        response = dense.counting(response) if dense_weight else response
        outcome = respond(x, y, weights, response, self.precision(), self.crowded)
        self.silence.hear(len(x), outcome.sums[0].detach() > 0)
        self.left_over(outcome.left)
        self.l0 = float(outcome.active) / len(x)
        terms = {"mse": outcome.errors[0] / y.numel()}
        if dense_weight:
            too_dense = dense.of_outcome(outcome, self.activity(outcome), len(x), self.options["dense_above"])
            terms["dense"] = dense_weight * too_dense / y.numel()
            outcome = outcome._replace(totals=outcome.totals[:-1])
        weight = self.control.weigh(self.l0, progress)
        for name, term in self.penalties(dictionary, outcome, x, weight).items():
            terms[name] = term / y.numel()
        if self.options["auxk"]:
            terms["auxk"] = self.options["auxk"] * self.unexplained(dictionary, x, outcome.left)
        return terms

    def fold(self, dictionary: Dictionary) -> None:
        """Give directions that may have any length unit length."""
        if not self.unit_rows:
            fold_norms(dictionary)

    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """Unit decoder rows, so that codes of all features are in the same units; with a wanted L0, one shift of all
        encoder biases, so that held-out rows have it.
        """
        self.fold(dictionary)
        if self.options["l0"] is not None:
            shift_biases(dictionary, x, self.options["l0"], dictionary.b_enc)


def relu(scores: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Positive scores, and nothing else."""
    return (scores.relu(),), ()


def upper_quantile(dictionary: Dictionary, x: Float[Tensor, "n d_in"], share: float) -> Float[Tensor, " n_features"]:
    """For every feature, what its score (without bias) exceeds on that share of the rows."""
    x = x[:SAMPLE]
    rank = max(1, round((1 - share) * len(x)))
    found, made, space = x.new_empty(dictionary.n_features), room(len(x) * CHUNK), room(CHUNK, len(x))
    for first in range(0, len(found), CHUNK):
        rows = dictionary.w_enc.detach()[first : first + CHUNK]
        scores = space[: len(rows)]
        scores.copy_(torch.mm(x, rows.T, out=made[: len(x) * len(rows)].view(len(x), -1)).T)
        scores.numpy().partition(rank - 1, axis=1)  # in place, where torch would hold the scores five times
        found[first : first + CHUNK] = scores[:, rank - 1]
    return found


def match_scale(dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
    """Multiply all codes by the number at which the reconstruction of the sample fits best."""
    common = square = 0.0
    for rows, targets in zip(x[:SAMPLE].split(ROWS), y[:SAMPLE].split(ROWS), strict=True):
        found = dictionary(rows)
        common, square = common + float((found * targets).sum()), square + float(found.square().sum())
    scale = max(common / max(square, 1e-12), SMALLEST)
    dictionary.w_enc.data.mul_(scale)
    dictionary.scale(scale)


def fold_norms(dictionary: Dictionary) -> None:
    """Give decoder rows unit norm and let the encoder take their length: what is decoded stays as it was."""
    with torch.no_grad():
        norms = dictionary.w_dec.norm(dim=1).clamp_min(1e-12)
        dictionary.w_dec.div_(norms[:, None])
        dictionary.w_enc.mul_(norms[:, None])
        dictionary.b_enc.mul_(norms)
