"""Reconstruction by non-negative pursuit, begun from a TopK dictionary that is learned first.

At the fitted amounts the error is least, so by the envelope theorem its gradient towards the directions is that with
the amounts held fixed. The ``floor`` of the pursuit follows the L0 from batch to batch, and is set on rows that were
not trained on at the end. What a transcoder reads by has the gradient of the fit itself, see ``ops.fitted``.

**The start.** A pursuit by random directions explains every row quickly, with mixtures, and has nothing left to learn
from. So for the share ``start`` of the tokens the directions are learned by TopK, with an encoder that is thrown away,
and with a learning rate that falls at its end. Those that a transcoder reads by learn to reconstruct the rows then, and
what it writes learns beside them.

**Overlap.** Where a feature never fires without another, many directions reconstruct equally well: with p and c, also p
and p + c. ``overlap`` weighs the mean over rows of ``Σ relu(cos)²`` over pairs of active features: among equals,
directions that fire together are to be as different as they can be. (OrtSAE, arXiv 2509.22033, penalises cosines among
all features; here only those that meet.)
"""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary._pursuing import Pursuing
from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.nonnegative_pursuit import Architecture
from monoscope.ops import fitted, product, reconstruct
from monoscope.ops.adam import adam
from monoscope.ops.coactive import overlap
from monoscope.ops.differences import less
from monoscope.ops.topk import topk_of_tiles
from monoscope.ops.transpose import ByFeature, transpose
from monoscope.train import gradients, objective, schedules
from monoscope.train.moments import Moments
from monoscope.train.objectives.matching_pursuit import begin, unexplained, written
from monoscope.train.options import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, Allowed, Range
from monoscope.train.schedules import falling
from monoscope.types import Code

WIDE, ABOVE, NARROWED = 4.5, 1.5, 0.7  # the start's k, in units of k: at first, at last, and when that is reached
DECAY, LEAST = 0.3, 0.02  # share of the start in which its rate falls, and to what
START, UNTIED_START = 0.5, 0.1  # share of the tokens that is the start's
SCALE = 0.5  # of the start's first encoder, in units of the decoder
BETAS, DECODER_RATE = (0.8, 0.99), 2.0
RATE = 0.7  # of what schedules has (docs/log/2026-11-30-pursuits.md)
GAIN = 0.05  # of the floor's logarithm, by that of L0 over what is wanted, a batch
SAMPLE, HELD_OUT = 2048, 8192  # rows that a floor is searched with: for the training, and at its end
STEPS = 12  # of a search for a floor, within a factor of NEAR of the last one, or from SMALLEST of the longest row on
NEAR, SMALLEST = 4.0, 1e-3


class Fit(NamedTuple):
    """A batch's error per number, its code, what that leaves of the rows, and what is missing of the target."""

    error: Float[Tensor, ""]
    code: Code
    by: ByFeature
    left: Float[Tensor, "n d_in"]
    missing: Float[Tensor, "n d_out"]


