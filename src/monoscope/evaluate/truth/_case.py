"""What every measure looks at: a world's rows with their true code, a dictionary's code, and who stands for whom."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.evaluate.intervals import Estimate, Totals, bootstrap
from monoscope.ops.assignment import assign
from monoscope.types import Code
from monoscope.worlds.world import World

FOUND = 0.5  # |cosine| from which a matched feature is taken to stand for its true feature at all
SEED = 0


@dataclass(frozen=True)
class Matching:
    """A one-to-one matching of learned with true features.

    ``learned[j]`` is the learned feature that true feature ``j`` is matched with, or -1; ``cosine[j]`` the absolute
    cosine of their directions, 0 where there is none.
    """

    learned: Int[np.ndarray, " n_true"]
    cosine: Float[np.ndarray, " n_true"]

    @property
    def true(self) -> Int[np.ndarray, " n_matched"]:
        """The true features that have a match."""
        return np.flatnonzero(self.learned >= 0)

    @property
    def found(self) -> Int[np.ndarray, " n_found"]:
        """The true features whose match has an absolute cosine of at least ``FOUND``."""
        return np.flatnonzero((self.learned >= 0) & (self.cosine >= FOUND))


@dataclass(frozen=True)
class Case:
    """Held-out rows of a world and what a dictionary makes of them.

    ``directions`` are the learned ones as unit rows (zero rows stay zero); ``code`` says how much of them is written in
    each row; ``truth`` is the world's code. ``cosines`` are absolute.
    """

    world: World
    x: Float[Tensor, "n d"]
    truth: Code
    directions: Float[Tensor, "n_features d"]
    code: Code
    reconstruction: Float[Tensor, "n d"]
    cosines: Float[np.ndarray, "n_features n_true"]
    matching: Matching

    @cached_property
    def alive(self) -> Bool[np.ndarray, " n_features"]:
        """Which learned features are active in any of the rows."""
        return np.bincount(self.code.indices.numpy(), minlength=self.code.n_features) > 0


def case(world: World, x: Float[Tensor, "n d"], truth: Code, dictionary: Dictionary, code: Code | None = None) -> Case:
    """What a dictionary makes of rows of a world; with ``code``, had it given them that one."""
    code = dictionary.encode(x) if code is None else code
    norms = dictionary.directions.norm(dim=1)
    written = Code(code.indices, code.values * norms[code.indices.long()], code.offsets, code.n_features)
    unit = dictionary.directions / norms.clamp_min(1e-12)[:, None]
    true = torch.nn.functional.normalize(world.directions, dim=1)
    cosines = (unit @ true.T).abs().numpy()
    return Case(world, x, truth, unit, written, dictionary.decode(code, x), cosines, match(cosines))


def randomised(dictionary: Dictionary, seed: int = SEED) -> Dictionary:
    """The same dictionary with random directions of the same lengths; its encoder, where it has one, stays."""
    other = copy.deepcopy(dictionary)
    rows = torch.randn(dictionary.directions.shape, generator=torch.Generator().manual_seed(seed))
    lengths = dictionary.directions.norm(dim=1) / rows.norm(dim=1)
    other.w_dec.data.copy_(rows * lengths[:, None])
    return other


def match(cosines: Float[np.ndarray, "n_features n_true"]) -> Matching:
    """The matching whose absolute cosines add up to the most."""
    features, true = assign(cosines)
    learned, cosine = np.full(cosines.shape[1], -1), np.zeros(cosines.shape[1])
    learned[true] = features
    cosine[true] = cosines[features, true]
    return Matching(learned, cosine)


def shuffle(given: Case, seed: int = SEED) -> Case:
    """The same case with true features matched to one another's learned features at random."""
    matching = given.matching
    learned, cosine = np.full_like(matching.learned, -1), np.zeros_like(matching.cosine)
    learned[matching.true] = np.random.default_rng(seed).permutation(matching.learned[matching.true])
    cosine[matching.true] = given.cosines[learned[matching.true], matching.true]
    return replace(given, matching=Matching(learned, cosine))


def mixture(
    given: Case, features: Int[np.ndarray, " m"], others: Int[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """How much each true feature's match holds of the feature's direction, and how much of the other's beside it.

    The coefficients of the least-squares decomposition of the match's unit direction into the two true unit directions.
    """
    true = torch.nn.functional.normalize(given.world.directions.double(), dim=1)
    match = given.directions[torch.from_numpy(given.matching.learned[features])].double()
    first, second = true[torch.from_numpy(features)], true[torch.from_numpy(others)]
    overlap, a, b = ((p * q).sum(1).numpy() for p, q in ((first, second), (match, first), (match, second)))
    rest = np.maximum(1 - overlap**2, 1e-9)
    return (a - overlap * b) / rest, (b - overlap * a) / rest


def share(parts: Float[np.ndarray, " n"], wholes: Float[np.ndarray, " n"] | None = None, seed: int = SEED) -> Estimate:
    """``Σ parts / Σ wholes`` (wholes: ones), with its interval by resampling the entries, which are features."""
    if len(parts) == 0:
        return Estimate()
    sums = {
        "part": np.asarray(parts, float),
        "whole": np.ones(len(parts)) if wholes is None else np.asarray(wholes, float),
    }

    def ratio(totals: Totals) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return {"share": totals["part"] / totals["whole"]}

    return bootstrap(sums, ratio, seed)["share"]
