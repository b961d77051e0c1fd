"""From the index to what a record says of one feature."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Integer

from monoscope.catalogue.cofiring import CoFiring
from monoscope.catalogue.examples import Chooser
from monoscope.catalogue.index import FeatureIndex
from monoscope.catalogue.spool import Spool
from monoscope.catalogue.statistics import Summary, ascending, groups, summarise
from monoscope.catalogue.top_tokens import TokenCounter, Weighted
from monoscope.text.rows import Rows

CHUNK = 512  # features whose results are held at once


@dataclass(frozen=True)
class Folded:
    """One feature, folded. Examples are (rows, values) per group, from the largest value to the least."""

    feature: int
    n_active: int
    summary: Summary
    intervals: dict[str, tuple[float, float]]
    examples: dict[str, tuple[Integer[np.ndarray, " n"], Float[np.ndarray, " n"]]]
    by_mean: Weighted
    by_mass: Weighted
    cofiring: tuple[Integer[np.ndarray, " n"], Float[np.ndarray, " n"]]


class Folder:
    """Folds features of one index, on several threads: the work is in kernels and sorts that release the lock."""

    def __init__(self, index: FeatureIndex, spool: Spool, rows: Rows, seed: int) -> None:
        self._index = index
        self._chooser = Chooser.over(rows, seed)
        self._occurrences = np.bincount(self._chooser.tokens, minlength=1)
        self.cofiring = CoFiring(index, spool)
        self._local = threading.local()

    def fold(self, feature: int) -> Folded:
        """Everything that the postings of one feature say."""
        span = slice(self._index.offsets[feature], self._index.offsets[feature + 1])
        rows, stored = self._index.rows[span], self._index.values[span]
        values = stored.astype(np.float32)
        order = ascending(stored)
        chosen = self._chooser.choose(feature, rows, order)
        by_mean, by_mass = self._counter().top(rows, values)
        return Folded(
            feature,
            len(rows),
            summarise(values),
            {
                name: (float(values[order[first]]), float(values[order[last - 1]]))
                for name, (first, last) in groups(len(rows)).items()
                if last > first
            },
            {name: (rows[entries].astype(np.int64), values[entries]) for name, entries in chosen.items()},
            by_mean,
            by_mass,
            self.cofiring.strongest(feature),
        )

    def all(self) -> Iterator[Folded]:
        """Every feature in turn."""
        with ThreadPoolExecutor(torch.get_num_threads()) as pool:
            for first in range(0, len(self._index), CHUNK):
                yield from pool.map(self.fold, range(first, min(first + CHUNK, len(self._index))))

    def _counter(self) -> TokenCounter:
        if not hasattr(self._local, "counter"):
            self._local.counter = TokenCounter(self._chooser.tokens, self._occurrences)
        counter: TokenCounter = self._local.counter
        return counter
