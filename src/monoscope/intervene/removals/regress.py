"""The features' ablation, as nearly as an affine map comes to it: values are predicted from the site by least squares.

Ablation subtracts ``value · direction`` where a feature fires; an encoder's threshold is no matrix, so the value is
replaced by its best linear prediction on text. Exact where the values are linear in the site (a dictionary whose
features are the neurons themselves), and otherwise as good as that regression, whose R² is reported. Which text counts
how much is for who takes the moments to say.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.intervene import remove
from monoscope.intervene.affine import Affine, Moments
from monoscope.intervene.removals import Task
from monoscope.models.language_model import LanguageModel

WORDS = "the affine map nearest to the features' ablation, exact only where their values are linear in the site"


def removed(task: Task) -> LanguageModel:
    """The model with the predicted values taken out of what writes or reads the site."""
    constant = remove.takes_constant(task.lm, task.site, task.only)
    change = affine(task.dictionary.directions[list(task.features)], task.moments, constant)
    return remove.removed(task.lm, task.site, change, task.only)


def affine(directions: Float[Tensor, "n d"], moments: Moments, constant: bool) -> Affine:
    """``h → h − (h W + w) D`` with the regression ``(W, w)`` of the values on the site."""
    weights, offset = moments.regression(constant)
    d = directions.double()
    return Affine(torch.eye(d.shape[1], dtype=d.dtype) - weights @ d, -offset @ d)
