"""Where directions worth trying come from, one a file: ``scores(task)`` gives a number for each feature.

Its sign says whether adding the direction or its opposite is proposed; features with a score of 0 or NaN are not.
Scores are of unit vectors along the features' directions, since doses are in multiples of the activation's length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from monoscope.models.language_model import LanguageModel

PACKAGE = "monoscope.studies.proposers"


@dataclass(frozen=True)
class Samples:
    """What the plain model said after some prompts, and what the objective gave for it."""

    prompts: Sequence[Sequence[int]]
    said: Sequence[Sequence[int]]
    scores: Float[np.ndarray, " n"]


@dataclass(frozen=True)
class Task:
    """What proposers see: model, site, unit directions, plain samples, and the labels' F1 for a concept, if any.

    ``f1`` is 0 for features that are not labelled with the concept.
    """

    lm: LanguageModel
    site: str
    directions: Float[Tensor, "n_features d"]
    samples: Samples
    f1: Mapping[int, float]
