"""Encoding: from activations to codes, exactly, without ever holding dense codes of more than one block.

Two ways to choose what is active: the k largest (``topk``) or everything above a threshold (``above``). The product
runs in the machine's fastest precision and only *preselects*: every entry that rounding could have hidden is scored
again in fp32, one row at a time and always in the same order. So a row's code is the fp32 one, and cannot depend on its
neighbours: not by a single bit on a CPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from monoscope.ops import product
from monoscope.ops.kernels import inner, parallel
from monoscope.ops.topk import GROUPS, collect, group_maxima, kth_largest
from monoscope.ops.unchanging import Unchanging
from monoscope.types import Code


def reference_topk(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "n_features d"], bias: Float[Tensor, " n_features"], k: int
) -> Code:
    """``relu(topk(x @ weightᵀ + bias))``."""
    values, indices = torch.topk(x @ weight.T + bias, k, dim=1)
    return Code.from_rows(indices, values, len(weight))


def reference_above(
    x: Float[Tensor, "n d"],
    weight: Float[Tensor, "n_features d"],
    bias: Float[Tensor, " n_features"],
    threshold: Float[Tensor, " n_features"],
) -> Code:
    """Scores above ``threshold`` (≥ 0) keep their value, the others are 0."""
    scores = x @ weight.T + bias
    return Code.from_dense(torch.where(scores > threshold, scores, 0))


def topk(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "n_features d"], bias: Float[Tensor, " n_features"], k: int
) -> Code:
    """The k largest scores of each row, those above 0; ties go to the lower index. See the module's text."""
    if x.device.type != "cpu":
        return reference_topk(x, weight, bias, k)
    return _exact(x, weight, bias, None, k)


def above(
    x: Float[Tensor, "n d"],
    weight: Float[Tensor, "n_features d"],
    bias: Float[Tensor, " n_features"],
    threshold: Float[Tensor, " n_features"],
) -> Code:
    """The scores of each row that exceed their feature's threshold (≥ 0; all 0 is ReLU). See the module's text."""
    if x.device.type != "cpu":
        return reference_above(x, weight, bias, threshold)
    return _exact(x, weight, bias, threshold, 0)


class Gates(NamedTuple):
    """Features that do not look at one another: each is its score where that exceeds its threshold (≥ 0).

    What ``above`` takes after the rows.
    """

    weight: Float[Tensor, "n_features d"]
    bias: Float[Tensor, " n_features"]
    threshold: Float[Tensor, " n_features"]


class Few:
    """What ``above`` gives, as a dense matrix, for some features on a few rows; they will not change.

    One thread does it, which wakes no others: that would take longer, and after it they wait at full speed.
    """

    def __init__(self, gates: Gates, features: Sequence[int]) -> None:
        """Choose the features."""
        self._gates = Gates(*(part.detach()[list(features)].float().contiguous() for part in gates))
        keep(self._gates.weight, self._gates.bias)
        self._on_cpu = self._gates.weight.device.type == "cpu"
        self._ready = tuple(part.numpy() for part in self._gates) if self._on_cpu else ()

    def __call__(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n n_features"]:
        """The values of the features, in the order in which they were chosen; 0 where one is not active."""
        shape = len(x), len(self._gates.bias)
        if not self._on_cpu or shape[0] * shape[1] > FEW:
            return above(x, *self._gates).to_dense()
        out = np.zeros(shape, np.float32)
        _score_few(x.detach().float().contiguous().numpy(), *self._ready, out)
        return torch.from_numpy(out)


_KEPT: Unchanging[tuple[tuple[Tensor, Tensor], np.ndarray]] = Unchanging()


def keep(weight: Float[Tensor, "n_features d"], bias: Float[Tensor, " n_features"]) -> None:
    """These will not change: what ``topk`` and ``above`` make of them is made once, and kept while ``weight`` lives.

    That is most of what encoding a few rows costs. A change is noticed as ``ops.unchanging`` says. On other devices
    than the CPU there is nothing to keep.
    """
    if weight.device.type == "cpu":
        dtype = product.fastest()
        rounded = weight.detach().to(dtype), bias.detach().to(dtype)
        _KEPT.put((rounded, _rounding(weight.detach().float(), bias.detach().float(), dtype)), weight, bias)


def _made(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> tuple[tuple[Tensor, Tensor], np.ndarray]:
    """The operands of the product, and the bounds of its error."""
    if (kept := _KEPT.find(weight, bias)) is not None:
        return kept
    weight, bias = (t.detach().float().contiguous() for t in (weight, bias))
    return (weight, bias), _rounding(weight, bias, dtype)


def _exact(x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor | None, k: int) -> Code:
    dtype = product.fastest()
    if threshold is not None and 0 < len(x) * len(weight) <= FEW:
        return Code.from_dense(_every(x, weight, bias, threshold))
    operands_of_product, features = _made(weight, bias, dtype)
    x, weight, bias = (t.detach().float().contiguous() for t in (x, weight, bias))
    bits, shift = (torch.int16, 16) if dtype == torch.bfloat16 else (torch.int32, 0)
    cut = None if threshold is None else threshold.detach().float().contiguous().numpy()
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))]
    for first, scores in product.blocks(x, *operands_of_product, dtype):
        rows = x[first : first + len(scores)]
        rounded = rows.to(dtype).float()
        lengths = torch.stack([(rows - rounded).norm(dim=1), rounded.norm(dim=1)], 1).numpy()
        operands = (np.float32(UNIT[dtype]), lengths, features, rows.numpy(), weight.numpy(), bias.numpy())
        if cut is None:
            parts.append(_rescore_topk(scores.view(bits).numpy(), shift, *operands, k))
        else:
            parts.append(_rescore_above(scores.float().numpy(), *operands, cut))
    counts, indices, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    offsets = torch.zeros(len(x) + 1, dtype=torch.long)
    torch.cumsum(torch.from_numpy(counts), 0, out=offsets[1:])
    return Code(torch.from_numpy(indices), torch.from_numpy(values), offsets, len(weight))


