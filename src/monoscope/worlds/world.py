"""A world of sparse causes: rows ``x = Σ a_i d_i + bias + noise`` together with the ``a_i`` that made them.

What fires in a row:

* The row has one of ``n_topics`` topics, each as likely as the others. Features without a parent fire independently
  given the topic, each at its frequency in that topic: features that share topics fire together more often than chance,
  others less often. The correlation between features so has a rank below ``n_topics``.
* A feature with a parent fires only where the parent does, there with the share ``frequency / parent's frequency``.
  The children of an *exclusive* parent never fire together; those of another fire independently, given the parent.

So every feature's frequency is exact, and is what ``frequencies`` says. Firing features are found by skipping from one
to the next, so the work goes with how many fire and not with how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numba import njit
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.ops import weighted_rows
from monoscope.types import Activations, Code

BLOCK = 4096  # rows of a block
HELD_OUT = 1 << 40  # blocks from this one on are for judging; no training reads them
SITE = "x"
Rows = tuple[Float[Tensor, "n d"], Code]


class World:
    """True features and how they fire. Block ``i`` of the same world has the same rows every time.

    Args:
        directions: what each feature writes, ``(n_true, d)``.
        frequencies: the share of rows in which each feature fires.
        parents: each feature's parent, or -1; a parent stands before its children.
        exclusive: whether the feature's children never fire together.
        topics: the frequency of each feature in each topic, ``(n_topics, n_true)``; only columns of features without
            a parent are read, and their means are the frequencies. None: one topic.
        magnitude, spread: a firing feature's value is ``|magnitude + spread · ε|`` with ε standard normal.
        follow: multiply a child's value by its parent's value over the parent's ``magnitude``.
        bias: added to every row; None: nothing.
        noise: standard deviation of the normal noise on each number.
        seed: of the rows.

    Raises:
        MonoscopeError: a child more frequent than its parent, exclusive children that do not fit into their parent's
            firings, topics that do not average to the frequencies.
    """

    def __init__(
        self,
        directions: Float[Tensor, "n_true d"],
        frequencies: Float[np.ndarray, " n_true"],
        *,
        parents: Int[np.ndarray, " n_true"] | None = None,
        exclusive: Bool[np.ndarray, " n_true"] | None = None,
        topics: Float[np.ndarray, "n_topics n_true"] | None = None,
        magnitude: Float[np.ndarray, " n_true"] | float = 1.0,
        spread: Float[np.ndarray, " n_true"] | float = 0.0,
        follow: bool = False,
        bias: Float[Tensor, " d"] | None = None,
        noise: float = 0.0,
        seed: int = 0,
    ) -> None:
        n, self.d = directions.shape
        self.n_true, self.seed, self.noise, self.follow = n, seed, noise, follow
        self.directions = directions.float().contiguous()
        self.frequencies = np.asarray(frequencies, np.float64)
        self.parents = np.full(n, -1) if parents is None else np.asarray(parents, np.int64)
        self.exclusive = np.zeros(n, bool) if exclusive is None else np.asarray(exclusive, bool)
        self.topics = self.frequencies[None] if topics is None else np.asarray(topics, np.float64)
        self.magnitude = np.broadcast_to(np.asarray(magnitude, np.float64), n).copy()
        self.spread = np.broadcast_to(np.asarray(spread, np.float64), n).copy()
        self.bias = torch.zeros(self.d) if bias is None else bias.float()
        self._families = _families(self.parents, self.frequencies, self.exclusive)
        self._draw = _draw_order(self.topics, self.parents < 0, self.frequencies)

    @property
    def l0(self) -> float:
        """How many features fire in a row, on average."""
        return float(self.frequencies.sum())

    def block(self, index: int) -> Rows:
        """``BLOCK`` rows and their true code."""
        rng = np.random.default_rng((self.seed, index))
        sampled = _sample(
            rng, BLOCK, *self._draw, *self._families, self.exclusive, self.magnitude, self.spread, self.follow
        )
        indices, values, offsets = (torch.from_numpy(part) for part in sampled)
        code = Code(indices, values, offsets, self.n_true)
        x = weighted_rows.gather(code, self.directions) + self.bias
        if self.noise:
            x += torch.from_numpy(rng.standard_normal((BLOCK, self.d), np.float32)).mul_(self.noise)
        return x, code

    def blocks(self, start: int = 0) -> Iterator[Float[Tensor, "n d"]]:
        """The rows of block ``start`` and of all that follow, without end."""
        while True:
            yield self.block(start)[0]
            start += 1

    def rows(self, n: int, start: int = HELD_OUT) -> Rows:
        """The first ``n`` rows from block ``start`` on, and their true code; by default rows for judging."""
        parts = [self.block(start + i) for i in range(-(-n // BLOCK))]
        codes = [code for _, code in parts]
        before = np.cumsum([0, *(len(code.indices) for code in codes)])
        offsets = [code.offsets[:-1] + first for code, first in zip(codes, before[:-1], strict=True)]
        joined = Code(
            torch.cat([code.indices for code in codes]),
            torch.cat([code.values for code in codes]),
            torch.cat([*offsets, torch.tensor([before[-1]])]),
            self.n_true,
        )
        return torch.cat([x for x, _ in parts])[:n], joined[:n]

    def ancestors(self) -> list[list[int]]:
        """Each feature's parent, its parent's parent and so on."""
        found: list[list[int]] = []
        for parent in self.parents.tolist():
            found.append([] if parent < 0 else [parent, *found[parent]])
        return found


@dataclass(frozen=True)
class Source:
    """``n_blocks`` blocks of a world as a ``RowSource``, so that training can be resumed; ``SITE`` names the rows."""

    world: World
    n_blocks: int
    start: int = 0

    @property
    def counts(self) -> list[int]:
        """Rows of each block."""
        return [BLOCK] * self.n_blocks

    @property
    def widths(self) -> dict[str, int]:
        """The width of the rows."""
        return {SITE: self.world.d}

    def chunk(self, index: int) -> Activations:
        """One block; ``documents`` number the blocks."""
        x, _ = self.world.block(self.start + index)
        return Activations({SITE: x}, torch.full((len(x),), self.start + index), torch.arange(len(x)))


def _families(
    parents: Int[np.ndarray, " n"], frequencies: Float[np.ndarray, " n"], exclusive: Bool[np.ndarray, " n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Children by parent: where each parent's begin, which they are, how often each fires where its parent does."""
    n = len(parents)
    if (parents >= np.arange(n)).any():
        raise MonoscopeError("a feature stands before its parent", fix="number parents before their children")
    children = np.argsort(parents, kind="stable")[np.count_nonzero(parents < 0) :]
    starts = np.searchsorted(parents[children], np.arange(n + 1))
    shares = frequencies[children] / np.maximum(frequencies[parents[children]], np.finfo(float).tiny)
    total = np.bincount(parents[children], shares, n)
    if (shares > 1 + 1e-9).any() or (total[exclusive] > 1 + 1e-9).any():
        raise MonoscopeError(
            "children fire more often than their parent lets them",
            fix="lower their frequencies: each at most the parent's, and all of an exclusive parent's together too",
        )
    return starts, children, shares


