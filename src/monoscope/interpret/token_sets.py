"""The set of at most ``MOST_TOKENS`` tokens that is worth most to a claim, by Dinkelbach's method (1967).

F1 of a claim is ``2 · true positives / (rows on + rows claimed)``, a ratio of sums over the tokens of the set. For a
guess λ of F1 the best set holds the tokens of largest positive ``2 · tp − λ · n``, and its F1 is the next guess. Tokens
at a place exclude each other, so that is exact.
"""

from __future__ import annotations

import numba
import numpy as np

from monoscope.interpret.claims import MOST_TOKENS


@numba.njit(cache=True, nogil=True)
def best_set(
    hits: np.ndarray, rows: np.ndarray, n: int, base_hits: float, base_rows: float, on: float, least: float,
    above: float, members: np.ndarray,
) -> float:  # fmt: skip
    """Write the best set into ``members`` (places in ``hits``, padded with -1); returns the F1 that it makes.

    Each of the first ``n`` tokens adds ``hits`` to the true positives ``base_hits`` and ``rows`` to the claimed
    ``base_rows`` (both may be negative: the claim excludes the token). A token has to add ``least`` to F1 to be worth
    being named. Only a set that makes more than ``above`` is of interest: where there is none, ``members`` holds none.
    One pass shows that, because what the best set gains at λ falls as λ rises.
    """
    f1 = max(above, 2.0 * base_hits / (on + base_rows))
    gains = np.empty(MOST_TOKENS)
    picked = np.empty(MOST_TOKENS, dtype=np.int64)
    for i in range(MOST_TOKENS):  # number by number: slices take Numba seconds to compile
        members[i] = -1
    while True:
        k = 0
        floor = least * (on + base_rows)
        for i in range(n):
            gain = 2.0 * hits[i] - f1 * rows[i]
            if gain <= floor or (k == MOST_TOKENS and gain <= gains[k - 1]):
                continue
            k = min(k + 1, MOST_TOKENS)
            place = k - 1
            while place > 0 and gains[place - 1] < gain:
                gains[place], picked[place] = gains[place - 1], picked[place - 1]
                place -= 1
            gains[place], picked[place] = gain, i
        new_hits, new_rows = base_hits, base_rows
        for i in range(k):
            new_hits += hits[picked[i]]
            new_rows += rows[picked[i]]
        better = 2.0 * new_hits / (on + new_rows)
        if better <= f1 + 1e-12:
            return f1
        f1 = better
        for i in range(MOST_TOKENS):
            members[i] = picked[i] if i < k else -1
