"""Examples as Towards Monosemanticity shows and scores them (Bricken et al. 2023, automated interpretability).

A feature's range from 0 to its maximum is cut into 13 intervals of equal width. Examples are its strongest places, some
from each of the 12 intervals below the highest, places drawn from all text, and tokens of the strongest places met
elsewhere ("out of context"). Each is 9 tokens around its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from monoscope.interpret.scorers._bench import TRIES, Bench, Drawn, Span

INTERVALS = 13
WIDTH = 9
TOP, ANY, ELSEWHERE = "top", "random", "out of context"


@dataclass(frozen=True)
class Layout:
    """How many examples of each kind."""

    top: int
    each: int
    any: int
    elsewhere: int


SCORED = Layout(top=6, each=2, any=10, elsewhere=20)


def spans(bench: Bench, feature: int, layout: Layout, rng: np.random.Generator) -> list[Span]:
    """A feature's examples, none overlapping another; fewer where an interval is empty, none where it is silent."""
    rows, values = bench.firings(feature)
    if len(rows) == 0:
        return []
    drawn = Drawn()
    strongest = rows[np.argsort(-values, kind="stable")]
    drawn.take(_windows(bench, strongest[: TRIES * layout.top], TOP), layout.top)
    places = [span.marks[0] for span in drawn.spans]
    for i, members in enumerate(_by_interval(rows, values)[:-1]):
        picked = rng.permutation(members)[: TRIES * layout.each]
        drawn.take(_windows(bench, picked, str(i + 1)), layout.each)
    drawn.take(_windows(bench, rng.choice(bench.places, TRIES * layout.any), ANY), layout.any)
    same = bench.places[np.isin(bench.tokens[bench.places], bench.tokens[places])]
    drawn.take(_windows(bench, rng.permutation(same)[: TRIES * layout.elsewhere], ELSEWHERE), layout.elsewhere)
    return drawn.spans


def interval_of(values: Float[np.ndarray, " n"], most: float) -> Int[np.ndarray, " n"]:
    """In which interval (1 … 13) each value lies; 0 for a value that is not above 0."""
    inside = np.ceil(values.astype(np.float64) / most * INTERVALS).clip(1, INTERVALS)
    return np.where(values > 0, inside, 0).astype(np.int64)


def importance(bench: Bench, feature: int, truth: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Weights under which the tokens asked about have the same distribution over intervals as all tokens of the split.

    The layout shows strong activations far more often than they occur. A token's weight is how many tokens of the split
    lie in its interval (or are silent), over how many of those asked about do.
    """
    rows, values = bench.firings(feature)
    most = float(values.max())
    everywhere = np.bincount(interval_of(values, most), minlength=INTERVALS + 1)
    everywhere[0] = len(bench.places) - len(rows)
    asked = interval_of(truth, most)
    weights: np.ndarray = everywhere[asked] / np.bincount(asked, minlength=INTERVALS + 1)[asked]
    return weights


def _by_interval(rows: Int[np.ndarray, " n"], values: Float[np.ndarray, " n"]) -> list[Int[np.ndarray, " m"]]:
    where = interval_of(values, float(values.max()))
    return [rows[where == i] for i in range(1, INTERVALS + 1)]


def _windows(bench: Bench, rows: Int[np.ndarray, " n"], group: str) -> Iterator[Span]:
    for row in rows.tolist():
        yield Span(*bench.window(row, WIDTH // 2, WIDTH), group=group, marks=(row,))