class Objective(objective.Objective):
    """Terms ``mse``, ``overlap`` and ``auxk``, or ``mse`` alone during the start.

    Options: ``start``, the share of the tokens that TopK takes, by default half of them, a tenth of a transcoder's;
    ``overlap`` and ``auxk``, weights; ``dead_after``, tokens of silence; ``k_start``, ``k_until``: the wanted L0 begins
    at so many times k, which it has from the share ``k_until`` of the tokens after the start on; and those of
    ``Gradients``.
    """

    calibrates: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        "start": None,
        "overlap": 1.0,
        "auxk": 1 / 32,
        "dead_after": 0,
        "k_start": 0.7,
        "k_until": 0.7,
        **gradients.DEFAULTS,
    }
    allowed: ClassVar[dict[str, Allowed]] = {
        "start": Range(0, 1, below=True),
        "overlap": NOT_NEGATIVE,
        "auxk": NOT_NEGATIVE,
        "dead_after": COUNT,
        "k_start": POSITIVE,
        "k_until": SHARE,
        **gradients.ALLOWED,
    }
    encoder: Tensor
    first: Tensor
    second: Tensor
    steps: Tensor

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        assert isinstance(dictionary, Pursuing)
        if self.options["start"] is None:
            self.options["start"] = UNTIED_START if dictionary.untied else START
        shape = (dictionary.n_features, dictionary.d_in + 1) if self.options["start"] else (0, 0)
        for name in ("encoder", "first", "second"):  # the start's encoder, its bias as the last column; its moments
            self.register_buffer(name, torch.zeros(shape))
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))
        self.held = "w_enc" if dictionary.untied else "w_dec"
        self.gradient: Tensor | None = None
        self.eased = 1.0  # what the learning rate is multiplied by, of the newest step

    @property
    def betas(self) -> tuple[float, float]:
        """Adam's, as in ``Descent``."""
        return BETAS

    @classmethod
    def usual_rate(cls, steps: int, n_features: int) -> float:
        """By the rule of ``schedules``, and less: directions learn twice as fast."""
        return RATE * schedules.usual_rate(steps, n_features)

    def rate_of(self, name: str, dictionary: Dictionary) -> float:
        """Eased towards the end of the start; the directions learn faster, as in ``Descent``."""
        return self.eased * (DECODER_RATE if name in ("w_dec", "w_enc") else 1.0)

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """Random unit rows, and an encoder like them for the start; without one, the floor that gives the first L0."""
        assert isinstance(dictionary, Architecture)
        begin(dictionary, self.seed)
        if len(self.encoder):
            self.encoder[:, :-1] = SCALE * dictionary.atoms.detach()
        else:
            set_floor(dictionary, x[:SAMPLE], self.wanted(dictionary, 0.0))

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``mse``: squared error per number; the others are weighed, and ``overlap`` is per number too."""
        assert isinstance(dictionary, Architecture)
        self.eased = 1.0
        if progress < self.options["start"]:
            return self.starting(dictionary, x, y, progress / self.options["start"])
        if len(self.encoder):
            self.end_start(dictionary, x)
        done = (progress - self.options["start"]) / (1 - self.options["start"])
        fit = self.transcoded(dictionary, x, y) if dictionary.untied else self.reconstructed(dictionary, x)
        dictionary.floor.mul_(math.exp(GAIN * math.log(max(self.l0, 0.1) / self.wanted(dictionary, done))))
        terms = {"mse": fit.error}
        if self.options["overlap"]:
            terms["overlap"] = self.options["overlap"] * overlap(dictionary.atoms, fit.code, fit.by) / x.numel()
        if self.options["auxk"]:
            dead = self.silence.dead(self.dead_after(len(x)))
            terms["auxk"] = self.options["auxk"] * unexplained(dictionary, fit.left, fit.missing, dead)
        return terms

    def reconstructed(self, dictionary: Architecture, x: Float[Tensor, "n d_in"]) -> Fit:
        """An autoencoder's, whose amounts are held fixed."""
        code = dictionary.pursue(less(x, dictionary.b_dec.detach())).code(dictionary.n_features)
        by = self.hear(code)
        error, left = reconstruct.decoding_error(x, dictionary.w_dec, dictionary.b_dec, code, by)
        return Fit(error, code, by, left, left)

    def transcoded(self, dictionary: Architecture, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> Fit:
        """A transcoder's, whose amounts depend on what it reads by."""
        rows = less(x, dictionary.b_in)
        found = dictionary.pursue(rows)
        code = Code.from_rows(found.picks, fitted.amounts(rows, dictionary.w_enc, found), dictionary.n_features)
        by = self.hear(code)
        error, missing = written(dictionary, y, code, by)
        fixed = Code(code.indices, code.values.detach(), code.offsets, code.n_features)
        return Fit(error, fixed, by, found.residual, missing)

    def hear(self, code: Code) -> ByFeature:
        """Note who fired, and the L0."""
        by = transpose(code)
        self.silence.hear(len(code), by.offsets.diff() > 0)
        self.l0 = len(code.indices) / len(code)
        return by

    def wanted(self, dictionary: Dictionary, done: float) -> float:
        """The L0 wanted when the share ``done`` of what follows the start is done."""
        return int(dictionary.options()["k"]) * falling(self.options["k_start"], self.options["k_until"], done)

    def starting(
        self, dictionary: Architecture, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], done: float
    ) -> dict[str, Float[Tensor, ""]]:
        """TopK's squared error, of an autoencoder; what a transcoder writes learns beside it. The encoder's gradient
        waits for ``after_step``.
        """
        wide = ABOVE + (WIDE - ABOVE) * max(0.0, 1 - done / NARROWED)
        k = min(dictionary.n_features, round(wide * int(dictionary.options()["k"])))
        self.eased = max(LEAST, min(1.0, (1 - done) / DECAY))
        held = self.encoder.detach().requires_grad_()
        weight, bias = held[:, :-1].contiguous(), held[:, -1] * (math.sqrt(x.shape[1]) / 2)
        with torch.no_grad():
            indices, values = topk_of_tiles(product.tiles(x, weight, bias, torch.float32), len(x), k)
        code = Code.from_rows(indices, values.float(), dictionary.n_features)
        by = self.hear(code)
        mse, _ = reconstruct.squared_error(x, x, (weight, bias, dictionary.atoms, dictionary.middle), code, by)
        self.gradient = held
        return {"mse": written(dictionary, y, code, by)[0], "start": mse} if dictionary.untied else {"mse": mse}

    def after_step(
        self,
        dictionary: Dictionary,
        moments: Moments,
        x: Float[Tensor, "n d_in"],
        y: Float[Tensor, "n d_out"],
        seen: int,
    ) -> None:
        """During the start, the encoder's own step of Adam."""
        if self.gradient is None or self.gradient.grad is None:
            return
        self.steps += 1
        rate = self.eased * moments.schedule.at(seen / self.n_tokens)
        scale = self.gradients.scale(self.gradient.grad.norm(), dictionary.d_out)
        state = (self.encoder, self.gradient.grad, self.first, self.second)
        how: Any = {"betas": self.betas, "epsilon": self.gradients.epsilon, "scale": scale}
        adam(*state, step=int(self.steps), rate=rate, **how)
        self.gradient = None

    def end_start(self, dictionary: Architecture, x: Float[Tensor, "n d_in"]) -> None:
        """Throw the encoder away, and find the floor at which its directions pursue as many features as wanted."""
        for name in ("encoder", "first", "second"):
            self.register_buffer(name, torch.zeros(0, 0))
        set_floor(dictionary, x[:SAMPLE], self.wanted(dictionary, 0.0))

    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """The floor at which k features a row are active on rows that were not trained on."""
        assert isinstance(dictionary, Architecture)
        dictionary.fold()
        set_floor(dictionary, x[:HELD_OUT], float(dictionary.options()["k"]))


@torch.no_grad()
def set_floor(dictionary: Architecture, x: Float[Tensor, "n d_in"], l0: float) -> None:
    """Set the floor at which ``l0`` features a row are active on average over ``x``, as near as there is one.

    A smaller floor lets more features in; the search halves the interval of its logarithm, around the present floor
    if there is one.
    """
    x = less(x, dictionary.middle)
    now, longest = float(dictionary.floor), float(x.norm(dim=1).max())
    low, high = (now / NEAR, now * NEAR) if now else (longest * SMALLEST, longest)
    for _ in range(STEPS):
        dictionary.floor.fill_(math.sqrt(low * high))
        if int((dictionary.pursue(x).picks >= 0).sum()) > l0 * len(x):
            low = float(dictionary.floor)
        else:
            high = float(dictionary.floor)
