"""BatchTopK whose features must also reconstruct by the first few of them alone (Bussmann et al. 2025).

The selection is that of the whole batch over all features; each prefix uses what was selected of its own features. The
paper adds the prefixes' errors up, here they are averaged, so that learning rates and AuxK mean the same for any number
of prefixes.
"""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor

from monoscope.dictionary import matryoshka
from monoscope.dictionary.base import Dictionary
from monoscope.train.nested import NestedReconstruction
from monoscope.train.objectives import batch_topk
from monoscope.types import Code


class Objective(NestedReconstruction, batch_topk.Objective):
    """See ``NestedReconstruction``: its stages are the prefixes. Selects and calibrates as BatchTopK does."""

    def stages(self, dictionary: Dictionary, code: Code) -> tuple[Int[Tensor, " n_active"], int]:
        """The first prefix that holds each entry's feature."""
        assert isinstance(dictionary, matryoshka.Architecture)
        sizes = torch.tensor(dictionary.sizes, device=code.indices.device)
        return torch.bucketize(code.indices.long(), sizes, right=True), len(sizes)
