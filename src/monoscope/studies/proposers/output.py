"""By what is written: directions that promote the tokens which good continuations hold more of than bad ones."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float

from monoscope.studies.proposers import Task


def scores(task: Task) -> Float[np.ndarray, " n_features"]:
    """The product of each direction's logits with how much likelier a token is in good continuations; 0 without a way.

    Continuations are weighted by their score above the mean, and below it; the way from the site to the logits is the
    direct one.
    """
    out, into = task.lm.unembedding(), task.lm.to_residual(task.site)
    if out is None or into is None:
        return np.zeros(len(task.directions))
    above = task.samples.scores - task.samples.scores.mean()
    rates = torch.zeros(2, out.shape[1])
    for tokens, weight in zip(task.samples.said, above, strict=True):
        if tokens:
            side = rates[int(weight > 0)]
            side += abs(float(weight)) * torch.bincount(torch.tensor(tokens), minlength=len(side)) / len(tokens)
    if not bool(rates.sum(1).all()):
        return np.zeros(len(task.directions))
    bad, good = rates / rates.sum(1, keepdim=True)
    pull = into.cpu() @ (out.cpu() - out.cpu().mean(1, keepdim=True)) @ (good - bad)
    found: np.ndarray = (task.directions.cpu() @ pull).numpy()
    return found
