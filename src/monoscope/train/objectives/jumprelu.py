"""JumpReLU with thresholds that are learned through a kernel (Rajamanoharan et al. 2024; Anthropic, January 2025).

``f = s · [s > θ]`` has no gradient towards θ. A rectangle of width ``bandwidth`` around the threshold stands in for the
density of scores there: the jump's is ``−θ/ε`` and a step's ``−1/ε`` where ``|s − θ| < ε/2``, and 0 elsewhere.

``form`` names the penalty; by default ``quadratic`` where an L0 is wanted, else ``step``:

* ``step``: the L0 itself (2024). Only thresholds feel it.
* ``quadratic``: ``(L0 / l0 − 1)²`` (2024, and Gemma Scope 2). It pulls both ways, so its weight stays; ``l0`` glides.
* ``tanh``: ``Σ tanh(4 f ‖d‖)`` (2025), with a small penalty ``preact`` on ``relu(θ − s) ‖d‖`` that gives features which
  never fire a way back.

With the ``quadratic`` form it begins as TopK, see ``train.begun``.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.jumprelu import Architecture
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.ops.lengths import lengths
from monoscope.ops.responses import Outcome, Response
from monoscope.train.begun import BegunAsTopK
from monoscope.train.calibrate import cut, scores
from monoscope.train.control import THRESHOLDS, Pace
from monoscope.train.moments import Moments
from monoscope.train.options import NOT_NEGATIVE, POSITIVE, Allowed

SLOPE = 4.0  # of the tanh
LEAST = 1e-3  # threshold that a training may take over with
RATE, BEGUN_RATE = 10.0, 3.0  # of thresholds, in units of the encoder's: from far off, and where TopK's scores set them


def is_above(score: Tensor, threshold: Tensor) -> Tensor:
    """``[score > threshold]`` in numbers: on a CPU, truth values take many times as long."""
    return (score - threshold).relu().sign()


def is_near(score: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """``[|score − threshold| < bandwidth / 2]`` in numbers."""
    return (score - threshold).abs_().neg_().add_(bandwidth / 2).relu_().sign_()


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, s: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        above = is_above(s, threshold)
        ctx.save_for_backward(s, threshold, above)
        ctx.bandwidth = bandwidth
        return s * above

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        s, threshold, above = ctx.saved_tensors
        pull = (grads[0] * is_near(s, threshold, ctx.bandwidth)).sum_to_size(threshold.shape)
        return grads[0] * above, pull * (-threshold / ctx.bandwidth), None


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, s: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(s, threshold)
        ctx.bandwidth = bandwidth
        return is_above(s, threshold)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[None, Tensor, None]:
        s, threshold = ctx.saved_tensors
        pull = (grads[0] * is_near(s, threshold, ctx.bandwidth)).sum_to_size(threshold.shape)
        return None, pull * (-1 / ctx.bandwidth), None


def jump(s: Float[Tensor, "*n"], threshold: Float[Tensor, "*m"], bandwidth: float) -> Float[Tensor, "*n"]:
    """``s · [s > threshold]``, with the kernel's gradient towards ``threshold``."""
    return _Jump.apply(s, threshold, bandwidth)


def step(s: Float[Tensor, "*n"], threshold: Float[Tensor, "*m"], bandwidth: float) -> Float[Tensor, "*n"]:
    """``[s > threshold]``, with the kernel's gradient towards ``threshold`` and none towards ``s``."""
    return _Step.apply(s, threshold, bandwidth)


