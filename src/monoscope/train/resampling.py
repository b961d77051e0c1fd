"""Resampling (*Towards Monosemanticity*, Bricken et al. 2023): silent features begin again as inputs explained badly.

Six steps: (1) at set times, find the features silent since half an interval ago; (2) the loss of a large sample of
inputs; (3) draw inputs with probability ∝ loss²; (4) decoder row := the input, unit norm; (5) encoder row := the same,
times 0.2 of the mean norm of living encoder rows, bias := 0; (6) Adam's moments of those rows := 0.

Where scores compete, or have to exceed a threshold, a fifth of the others' norm is never active and learns nothing.
There encoder rows have the mean norm itself.

The paper resamples at steps 25k, 50k, 75k, 100k of 1M and looks back 12,500 steps; here these are shares of the
training. It leaves open whether the input of (4) is centred by the pre-encoder bias: ``centred_resampling`` decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from monoscope.dictionary.base import Dictionary
from monoscope.ops.room import room
from monoscope.train.dead import Silence
from monoscope.train.moments import Moments
from monoscope.train.options import SHARES, SWITCH, Allowed, Range

ENCODER_SHARE = 0.2
CHUNK = 1024  # rows that are copied at once
DEFAULTS: Mapping[str, Any] = {"resample_at": (), "centred_resampling": True, "sample": 819_200}
ALLOWED: Mapping[str, Allowed] = {
    "resample_at": SHARES,
    "centred_resampling": SWITCH,
    "sample": Range(1, whole=True),
}


class Resampling(nn.Module):
    """What resampling remembers, and its six steps. All state is buffers, so a checkpoint holds it.

    Args:
        options: ``resample_at``, shares of the tokens; ``sample``, tokens before each of these of which inputs are
            drawn; ``centred_resampling``, whether what becomes a direction is centred by the decoder's bias.
        n_features: of the dictionary.
        n_tokens: of the training.
        seed: of what is drawn.
    """

    done: Tensor
    keys: Tensor
    rows: Tensor

    def __init__(self, options: Mapping[str, Any], n_features: int, n_tokens: int, seed: int) -> None:
        super().__init__()
        self.times = [int(share * n_tokens) for share in sorted(options["resample_at"])]
        self.sample, self.centred = options["sample"], options["centred_resampling"]
        self.n_features, self.seed = n_features, seed
        self.errors = torch.zeros(0)  # the squared error of each row of the newest batch
        self.register_buffer("done", torch.zeros((), dtype=torch.long))
        self.register_buffer("keys", torch.zeros(0))
        self.register_buffer("rows", torch.zeros(0, 0))

    def hear(self, left: Float[Tensor, "n d_out"]) -> None:
        """Note what the newest batch leaves over, if anything is still to be resampled."""
        if self.due is not None:
            self.errors = left.detach().norm(dim=1).square()

    @property
    def due(self) -> int | None:
        """Tokens after which silent features begin again next; None when that will not be."""
        return self.times[int(self.done)] if int(self.done) < len(self.times) else None

    def silent(self, silence: Silence, seen: int) -> Tensor | None:
        """Step 1: which features, when their time has come, and then not again; None before."""
        due = self.due
        if due is None or seen < due:
            return None
        self.done += 1
        return silence.dead(due // (2 * int(self.done)))

    @torch.no_grad()
    def draw(self, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], seen: int) -> None:
        """Steps 2 and 3: keep, of all inputs of the sample, as many as there are features, with p ∝ loss².

        An input's loss is that of the step that learned from it. Weighted sampling without replacement in one pass
        (Efraimidis & Spirakis 2006): each input draws ``u^(1/loss²)`` and the largest stay. What is kept is a buffer,
        so a resumed training draws the same. A row of it is an input, and its target after it if that is another.
        """
        due = self.due
        if due is None or seen <= due - self.sample:
            return
        parts = (x,) if x.data_ptr() == y.data_ptr() else (x, y)
        weight = self.errors.square().clamp_min(1e-30)
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + seen)
        key = torch.rand(len(x), generator=generator).clamp_min(1e-12).log().to(weight.device) / weight
        held = len(self.keys)
        kept = torch.cat([self.keys, key]).topk(min(held + len(key), self.n_features)).indices
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
    def resample(self, dictionary: Dictionary, moments: Moments, dead: Tensor, share: float = ENCODER_SHARE) -> Tensor:
        """Steps 4 to 6 for the features marked in ``dead``; which of them began again.

        ``share`` is the norm of their encoder rows, in units of the others' mean.
        """
        places = dead.nonzero()[:, 0][: len(self.rows)]
        alive = ~dead
        if not bool(alive.any()):
            places = places[:0]
        if len(places):
            best = self.keys.topk(len(places)).indices
            x, y = self.rows[best, : dictionary.d_in], self.rows[best, -dictionary.d_out :]
            if self.centred:
                y = y - dictionary.b_dec
                x = x - dictionary.b_dec if self.rows.shape[1] == dictionary.d_in else x  # no target beside the input
            norm = dictionary.w_enc.norm(dim=1)[alive].mean() * share
            dictionary.w_dec[places] = y / y.norm(dim=1, keepdim=True).clamp_min(1e-12)
            dictionary.w_enc[places] = x / x.norm(dim=1, keepdim=True).clamp_min(1e-12) * norm
            dictionary.b_enc[places] = 0
            for name in ("w_dec", "w_enc", "b_enc"):
                moments.forget(name, places)
        self.keys, self.rows = self.keys.new_zeros(0), self.rows.new_zeros(0, 0)
        return places
