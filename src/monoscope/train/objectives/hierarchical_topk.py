"""One dictionary for many L0s: each row's best few features must do too (HierarchicalTopK, arXiv 2505.24473).

A row's k largest scores are ranked, and the error of the best ``j`` of them is averaged over the budgets ``j``. The
paper takes every ``j`` up to k; by default here eight evenly spaced ones, which teach as much.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.ops import nested
from monoscope.train.nested import NestedReconstruction
from monoscope.train.objectives import topk
from monoscope.train.options import Allowed, Range
from monoscope.types import Code

STAGES = 8


class Objective(NestedReconstruction, topk.Objective):
    """See ``NestedReconstruction``: its stages are the ``budgets`` (none: k/8, 2k/8, … and k; k is always one)."""

    defaults: ClassVar[dict[str, Any]] = {**topk.Objective.defaults, "budgets": ()}
    allowed: ClassVar[dict[str, Allowed]] = {**topk.Objective.allowed, "budgets": Range(1, whole=True, several=True)}

    def __init__(self, dictionary: Dictionary, n_tokens: int, seed: int, **options: Any) -> None:
        super().__init__(dictionary, n_tokens, seed, **options)
        k = int(dictionary.options()["k"])
        wanted = self.options["budgets"] or [-(-k * i // STAGES) for i in range(1, STAGES + 1)]
        if any(j != int(j) or not 1 <= j <= k for j in wanted):
            raise MonoscopeError(f"budgets {list(wanted)} with k = {k}", fix="each budget is a number from 1 to k")
        self.budgets = sorted({*map(int, wanted), k})

    def stages(self, dictionary: Dictionary, code: Code) -> tuple[Int[Tensor, " n_active"], int]:
        """The smallest budget that each entry's rank is within; the last also has what a wider beginning adds."""
        budgets = torch.tensor(self.budgets[:-1], device=code.indices.device)
        return torch.bucketize(nested.ranks(code), budgets, right=True), len(self.budgets)