class Objective(BegunAsTopK):
    """``mse`` and the terms of the ``form``. Options beyond ``BegunAsTopK``'s: ``form``, ``bandwidth``, ``preact``,
    ``threshold`` (the first of all features), ``threshold_rate`` (in units of the encoder's; by default 10, for
    thresholds must cover a wide range of scores, or 3 after a TopK start). ``penalty`` is by default the form's own,
    and only the ``quadratic`` form begins as TopK unasked. ``decoder_norm`` is by default free with the ``tanh`` form.
    """

    pace: ClassVar[Pace] = THRESHOLDS
    defaults: ClassVar[dict[str, Any]] = {
        **BegunAsTopK.defaults,
        "form": "",
        "penalty": None,
        "bandwidth": 0.5,
        "preact": 3e-6,
        "threshold": 0.1,
        "threshold_rate": None,
        "decoder_norm": None,
    }
    allowed: ClassVar[dict[str, Allowed]] = {
        **BegunAsTopK.allowed,
        "bandwidth": POSITIVE,
        "preact": NOT_NEGATIVE,
        "threshold": POSITIVE,
        "threshold_rate": POSITIVE,
    }

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        form = options.get("form") or ("step" if options.get("l0") is None else "quadratic")
        if form not in FORMS:
            raise unknown_name("form of the penalty", form, list(FORMS))
        norm = options.get("decoder_norm")
        told = {"form": form, "decoder_norm": ("free" if form == "tanh" else "unit") if norm is None else norm}
        super().__init__(dictionary, n_tokens, seed, **{"penalty": PENALTIES[form], **options, **told})
        if self.options["form"] == "quadratic" and self.options["l0"] is None:
            raise MonoscopeError(
                "the quadratic penalty needs the L0 that it aims at", fix="pass l0 (monoscope train: --k)"
            )

    def topk_until(self) -> float:
        """As told; unasked half of the tokens with the ``quadratic`` form, which always has an L0, else none."""
        told = self.options["topk_until"]
        return super().topk_until() if told is not None or self.options["form"] == "quadratic" else 0.0

    def take_over(self, dictionary: Dictionary, score: float) -> None:
        """All thresholds are that score."""
        assert isinstance(dictionary, Architecture)
        dictionary.log_threshold.data.fill_(math.log(max(LEAST, score)))

    def prepare(self, dictionary: Dictionary) -> None:
        """Thresholds take the place of negative biases, or are as told where ``first_active`` sets the biases."""
        assert isinstance(dictionary, Architecture)
        first = torch.full_like(dictionary.b_enc.data, self.options["threshold"])
        if self.options["first_active"] is not None:
            dictionary.log_threshold.data.copy_(first.log())
            dictionary.b_enc.data.add_(first)
            return
        dictionary.log_threshold.data.copy_(torch.maximum(first, -dictionary.b_enc.data).log())
        dictionary.b_enc.data.zero_()

    def response(self, dictionary: Dictionary) -> Response:
        """Scores above the threshold, and what the ``form`` measures; the kernel reaches a little below."""
        assert isinstance(dictionary, Architecture)
        bandwidth, threshold = self.options["bandwidth"], dictionary.threshold
        floor = threshold.detach() - bandwidth / 2
        if self.options["form"] == "tanh":
            norms = lengths(dictionary.w_dec)
            return Response(partial(saturated, bandwidth=bandwidth), (threshold, norms), floor, lengths=True)
        return Response(partial(counted, bandwidth=bandwidth), (threshold,), floor)

    def penalties(
        self, dictionary: Dictionary, outcome: Outcome, x: Float[Tensor, "n d_in"], weight: float
    ) -> dict[str, Float[Tensor, ""]]:
        """Those of the ``form``."""
        assert isinstance(dictionary, Architecture)
        return FORMS[self.options["form"]](self, dictionary, outcome, x, weight)

    def rate_of(self, name: str, dictionary: Dictionary) -> float:
        """Thresholds move faster: their logarithms have far to go."""
        if name != "log_threshold":
            return super().rate_of(name, dictionary)
        return float(self.options["threshold_rate"] or (BEGUN_RATE if self.topk_until() else RATE))

    def reborn(self, dictionary: Dictionary, moments: Moments, places: Tensor) -> None:
        """Thresholds as the others have on average."""
        assert isinstance(dictionary, Architecture)
        others = torch.ones(dictionary.n_features, dtype=torch.bool, device=places.device).index_fill(0, places, False)
        thresholds = dictionary.log_threshold.data
        thresholds[places] = thresholds[others].mean()
        moments.forget("log_threshold", places)

    def fold(self, dictionary: Dictionary) -> None:
        """Thresholds are in the same units as the scores."""
        assert isinstance(dictionary, Architecture)
        if not self.unit_rows:
            dictionary.log_threshold.data.add_(dictionary.w_dec.data.norm(dim=1).clamp_min(1e-12).log())
        super().fold(dictionary)

    @torch.no_grad()
    def finish(self, dictionary: Dictionary, x: Float[Tensor, "n d_in"]) -> None:
        """Unit decoder rows; with a wanted L0, thresholds by a common factor, so that held-out rows have it."""
        assert isinstance(dictionary, Architecture)
        self.hand_over(dictionary, x)
        self.fold(dictionary)
        if self.options["l0"] is not None:
            dictionary.log_threshold.add_(math.log(common_factor(dictionary, x, self.options["l0"])))


