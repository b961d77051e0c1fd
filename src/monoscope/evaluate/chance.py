"""Chance that depends on a token alone: the same for every reconstructor, whatever the blocks it is met in."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor


def unit_directions(keys: Int[Tensor, " n"], width: int, seed: int) -> Float[Tensor, "n width"]:
    """A random unit vector for each token, uniform on the sphere; ``keys`` number the tokens of a store."""
    rows = np.empty((len(keys), width), np.float32)
    for row, key in zip(rows, keys.tolist(), strict=True):
        np.random.Generator(np.random.Philox(key=[seed, key])).standard_normal(out=row, dtype=np.float32)
    found = torch.from_numpy(rows)
    return found / torch.linalg.vector_norm(found, dim=1, keepdim=True)


def uniform(keys: Int[Tensor, " n"], seed: int) -> Float[Tensor, " n"]:
    """A number in [0, 1) for each token (SplitMix64's finaliser), by which tokens are drawn at a given rate."""
    with np.errstate(over="ignore"):
        state = (keys.cpu().numpy().astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        state ^= np.uint64(seed) * np.uint64(0xD1B54A32D192ED03)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    return torch.from_numpy((state >> np.uint64(11)).astype(np.float64) * 2.0**-53)