def _every(x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor) -> Float[Tensor, "n n_features"]:
    """Every score as the preselected ones are computed, and 0 for those that do not exceed their threshold."""
    out = np.zeros((len(x), len(weight)), np.float32)
    _score_few(*(t.detach().float().contiguous().numpy() for t in (x, weight, bias, threshold)), out)
    return torch.from_numpy(out)


FEW = 1 << 12  # scores, of which preselecting some takes longer than computing all
UNIT = {torch.bfloat16: 2.0**-8, torch.float32: 2.0**-23}  # of the rounding of a result


def _rounding(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> np.ndarray:
    """What bounds a feature's error: its length with what summing in fp32 may lose, its lengths' rounding, its bias'.

    With x̃, w̃, b̃ the rounded operands, ``|x·w + b − (x̃·w̃ + b̃)| ≤ ‖x − x̃‖ ‖w‖ + ‖x̃‖ ‖w − w̃‖ + |b − b̃|``.
    """
    rounded = weight.to(dtype).float()
    length = weight.norm(dim=1) * 1.001
    summing = 2.0**-23 * weight.shape[1] * length
    lost = (bias - bias.to(dtype).float()).abs() + 2.0**-20 * bias.abs()
    return torch.stack([length, (weight - rounded).norm(dim=1) + summing, lost], 1).contiguous().numpy()


@njit(inline="always")
def _error(lengths, i, features, f):  # type: ignore[no-untyped-def]
    return lengths[i, 0] * features[f, 0] + lengths[i, 1] * features[f, 1] + features[f, 2]


@njit(inline="always")
def _score(x, i, weight, bias, f):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for j in range(weight.shape[1]):
        total += x[i, j] * weight[f, j]
    return total + bias[f]


@njit(cache=True, nogil=True)
def _pack(counts, kept, exact):  # type: ignore[no-untyped-def]
    """Rows of different lengths, one after the other."""
    total = counts.sum()
    indices = np.empty(total, np.int32)
    values = np.empty(total, np.float32)
    at = 0
    for i in range(len(counts)):
        for c in range(counts[i]):  # assigning slices would take twice as long to compile as all of this
            indices[at] = kept[i, c]
            values[at] = exact[i, c]
            at += 1
    return counts, indices, values


@njit(inline="always")
def keep_largest(places, values, found, k, kept, exact):  # type: ignore[no-untyped-def]
    """In kernels: write the k largest of ``values[:found]`` (ties: lowest index); returns how many."""
    while found > k:  # few are left over: dropping the smallest again and again beats sorting
        worst = 0
        for c in range(1, found):
            if values[c] < values[worst] or (values[c] == values[worst] and places[c] > places[worst]):
                worst = c
        found -= 1
        values[worst], places[worst] = values[found], places[found]
    for c in range(found):
        kept[c] = places[c]
        exact[c] = values[c]
    return found


@inner(fastmath={"contract", "reassoc"})
def _rescore_some(  # type: ignore[no-untyped-def]
    first, last, bits, shift, unit, lengths, features, largest, x, weight, bias, k, counts, kept, exact
):
    """Rows ``first`` to ``last``. Apart from the parallel loop, which takes several times as long to compile."""
    n_features = bits.shape[1]
    maxima = np.empty(GROUPS, bits.dtype)
    groups = np.empty(GROUPS + 1, np.int32)
    found = np.empty(n_features + 1, bits.dtype)
    places = np.empty(n_features + 1, np.int32)
    values = np.empty(n_features, np.float32)
    as_int = np.zeros(1, np.int32)
    as_float = as_int.view(np.float32)
    for i in range(first, last):
        worst = lengths[i, 0] * largest[0] + lengths[i, 1] * largest[1] + largest[2]
        top = group_maxima(bits[i], maxima)
        bound = kth_largest(maxima, GROUPS, k, 0, top) if top > 0 else 0
        floor = np.float32(0)  # no score below it can be among the k largest, nor, at the end, above 0
        if bound > 0:
            count = collect(bits[i], maxima, bound, groups, found, places)
            bound = kth_largest(found, count, k, bound, top)
            as_int[0] = np.int32(bound) << shift
            floor = as_float[0]
            for c in range(count):
                if found[c] >= bound:
                    as_int[0] = np.int32(found[c]) << shift
                    floor = min(floor, as_float[0] * (1 - unit) - _error(lengths, i, features, places[c]))
            floor = max(floor, np.float32(0))
        as_float[0] = (floor - worst) / (1 + unit)
        if as_float[0] > 0:
            count = collect(bits[i], maxima, as_int[0] >> shift, groups, found, places)
        else:  # rounded scores of either sign may do
            count = n_features
            for f in range(n_features):
                found[f] = bits[i, f]
                places[f] = f
        positive = 0
        for c in range(count):
            as_int[0] = np.int32(found[c]) << shift
            if as_float[0] + unit * abs(as_float[0]) + _error(lengths, i, features, places[c]) >= floor:
                score = _score(x, i, weight, bias, places[c])
                if score > 0:
                    places[positive] = places[c]
                    values[positive] = score
                    positive += 1
        counts[i] = keep_largest(places, values, positive, k, kept[i], exact[i])


@parallel()
def _rescore_rows(  # type: ignore[no-untyped-def]
    bits, shift, unit, lengths, features, largest, x, weight, bias, k, counts, kept, exact
):
    for block in prange((len(bits) + 31) // 32):
        some = (block * 32, min(len(bits), block * 32 + 32))
        _rescore_some(*some, bits, shift, unit, lengths, features, largest, x, weight, bias, k, counts, kept, exact)


def _rescore_topk(bits, shift, unit, lengths, features, x, weight, bias, k):  # type: ignore[no-untyped-def]
    n = len(bits)
    counts, kept, exact = np.empty(n, np.int64), np.empty((n, k), np.int32), np.empty((n, k), np.float32)
    found = (counts, kept, exact)
    _rescore_rows(bits, shift, unit, lengths, features, features.max(0), x, weight, bias, k, *found)
    return _pack(*found)


@parallel(fastmath={"contract", "reassoc"})
def _rescore_entries(  # type: ignore[no-untyped-def]
    scores, unit, lengths, features, x, weight, bias, threshold, counts, kept, exact
):
    n, n_features = scores.shape
    for i in prange(n):
        at = 0
        for f in range(n_features):
            rounded = scores[i, f]
            if rounded + unit * abs(rounded) + _error(lengths, i, features, f) > threshold[f]:
                score = _score(x, i, weight, bias, f)
                if score > threshold[f]:
                    kept[i, at] = f
                    exact[i, at] = score
                    at += 1
        counts[i] = at


def _rescore_above(scores, unit, lengths, features, x, weight, bias, threshold):  # type: ignore[no-untyped-def]
    n, n_features = scores.shape
    found = np.empty(n, np.int64), np.empty((n, n_features), np.int32), np.empty((n, n_features), np.float32)
    _rescore_entries(scores, unit, lengths, features, x, weight, bias, threshold, *found)
    return _pack(*found)


@njit(cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _score_few(x, weight, bias, threshold, out):  # type: ignore[no-untyped-def]
    for i in range(len(x)):
        for f in range(len(weight)):
            score = _score(x, i, weight, bias, f)
            if score > threshold[f]:
                out[i, f] = score
