"""The recipe of *Towards Monosemanticity* (Bricken et al. 2023), whole.

Mean squared error over vector elements plus ``penalty × Σ feature activations``; Kaiming-uniform weights, pre-encoder
bias at the geometric median, unit-norm decoder rows with the gradient along them removed, and resampling of silent
features in six steps: (1) at set times, find the features silent since half an interval ago; (2) the loss of a large
sample of inputs; (3) draw inputs with probability ∝ loss²; (4) decoder row := the input, unit norm; (5) encoder row :=
the same, times 0.2 of the mean norm of living encoder rows, bias := 0; (6) Adam's moments of those rows := 0.

The paper resamples at steps 25k, 50k, 75k, 100k of 1M and looks back 12,500 steps; here these are shares of the
training. It leaves open whether the input of (4) is centred by the pre-encoder bias: ``centred_resampling`` decides.

``resample_from="initial"`` is what to hold this against: silent features get new random weights, as before the first
step, and keep their biases and Adam's moments. So did the replication that found it to revive few of them
(``shehper/sparse-dictionary-learning``).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.l1_2023 import Architecture
from monoscope.errors import unknown_name
from monoscope.ops.responses import Response, respond
from monoscope.ops.room import room
from monoscope.train.calibrate import shift_biases
from monoscope.train.control import Control
from monoscope.train.objective import Moments
from monoscope.train.objective import Objective as Base
from monoscope.train.options import NOT_NEGATIVE, POSITIVE, PRECISION, SHARES, SWITCH, Allowed, Range
from monoscope.train.penalised import relu

ENCODER_SHARE = 0.2
CHUNK = 1024  # rows whose distances are looked at together, or that are copied at once
SOURCES = ("inputs", "initial")  # of what resampled features begin with


class Objective(Base):
    """``mse + l1``. Options: ``penalty``, ``centred_resampling``, ``sample``; ``resample_at``, shares of the tokens
    (without any, nothing is resampled); ``resample_from``, ``"inputs"`` or ``"initial"``; ``l0``, the mean number of
    active features to reach (then ``penalty`` is only where the search begins, and what the search leaves is made up
    for at the end); ``precision``, as in ``SparseReconstruction``.
    """

    first_rows: ClassVar[int] = 16_384  # for the geometric median: off by less than a hundredth of a row's spread
    calibrates: ClassVar[bool] = True
    defaults: ClassVar[dict[str, Any]] = {
        "l0": None,
        "penalty": 0.004,
        "resample_at": (0.25, 0.5, 0.75),
        "resample_from": "inputs",
        "centred_resampling": True,
        "sample": 819_200,
        "precision": None,
    }
    allowed: ClassVar[dict[str, Allowed]] = {
        "l0": POSITIVE,
        "penalty": NOT_NEGATIVE,
        "resample_at": SHARES,
        "centred_resampling": SWITCH,
        "sample": Range(1, whole=True),
        "precision": PRECISION,
    }
    resampled: Tensor
    keys: Tensor
    rows: Tensor
    crowded: float | None = None  # see ``respond``
    errors: Tensor  # the squared error of each of the newest rows

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        if self.options["resample_from"] not in SOURCES:
            raise unknown_name("source of resampled features", self.options["resample_from"], SOURCES)
        self.control = Control(self.options["penalty"], self.options["l0"], warmup=0.0)
        self.register_buffer("resampled", torch.zeros((), dtype=torch.long))
        self.register_buffer("keys", torch.zeros(0))
        self.register_buffer("rows", torch.zeros(0, 0))

    def initialise(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"]) -> None:
        """Kaiming-uniform weights, unit decoder rows, ``b_dec`` at the geometric median of the sample."""
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for weight, new in zip((dictionary.w_enc, dictionary.w_dec), random_weights(dictionary, generator)):
                weight.copy_(new)
            dictionary.b_dec.copy_(geometric_median(y))

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``mse`` per vector element, and ``l1``: the penalty times the row sums of activations, averaged over rows."""
        assert isinstance(dictionary, Architecture)
        weights = (dictionary.w_enc, dictionary.b_enc, dictionary.w_dec, dictionary.b_dec)
        centre = dictionary.b_dec if dictionary.centres else None
        outcome = respond(x, y, weights, Response(relu), self.precision(), self.crowded, centre)
        self.silence.hear(len(x), outcome.sums[0].detach() > 0)
        self.l0 = float(outcome.active) / len(x)
        self.errors = outcome.left.norm(dim=1).square()
        weight = self.control.weigh(self.l0, progress)
        return {"mse": outcome.errors[0] / y.numel(), "l1": weight * outcome.sums[0].sum() / len(x)}

    def after_step(
        self,
        dictionary: Dictionary,
        moments: Moments,
        x: Float[Tensor, "n d_in"],
        y: Float[Tensor, "n d_out"],
        seen: int,
    ) -> None:
        """Before each resampling time, reduce the sample of step 2 to candidates as it streams by; then resample."""
        done = int(self.resampled)
        if done == len(self.options["resample_at"]):
            return
        due = int(self.options["resample_at"][done] * self.n_tokens)
        from_inputs = self.options["resample_from"] == "inputs"
        if from_inputs and seen > due - self.options["sample"]:
            self.draw(x, y, seen)
        if seen >= due:
            dead = self.silence.dead(due // (2 * (done + 1)))
            if from_inputs:
                self.resample(dictionary, moments, dead)
            else:
                self.redraw(dictionary, dead, seen)
            self.resampled += 1

    @torch.no_grad()
    def draw(self, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], seen: int) -> None:
        """Steps 2 and 3: keep, of all inputs of the sample, as many as there are features, with p ∝ loss².

        An input's loss is that of the step that learned from it. Weighted sampling without replacement in one pass
        (Efraimidis & Spirakis 2006): each input draws ``u^(1/loss²)`` and the largest stay. What is kept is a buffer,
        so a resumed training draws the same. A row of it is an input, and its target after it if that is another.
        """
        parts = (x,) if x.data_ptr() == y.data_ptr() else (x, y)
        weight = self.errors.square().clamp_min(1e-30)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + seen)
        key = torch.rand(len(x), generator=generator).clamp_min(1e-12).log().to(weight.device) / weight
        held, n_features = len(self.keys), len(self.silence.tokens)
        kept = torch.cat([self.keys, key]).topk(min(held + len(key), n_features)).indices
        gone = torch.ones(len(kept), dtype=torch.bool, device=kept.device)  # places that new inputs take
        gone[kept[kept < held]] = False
        if more := len(kept) - held:
            self.keys = torch.cat([self.keys, key.new_empty(more)])
            width = sum(part.shape[1] for part in parts)
            grown = room(len(kept), width, device=x.device)
            grown[:held], self.rows = self.rows.reshape(held, width), grown
        new, places = kept[kept >= held] - held, gone.nonzero()[:, 0]
        self.keys[places] = key[new]
        first = 0
        for part in parts:
            for some, at in zip(new.split(CHUNK), places.split(CHUNK), strict=True):
                rows = room(len(some), part.shape[1], device=part.device)
                self.rows[at, first : first + part.shape[1]] = torch.index_select(part, 0, some, out=rows)
            first += part.shape[1]

    @torch.no_grad()
    def resample(self, dictionary: Dictionary, moments: Moments, dead: Tensor) -> None:
        """Steps 4 to 6 for the features marked in ``dead``."""
        places = dead.nonzero()[:, 0][: len(self.rows)]
        alive = ~dead
        if len(places) and bool(alive.any()):
            best = self.keys.topk(len(places)).indices
            x, y = self.rows[best, : dictionary.d_in], self.rows[best, -dictionary.d_out :]
            if self.options["centred_resampling"]:
                y = y - dictionary.b_dec
                x = x - dictionary.b_dec if x.shape == y.shape else x
            norm = dictionary.w_enc.norm(dim=1)[alive].mean() * ENCODER_SHARE
            dictionary.w_dec[places] = y / y.norm(dim=1, keepdim=True).clamp_min(1e-12)
            dictionary.w_enc[places] = x / x.norm(dim=1, keepdim=True).clamp_min(1e-12) * norm
            dictionary.b_enc[places] = 0
            for name in ("w_dec", "w_enc", "b_enc"):
                moments.forget(name, places)
            self.silence.tokens[places] = 0
        self.keys, self.rows = self.keys.new_zeros(0), self.rows.new_zeros(0, 0)

    @torch.no_grad()
    def redraw(self, dictionary: Dictionary, dead: Tensor, seen: int) -> None:
        """New random weights for the features marked in ``dead``, and nothing else."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + seen)
        for weight, new in zip((dictionary.w_enc, dictionary.w_dec), random_weights(dictionary, generator)):
            weight[dead] = new[dead]
        self.silence.tokens[dead] = 0

    @torch.no_grad()
    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """With a wanted L0, one shift of all encoder biases, so that held-out rows have it."""
        assert isinstance(dictionary, Architecture)
        if self.options["l0"] is not None:
            shift_biases(dictionary, x, self.options["l0"], dictionary.encoder_bias())


def random_weights(dictionary: Dictionary, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Kaiming-uniform rows for encoder and decoder, the decoder's with unit norm."""
    made = []
    for weight in (dictionary.w_enc, dictionary.w_dec):
        bound = (6 / weight.shape[1]) ** 0.5
        made.append(torch.rand(weight.shape, generator=generator).mul_(2).mul_(bound).sub_(bound))
    return made[0], made[1].div_(made[1].norm(dim=1, keepdim=True))


def geometric_median(x: Float[Tensor, "n d"], steps: int = 50) -> Float[Tensor, " d"]:
    """The point of least summed distance to the rows (Weiszfeld 1937)."""
    point = x.mean(0)
    for _ in range(steps):
        weight = torch.cat([1 / (rows - point).norm(dim=1).clamp_min(1e-8) for rows in x.split(CHUNK)])
        new = weight @ x / weight.sum()
        if torch.allclose(new, point, rtol=1e-6, atol=1e-8):
            break
        point = new
    return point
