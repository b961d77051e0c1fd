"""Nested reconstruction: one selection of features must do well whole, and cut short at each of several stages."""

from __future__ import annotations

from abc import abstractmethod

from jaxtyping import Float, Int
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.ops import nested, sparse
from monoscope.ops.transpose import transpose
from monoscope.train.selecting import SparseReconstruction, further
from monoscope.types import Code


class NestedReconstruction(SparseReconstruction):
    """The mean over stages of the squared error by the stage's entries and those before, plus AuxK on the last."""

    @abstractmethod
    def stages(self, dictionary: Dictionary, code: Code) -> tuple[Int[Tensor, " n_active"], int]:
        """The stage of each entry of a code, from 0, and how many stages there are."""

    def losses(
        self, dictionary: Dictionary, x: Float[Tensor, "n d_in"], y: Float[Tensor, "n d_out"], progress: float
    ) -> dict[str, Float[Tensor, ""]]:
        """``nested``: squared error per number, averaged over the stages; ``auxk`` and ``dense``."""
        self.progress = progress
        code = self.select(dictionary, x)
        by = transpose(code)
        values = sparse.active(x, dictionary.w_enc, dictionary.b_enc, code, by)
        stages, n_stages = self.stages(dictionary, code)
        decoder = dictionary.w_dec, dictionary.b_dec
        error, left = nested.squared(y, values, *decoder, code, by, stages, n_stages)
        self.silence.hear(len(code), by.offsets.diff() > 0)
        self.l0 = len(code.indices) / len(code)
        return {"nested": error / (n_stages * y.numel()), **further(self, dictionary, x, left, code, by)}
