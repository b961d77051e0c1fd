"""Nothing of the site varies along the features' directions any more: what lies along them is their mean on text.

Exact in itself (no linear reader of the site can tell tokens apart along these directions), but more than ablation:
whatever else used the directions is lost with them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.intervene import remove
from monoscope.intervene.affine import Affine, Moments, span
from monoscope.intervene.removals import Task
from monoscope.models.language_model import LanguageModel

WORDS = "exactly what projecting the directions out in every forward pass does, which is more than ablation"


def removed(task: Task) -> LanguageModel:
    """The model with the directions projected out of what writes or reads the site."""
    constant = remove.takes_constant(task.lm, task.site, task.only)
    change = affine(task.dictionary.directions[list(task.features)], task.moments, constant)
    return remove.removed(task.lm, task.site, change, task.only)


def affine(directions: Float[Tensor, "n d"], moments: Moments, constant: bool) -> Affine:
    """``h → h − (h − mean) Q Qᵀ``, Q an orthonormal basis of the directions; without a constant, the mean is 0."""
    basis = span(directions)
    along = basis @ basis.T
    mean = moments.mean if constant else torch.zeros_like(moments.mean)
    return Affine(torch.eye(len(along), dtype=along.dtype) - along, mean @ along)
