"""By gradient: how fast the expected score rises when a little of the direction is added at every token.

``d/dε E[score] = E[(score − mean) · d/dε log p(said)]`` (the score-function estimator; Williams 1992), and the
derivative of ``log p`` with respect to a direction is the product of that direction with the gradients at the site,
summed over tokens. So one backward pass a sample gives the estimate for every feature at once.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.models.language_model import LanguageModel
from monoscope.studies.proposers import Samples, Task
from monoscope.types import Site, TokenBlock

BATCH = 32


def scores(task: Task) -> Float[np.ndarray, " n_features"]:
    """The derivative of the expected score along each unit direction, per unit of the activation's length."""
    slope = gradient(task.lm, task.site, task.samples)
    found: np.ndarray = (task.directions.cpu() @ slope).numpy()
    return found


def gradient(lm: LanguageModel, site: str, samples: Samples) -> Float[Tensor, " d"]:
    """The derivative of the expected score with respect to a vector that is added at every token.

    Each token's part counts by the length of its activation, as a dose in multiples of that does.
    """
    advantage = torch.from_numpy(samples.scores - samples.scores.mean()).float()
    total = torch.zeros(lm.width(site))
    for first in range(0, len(samples.said), BATCH):
        part = slice(first, first + BATCH)
        total += _part(lm, site, samples.prompts[part], samples.said[part], advantage[part])
    return total / len(samples.said)


def _part(lm: LanguageModel, site: str, prompts, said, advantage: Tensor) -> Tensor:  # type: ignore[no-untyped-def]
    rows = [[*lm.tokeniser.prefix, *prompt, *new] for prompt, new in zip(prompts, said, strict=True)]
    width = max(map(len, rows))
    tokens = torch.tensor([row + [lm.tokeniser.padding] * (width - len(row)) for row in rows])
    spoken = torch.zeros(tokens.shape, dtype=torch.bool)
    for i, (row, new) in enumerate(zip(rows, said, strict=True)):
        spoken[i, len(row) - len(new) : len(row)] = True
    live = torch.arange(width) < torch.tensor([len(row) for row in rows])[:, None]
    kept: dict[str, Tensor] = {}

    def write(h: Tensor) -> Tensor:
        kept["h"] = h.detach().requires_grad_(True)
        return kept["h"]

    block = TokenBlock(tokens, torch.where(live, 0, -2), torch.arange(width).expand_as(tokens))
    with torch.enable_grad():
        logits = lm.run(block, read=["logits"], write={Site.parse(site): write})["logits"][:, :-1].float()
        wanted = tokens[:, 1:].to(logits.device)
        said_log_p = logits.log_softmax(-1).gather(-1, wanted[..., None])[..., 0] * spoken[:, 1:].to(logits)
        (said_log_p.sum(1) * advantage.to(logits)).sum().backward()
    h = kept["h"]
    slopes = (h.grad * h.detach().norm(dim=-1, keepdim=True)).cpu() if h.grad is not None else torch.zeros_like(h)
    summed: Tensor = (slopes * live[..., None]).sum((0, 1))
    return summed