def _draw_order(
    topics: Float[np.ndarray, "n_topics n"], roots: Bool[np.ndarray, " n"], frequencies: Float[np.ndarray, " n"]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each topic: the features without a parent, most frequent first, their frequencies and mean waits."""
    which = np.flatnonzero(roots & (frequencies > 0))
    found = topics[:, which]
    if not np.allclose(found.mean(0), frequencies[which], rtol=1e-6) or found.min(initial=0) < 0 or found.max() > 1:
        raise MonoscopeError(
            "the topics' frequencies do not average to the features'", fix="give shares between 0 and 1 of that mean"
        )
    order = np.argsort(-found, axis=1, kind="stable")
    sorted_ = np.take_along_axis(found, order, 1)
    with np.errstate(divide="ignore"):
        waits = np.where(sorted_ > 0, -1 / np.log1p(-sorted_), np.inf)
    return which[order], sorted_, waits


@njit(cache=True, nogil=True)
def _sample(  # type: ignore[no-untyped-def]
    rng, n_rows, order, chance, waits, starts, children, shares, exclusive, magnitude, spread, follow
):
    """Indices, values and offsets of ``n_rows`` rows."""
    n_topics, n_top = order.shape
    n_true = len(magnitude)
    indices, values = np.empty(16 * n_rows + n_true, np.int32), np.empty(16 * n_rows + n_true, np.float32)
    offsets = np.zeros(n_rows + 1, np.int64)
    at = 0
    for row in range(n_rows):
        if at + n_true > len(indices):  # room for whatever this row may hold
            indices = np.concatenate((indices, np.empty(len(indices), np.int32)))
            values = np.concatenate((values, np.empty(len(values), np.float32)))
        topic = int(rng.random() * n_topics)
        place, bound = 0, 0  # chances fall along the order, so the last one seen bounds all that follow
        while place < n_top:
            step = rng.standard_exponential() * waits[topic, bound]
            if step >= n_top - place:
                break
            place += int(step)
            if rng.random() * chance[topic, bound] < chance[topic, place]:
                feature = order[topic, place]
                indices[at] = feature
                values[at] = abs(magnitude[feature] + spread[feature] * rng.standard_normal())
                at += 1
            bound = place
            place += 1
        cursor = offsets[row]
        while cursor < at:  # the row is its own queue: children are put at its end
            parent = indices[cursor]
            alone = exclusive[parent]
            left = rng.random() if alone else 0.0
            for c in range(starts[parent], starts[parent + 1]):
                left = left - shares[c] if alone else rng.random() - shares[c]
                if left < 0:
                    child = children[c]
                    value = abs(magnitude[child] + spread[child] * rng.standard_normal())
                    indices[at] = child
                    values[at] = value * values[cursor] / magnitude[parent] if follow else value
                    at += 1
                    if alone:
                        break
            cursor += 1
        offsets[row + 1] = at
    return indices[:at].copy(), values[:at].copy(), offsets
