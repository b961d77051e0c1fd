"""Encoding: from activations to codes, exactly, without ever holding dense codes of more than one block.

Two ways to choose what is active: the k largest (``topk``) or everything above a threshold (``above``). The product
runs in the machine's fastest precision and only *preselects*: every entry that rounding could have hidden is scored
again in fp32, one row at a time and always in the same order. So a row's code is the fp32 one, and cannot depend on its
neighbours: not by a single bit on a CPU.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numba import njit, prange
from torch import Tensor

from monoscope.ops import product
from monoscope.ops.topk import collect, group_maxima, group_size, kth_largest
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


def _exact(x: Tensor, weight: Tensor, bias: Tensor, threshold: Tensor | None, k: int) -> Code:
    x, weight, bias = (t.detach().float().contiguous() for t in (x, weight, bias))
    dtype = product.fastest()
    # |rounded − exact| ≤ (2u + u²) ‖x‖ ‖w‖ + u (|score| + |bias|): inputs and result are rounded to unit roundoff u
    unit = 2.0**-8 if dtype == torch.bfloat16 else 2.0**-20
    reach = weight.norm(dim=1).max().item() * 2.02 * unit
    parts = [(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.float32))]
    for first, scores in product.blocks(x, weight, bias, dtype):
        rows = x[first : first + len(scores)]
        margin = (rows.norm(dim=1) * reach + float(bias.abs().max()) * unit).numpy()
        operands = (margin, np.float32(unit), rows.numpy(), weight.numpy(), bias.numpy())
        if threshold is None:
            bits = scores.view(torch.int16 if dtype == torch.bfloat16 else torch.int32).numpy()
            done = _rescore_topk(bits, 16 if dtype == torch.bfloat16 else 0, *operands, k, group_size(len(weight), k))
        else:
            done = _rescore_above(scores.float().numpy(), *operands, threshold.detach().float().contiguous().numpy())
        parts.append(done)
    counts, indices, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    offsets = torch.zeros(len(x) + 1, dtype=torch.long)
    torch.cumsum(torch.from_numpy(counts), 0, out=offsets[1:])
    return Code(torch.from_numpy(indices), torch.from_numpy(values), offsets, len(weight))


@njit(inline="always")
def _score(x, i, weight, bias, f):  # type: ignore[no-untyped-def]
    total = np.float32(0)
    for j in range(weight.shape[1]):
        total += x[i, j] * weight[f, j]
    return total + bias[f]


@njit(inline="always")
def _pack(counts, kept, exact):  # type: ignore[no-untyped-def]
    """Rows of different lengths, one after the other."""
    total = counts.sum()
    indices = np.empty(total, np.int32)
    values = np.empty(total, np.float32)
    at = 0
    for i in range(len(counts)):
        indices[at : at + counts[i]] = kept[i, : counts[i]]
        values[at : at + counts[i]] = exact[i, : counts[i]]
        at += counts[i]
    return counts, indices, values


@njit(inline="always")
def _keep_largest(places, values, found, k, kept, exact):  # type: ignore[no-untyped-def]
    """Write the k largest of ``values[:found]`` (ties: lowest index); returns how many."""
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


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _rescore_topk(bits, shift, margins, unit, x, weight, bias, k, group):  # type: ignore[no-untyped-def]
    n, n_features = bits.shape
    counts = np.zeros(n, np.int64)
    kept = np.empty((n, k), np.int32)
    exact = np.empty((n, k), np.float32)
    n_groups = n_features // group
    for block in prange((n + 31) // 32):
        maxima = np.empty(n_groups, bits.dtype)
        found = np.empty(n_features, bits.dtype)
        places = np.empty(n_features, np.int32)
        values = np.empty(n_features, np.float32)
        as_int = np.zeros(1, np.int32)
        as_float = as_int.view(np.float32)
        for i in range(block * 32, min(n, block * 32 + 32)):
            top = group_maxima(bits[i], maxima, n_groups)
            bound = kth_largest(maxima, n_groups, k, top) if top > 0 else 0
            if bound > 0:
                bound = kth_largest(found, collect(bits[i], maxima, n_groups, bound, found, places), k, top)
            as_int[0] = np.int32(bound) << shift
            # a rounded score below this floor can neither be among the k largest nor, at the end, above 0
            floor = as_float[0] - np.float32(2.01) * (margins[i] + unit * as_float[0])
            count = 0
            if floor > 0:
                as_float[0] = floor
                count = collect(bits[i], maxima, n_groups, as_int[0] >> shift, found, places)
            else:
                as_float[0] = -floor
                lowest = (
                    -(as_int[0] >> shift) - 1
                )  # negative floats order backwards: their magnitude is in the low bits
                magnitude = ~(np.int32(-1) << (31 - shift))
                for f in range(n_features):
                    if bits[i, f] >= 0 or -(bits[i, f] & magnitude) >= lowest:
                        places[count] = f
                        count += 1
            positive = 0
            for c in range(count):
                score = _score(x, i, weight, bias, places[c])
                if score > 0:
                    places[positive] = places[c]
                    values[positive] = score
                    positive += 1
            counts[i] = _keep_largest(places, values, positive, k, kept[i], exact[i])
    return _pack(counts, kept, exact)


@njit(parallel=True, cache=True, nogil=True, fastmath={"contract", "reassoc"})
def _rescore_above(scores, margins, unit, x, weight, bias, threshold):  # type: ignore[no-untyped-def]
    n, n_features = scores.shape
    counts = np.zeros(n, np.int64)
    kept = np.empty((n, n_features), np.int32)
    exact = np.empty((n, n_features), np.float32)
    for i in prange(n):
        at = 0
        for f in range(n_features):
            rounded = scores[i, f]
            if rounded + unit * abs(rounded) + margins[i] > threshold[f]:
                score = _score(x, i, weight, bias, f)
                if score > threshold[f]:
                    kept[i, at] = f
                    exact[i, at] = score
                    at += 1
        counts[i] = at
    return _pack(counts, kept, exact)
