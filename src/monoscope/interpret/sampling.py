"""Rows of a claim among the fit rows, and where it holds: exact while it is rare, a weighted sample beyond that."""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from monoscope.interpret.claims import AND, AND_NOT, FIRST, MOST_LITERALS, MOST_TOKENS, NONE, OR, TOKENS
from monoscope.interpret.evidence import Fit
from monoscope.ops.kernels import inner

SCANNED = 4_000  # rows looked at for each literal of a claim
KEPT = 1_500  # rows kept of a claim
PROPOSING, CHOOSING = np.bool_(True), np.bool_(False)  # rows; typed as ``claims.AND`` is
BUFFER = MOST_LITERALS * (SCANNED + MOST_TOKENS)


class Rows(NamedTuple):
    """Some fit rows, each standing for ``weights`` of them, and room to work in."""

    rows: np.ndarray
    weights: np.ndarray
    held: np.ndarray
    earlier: np.ndarray


@numba.njit(cache=True, nogil=True)
def room() -> Rows:
    """Room for the rows of a claim."""
    flags = np.empty(BUFFER, dtype=np.bool_), np.empty(BUFFER, dtype=np.bool_)
    return Rows(np.empty(BUFFER, dtype=np.int64), np.empty(BUFFER), *flags)


@inner
def literal_holds(fit: Fit, literal: int, members: np.ndarray, rows: np.ndarray, held: np.ndarray) -> None:
    """Write into ``held`` whether one literal holds on each of some fit rows."""
    if literal <= TOKENS:
        place, n = TOKENS - literal, 0
        while n < MOST_TOKENS and members[n] >= 0:
            n += 1
        for i in range(len(rows)):
            token = fit.tokens[rows[i], place]
            held[i] = False
            for k in range(n):
                held[i] |= members[k] == token
        return
    for i in range(len(rows)):
        low, end = fit.starts[rows[i]], fit.starts[rows[i] + 1]
        high = end
        while low < high:
            middle = (low + high) // 2
            if fit.listed[middle] < literal:
                low = middle + 1
            else:
                high = middle
        held[i] = low < end and fit.listed[low] == literal


@numba.njit(cache=True, nogil=True)
def holds(
    fit: Fit, literals: np.ndarray, joins: np.ndarray, sets: np.ndarray, rows: np.ndarray, held: np.ndarray,
    one: np.ndarray,
) -> None:  # fmt: skip
    """Write into ``held`` whether a claim holds on each of some fit rows; ``one`` is room of the same size."""
    literal_holds(fit, literals[0], sets[0], rows, held)
    for j in range(1, MOST_LITERALS):
        if literals[j] == NONE:
            break
        literal_holds(fit, literals[j], sets[j], rows, one)
        if joins[j] == OR:
            for i in range(len(rows)):
                held[i] |= one[i]
        else:
            for i in range(len(rows)):
                held[i] &= one[i] != (joins[j] == AND_NOT)


@inner
def _size(fit: Fit, literal: int, members: np.ndarray) -> float:
    """About how many fit rows a literal holds on."""
    if literal > NONE:
        return float((fit.row_starts[literal + 1] - fit.row_starts[literal]) * fit.stride[literal])
    size, place = 0.0, TOKENS - literal
    for token in members:
        if token >= 0:
            size += fit.token_starts[place, token + 1] - fit.token_starts[place, token]
    return size


@inner
def _sources(fit: Fit, literals: np.ndarray, joins: np.ndarray, sets: np.ndarray, used: np.ndarray) -> None:
    """The fewest literals one of which holds wherever the claim does: ``used[j]`` where literal ``j`` is one."""
    used[:] = False
    used[0] = True
    total = _size(fit, literals[0], sets[0])
    for j in range(1, MOST_LITERALS):
        if literals[j] == NONE:
            return
        size = _size(fit, literals[j], sets[j])
        if joins[j] == OR:
            used[j] = True
            total += size
        elif joins[j] == AND and size < total:
            used[:] = False
            used[j] = True
            total = size


@inner
def _list(
    proposing: np.ndarray, proposes: bool, listing: np.ndarray, step: int, weight: float, n: int, into: Rows
) -> int:
    """Add every ``step``-th row of ``listing`` that is on the right side."""
    for i in range(step // 2, len(listing), step):
        if proposing[listing[i]] == proposes:
            into.rows[n], into.weights[n] = listing[i], weight * step
            n += 1
    return n


@inner
def _list_literal(fit: Fit, literal: int, members: np.ndarray, proposes: bool, n: int, into: Rows) -> int:
    """Add the rows of a literal, or a sample of them."""
    if literal > NONE:
        listing = fit.rows_of[fit.row_starts[literal] : fit.row_starts[literal + 1]]
        step = max(1, -(-len(listing) // SCANNED))
        return _list(fit.proposes, proposes, listing, step, float(fit.stride[literal]), n, into)
    place = TOKENS - literal
    step = max(1, int(np.ceil(_size(fit, literal, members) / SCANNED)))
    for token in members:
        if token >= 0:
            listing = fit.token_rows[place, fit.token_starts[place, token] : fit.token_starts[place, token + 1]]
            n = _list(fit.proposes, proposes, listing, step, 1.0, n, into)
    return n


@numba.njit(cache=True, nogil=True)
def claimed(
    fit: Fit, literals: np.ndarray, joins: np.ndarray, sets: np.ndarray, proposes: bool, into: Rows
) -> tuple[int, float]:
    """Rows of a claim among those that propose (or choose): how many are kept in ``into``, and how many there are."""
    used = np.zeros(MOST_LITERALS, dtype=np.bool_)
    _sources(fit, literals, joins, sets, used)
    n = FIRST
    for j in range(MOST_LITERALS):
        if not used[j]:
            continue
        first = n
        listed = _list_literal(fit, literals[j], sets[j], proposes, first, into)
        rows, held, earlier = into.rows[first:listed], into.held[first:listed], into.earlier[first:listed]
        holds(fit, literals, joins, sets, rows, held, earlier)
        for k in range(j):  # a row that an earlier source has brought is not brought again
            if used[k]:
                literal_holds(fit, literals[k], sets[k], rows, earlier)
                for i in range(len(rows)):
                    held[i] &= not earlier[i]
        for i in range(first, listed):
            if into.held[i]:
                into.rows[n], into.weights[n] = into.rows[i], into.weights[i]
                n += 1
    step, kept = max(1, -(-n // KEPT)), 0
    total = into.weights[:n].sum()
    for i in range(0, n, step):
        into.rows[kept], into.weights[kept] = into.rows[i], into.weights[i] * step
        kept += 1
    return kept, total
