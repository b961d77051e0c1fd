"""By label: features that are labelled with the concept that was asked for, by the F1 of their labels."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

from monoscope.studies.proposers import Task


def scores(task: Task) -> Float[np.ndarray, " n_features"]:
    """The F1 of each feature's label, where it is the concept."""
    return np.array([task.f1.get(feature, 0.0) for feature in range(len(task.directions))])
