"""Worlds from a few numbers: Zipf frequencies, trees, topics, directions in superposition."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.worlds.world import World

ROUNDS = 50  # of making the directions a tight frame
MOST_IN_TOPIC = 0.95  # the highest frequency in any one topic


@dataclass(frozen=True)
class Settings:
    """What a synthetic world is like. Features are numbered by rank: the most frequent first, trees level by level.

    The first ``n_trees`` features are roots, the next ``n_trees · branching`` their children, and so on to ``depth``
    levels below the roots; the rest stand alone. The feature of rank r is *meant* to fire in
    ``least + (most − least) · (r^−exponent − n^−exponent) / (1 − n^−exponent)`` of the rows. Children whose parents do
    not fire often enough for that fire less often: siblings together in the share ``covered`` of their parent's
    firings at most.

    ``exclusive`` is the share of families whose siblings never fire together. ``topics`` and ``tilt`` correlate the
    features without a parent: in each topic a feature's frequency is multiplied by ``exp(tilt · ε)``, scaled to a mean
    of 1. ``magnitudes`` run evenly from the first feature to the last; spreads are ``|normal|`` with mean and deviation
    ``spreads``. ``bias`` is the length of the constant part.
    """

    n_true: int
    d: int
    exponent: float
    most: float
    least: float
    n_trees: int = 0
    branching: int = 0
    depth: int = 0
    covered: float = 0.95
    exclusive: float = 1.0
    topics: int = 1
    tilt: float = 0.0
    magnitudes: tuple[float, float] = (1.0, 1.0)
    spreads: tuple[float, float] = (0.0, 0.0)
    follow: bool = False
    bias: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        in_trees = sum(self.n_trees * self.branching**level for level in range(self.depth + 1))
        if in_trees > self.n_true:
            raise MonoscopeError(
                f"the trees hold {in_trees:,} features, but the world has {self.n_true:,}",
                fix="choose fewer or smaller trees, or more features",
            )
        if not 0 < self.least <= self.most <= 1 or not 0 <= self.covered <= 1 or self.topics < 1:
            raise MonoscopeError(
                f"frequencies from {self.most} to {self.least}, covered {self.covered}, {self.topics} topics",
                fix="frequencies and covered are shares, the largest first; there is at least one topic",
            )


def build(settings: Settings, seed: int = 0) -> World:
    """The world of these settings; ``seed`` fixes directions, trees and topics, and the rows."""
    rng = np.random.default_rng((seed, 0x776F726C64))
    n = settings.n_true
    parents = trees(settings, rng)
    frequencies = thinned(zipf(settings), parents, settings.covered)
    bias = rng.standard_normal(settings.d)
    bias *= settings.bias / np.linalg.norm(bias)
    return World(
        frame(n, settings.d, rng),
        frequencies,
        parents=parents,
        exclusive=rng.random(n) < settings.exclusive,
        topics=tilted(frequencies, settings.topics, settings.tilt, rng),
        magnitude=np.linspace(*settings.magnitudes, n),
        spread=np.abs(rng.normal(*settings.spreads, n)),
        follow=settings.follow,
        bias=torch.from_numpy(bias),
        noise=settings.noise,
        seed=seed,
    )


def zipf(settings: Settings) -> Float[np.ndarray, " n"]:
    """The frequencies meant, by rank."""
    powers = np.arange(1.0, settings.n_true + 1) ** -settings.exponent
    scaled = (powers - powers[-1]) / (1 - powers[-1])
    return settings.least + (settings.most - settings.least) * scaled


def trees(settings: Settings, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Each feature's parent, or -1: level after level, the children of a level dealt to parents at random."""
    parents = np.full(settings.n_true, -1)
    first, width = 0, settings.n_trees
    for _ in range(settings.depth):
        below = width * settings.branching
        dealt = np.repeat(np.arange(first, first + width), settings.branching)
        parents[first + width : first + width + below] = rng.permutation(dealt)
        first, width = first + width, below
    return parents


def thinned(meant: Float[np.ndarray, " n"], parents: Int[np.ndarray, " n"], covered: float) -> Float[np.ndarray, " n"]:
    """The frequencies as they are: siblings that do not fit into ``covered`` of their parent shrink alike."""
    frequencies = meant.copy()
    order = np.argsort(parents, kind="stable")  # parents stand before children, so a parent is final when it is met
    order = order[parents[order] >= 0]
    for siblings in np.split(order, np.flatnonzero(np.diff(parents[order])) + 1):
        if len(siblings):
            room = covered * frequencies[parents[siblings[0]]]
            frequencies[siblings] *= min(1.0, room / frequencies[siblings].sum())
    return frequencies


def tilted(
    frequencies: Float[np.ndarray, " n"], topics: int, tilt: float, rng: np.random.Generator
) -> Float[np.ndarray, "topics n"]:
    """Frequencies by topic whose mean over topics is the frequency; tilts that would pass 0.95 are made weaker."""
    factors = np.exp(tilt * rng.standard_normal((topics, len(frequencies))))
    factors /= factors.mean(0)
    excess = np.maximum(factors.max(0) - 1, 1e-12)
    room = np.maximum(MOST_IN_TOPIC / frequencies - 1, 0)
    return frequencies * (1 + np.minimum(1, room / excess) * (factors - 1))


def frame(n: int, d: int, rng: np.random.Generator) -> Float[Tensor, "n d"]:
    """Unit vectors that overlap as little as they can on average: orthonormal if n ≤ d, else a unit tight frame.

    Alternating projections onto tight frames and unit rows; the squared cosines of all pairs then add up to
    ``n²/d − n``, the least possible (Welch 1974).
    """
    rows = torch.from_numpy(rng.standard_normal((n, d))).float()
    for _ in range(ROUNDS):
        rows = rows / rows.norm(dim=1, keepdim=True)
        gram, right = torch.linalg.eigh(rows.T @ rows if n > d else rows @ rows.T)
        whiten = right @ torch.diag(gram.clamp_min(1e-12).rsqrt()) @ right.T
        rows = rows @ whiten if n > d else whiten @ rows
    return rows / rows.norm(dim=1, keepdim=True)
