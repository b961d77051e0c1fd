"""What a label claims, in numbers: at most three literals, joined from left to right.

A literal is a concept or a set of tokens at a place (``concepts.PLACES``). The second joins the first by *and*,
*and not* or *or*, the third joins what they make: ``(a & b) | c``, ``(a | b) & ~c``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

MOST_LITERALS = 3
MOST_TOKENS = 8
AND, AND_NOT, OR = np.int64(0), np.int64(1), np.int64(2)  # Numba compiles anew for every plain number it is given
FIRST: Any = np.int64(0)  # of several; typed for the same reason
NONE = -1  # in place of a literal
TOKENS = -2  # the literal of a set of tokens; a set at place ``p`` is ``TOKENS - p``


class Claims(NamedTuple):
    """``n`` claims, each with the threshold at which its feature counts as on.

    ``literals[i, j]`` is a concept's number, ``TOKENS - place`` or ``NONE``; ``joins[i, j]`` says how it joins the ones
    before it (``AND`` for the first); ``sets[i, j]`` are the spellings of a set, padded with -1.
    """

    literals: Int[np.ndarray, "n most_literals"]
    joins: Int[np.ndarray, "n most_literals"]
    sets: Int[np.ndarray, "n most_literals most_tokens"]
    bucket: Int[np.ndarray, " n"]

    def only(self, kept: Int[np.ndarray, " n_kept"]) -> Claims:
        """Some of the claims."""
        return Claims(self.literals[kept], self.joins[kept], self.sets[kept], self.bucket[kept])


def no_claims(n: int) -> Claims:
    """``n`` claims that hold nowhere."""
    shape = (n, MOST_LITERALS)
    return Claims(
        np.full(shape, NONE, dtype=np.int64),
        np.zeros(shape, dtype=np.int64),
        np.full((*shape, MOST_TOKENS), -1, dtype=np.int64),
        np.zeros(n, dtype=np.int64),
    )


def token_claims(tokens: Int[np.ndarray, "n most_tokens"], bucket: Int[np.ndarray, " n"]) -> Claims:
    """One claim per row of ``tokens``: the token is one of them."""
    claims = no_claims(len(tokens))
    claims.literals[:, 0] = TOKENS
    claims.sets[:, 0] = tokens
    return claims._replace(bucket=bucket.astype(np.int64))


def chosen(of_each: Sequence[Claims], choice: Int[np.ndarray, " n"]) -> Claims:
    """Claim ``i`` of ``of_each[choice[i]]``, for every ``i``."""
    each = np.arange(len(choice))
    literals, joins, sets, bucket = (np.stack(part)[choice, each] for part in zip(*of_each, strict=True))
    return Claims(literals, joins, sets, bucket)