def common_factor(dictionary: Architecture, x: Float[Tensor, "n d_in"], l0: float) -> float:
    """The factor on all thresholds at which ``l0`` scores a row exceed theirs, on average."""
    wanted = max(1, round(l0 * len(x)))
    found = cut((block / dictionary.threshold for block in scores(dictionary, x, dictionary.b_enc)), wanted)
    return found if found > 0 else 1.0


def counted(score: Tensor, threshold: Tensor, bandwidth: float) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Scores above the threshold, and their number."""
    return (jump(score, threshold, bandwidth),), (step(score, threshold, bandwidth),)


def saturated(
    score: Tensor, threshold: Tensor, norms: Tensor, bandwidth: float
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Scores above the threshold, ``tanh(4 f ‖d‖)``, and by how much the threshold is exceeded."""
    f = jump(score, threshold, bandwidth)
    return (f,), (torch.tanh(SLOPE * f * norms), torch.relu(score - threshold))


def step_form(
    goal: Objective, dictionary: Architecture, outcome: Outcome, x: Float[Tensor, "n d_in"], weight: float
) -> dict[str, Float[Tensor, ""]]:
    """``weight · L0``."""
    return {"l0_step": weight * outcome.totals[0].sum()}


def quadratic_form(
    goal: Objective, dictionary: Architecture, outcome: Outcome, x: Float[Tensor, "n d_in"], weight: float
) -> dict[str, Float[Tensor, ""]]:
    """``penalty · (L0 / l0 − 1)²`` beside the squared error per number, which is about the share left unexplained."""
    l0 = outcome.totals[0].sum() / len(x)
    n_numbers = len(x) * dictionary.d_out
    return {"l0_quadratic": goal.options["penalty"] * n_numbers * (l0 / goal.control.goal - 1).square()}


def tanh_form(
    goal: Objective, dictionary: Architecture, outcome: Outcome, x: Float[Tensor, "n d_in"], weight: float
) -> dict[str, Float[Tensor, ""]]:
    """``weight · Σ tanh(4 f ‖d‖)`` and ``preact · Σ relu(θ − s) ‖d‖``.

    Nearly all scores are below their threshold, where the second is linear. So it is the sum of ``θ − s`` over *all*
    scores, which needs the rows' sum alone, plus that of ``relu(s − θ)``.
    """
    norms = outcome.lengths
    everywhere = len(x) * (dictionary.threshold - dictionary.b_enc) - dictionary.w_enc @ x.sum(0)
    silent = ((everywhere + outcome.totals[1]) * norms).sum()
    return {"tanh": weight * outcome.totals[0].sum(), "preact": goal.options["preact"] * silent}


FORMS = {"step": step_form, "quadratic": quadratic_form, "tanh": tanh_form}
PENALTIES = {"step": 5.0, "quadratic": 1.0, "tanh": 5.0}
