"""The random-weights control: the same model with the entries of every weight matrix shuffled.

*Towards Monosemanticity* trains dictionaries on such a model too: what its features show is owed to the text and the
architecture, not to anything learned. Shuffling keeps the distribution of every matrix's entries.
"""

from __future__ import annotations

import copy

import torch
from torch import nn


def shuffled(model: nn.Module, seed: int) -> nn.Module:
    """A copy of ``model`` with entries shuffled within each matrix, embeddings included.

    Vectors (biases, gains) stay as they are; tied matrices are shuffled once and stay tied. The same seed gives the
    same weights on every device.
    """
    copied = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in copied.named_parameters():
            if parameter.ndim >= 2:
                order = torch.randperm(parameter.numel(), generator=generator).to(parameter.device)
                parameter.copy_(parameter.reshape(-1)[order].view_as(parameter))
    return copied
