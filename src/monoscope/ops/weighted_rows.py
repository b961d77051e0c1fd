"""The four products that a sparse code needs; none of them makes the code dense.

For a code ``c`` (rows × features), a matrix ``w`` with a row per feature and a matrix ``x`` with a row per token:

* ``gather``:   ``out[row] = Σ value · w[feature]``            (decoding)
* ``dots``:     ``out[entry] = x[row] · w[feature]``           (gradient of the values)
* ``scatter``:  ``out[feature] = Σ value · x[row]``            (gradient of the weights)
* ``sums``:     ``out[feature] = Σ value``                     (gradient of a bias)
"""

from __future__ import annotations

import numba
import numpy as np
import torch
from jaxtyping import Float, Int
from numba import njit, prange
from torch import Tensor

from monoscope.ops import devices
from monoscope.ops.kernels import inner, parallel
from monoscope.ops.quicker import quickest
from monoscope.ops.room import room
from monoscope.ops.transpose import ByFeature
from monoscope.types import Code

PARTS = 64  # that features are taken in, side by side
# A feature's rows lie apart. Packed to a block of columns they are found in a core's own cache: where the shared one is
# far from the cores that is worth the packing, if the rows are used often enough.
PACKED = 1_600_000  # bytes of a block
NARROWEST = 32  # columns in it
MANY = 8  # entries of a feature


def _numba(*tensors: Tensor) -> bool:
    return all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)


def reference_gather(code: Code, w: Float[Tensor, "n_features d"]) -> Float[Tensor, "n d"]:
    """``code.to_dense() @ w``."""
    return code.to_dense() @ w


def gather(code: Code, w: Float[Tensor, "n_features d"]) -> Float[Tensor, "n d"]:
    """The rows of ``w`` that each row of the code names, weighted and added up."""
    if devices.on_cuda(w, code.values):
        from monoscope.ops.triton_kernels import weighted_rows

        return weighted_rows.gather(code, w)
    if not _numba(w, code.values):
        flat = torch.nn.functional.embedding_bag(
            code.indices.long(), w, code.offsets[:-1], mode="sum", per_sample_weights=code.values.to(w.dtype)
        )
        return flat
    out = np.zeros((len(code), w.shape[1]), np.float32)
    _gather(code.indices.numpy(), code.values.numpy(), code.offsets.numpy(), w.contiguous().numpy(), out)
    return torch.from_numpy(out)


def reference_dots(code: Code, x: Float[Tensor, "n d"], w: Float[Tensor, "n_features d"]) -> Float[Tensor, " n_active"]:
    """The entries of ``x @ wᵀ`` at the code's places."""
    return (x[code.rows()] * w[code.indices.long()]).sum(1)


def dots(code: Code, x: Float[Tensor, "n d"], w: Float[Tensor, "n_features d"]) -> Float[Tensor, " n_active"]:
    """For every entry, the inner product of its row of ``x`` with its feature's row of ``w``."""
    if devices.on_cuda(x, w):
        from monoscope.ops.triton_kernels import weighted_rows

        return weighted_rows.dots(code, x, w)
    if not _numba(x, w):
        return reference_dots(code, x, w)
    out = np.empty(len(code.indices), np.float32)
    _dots(code.indices.numpy(), code.offsets.numpy(), x.contiguous().numpy(), w.contiguous().numpy(), out)
    return torch.from_numpy(out)


def reference_scatter(
    by: ByFeature, values: Float[Tensor, " n_active"], x: Float[Tensor, "n d"]
) -> Float[Tensor, "n_features d"]:
    """The same by ``index_add``."""
    features = torch.repeat_interleave(torch.arange(len(by.offsets) - 1, device=x.device), by.offsets.diff())
    out = x.new_zeros(len(by.offsets) - 1, x.shape[1])
    return out.index_add_(0, features, values[by.entries, None] * x[by.rows])


def scatter(
    by: ByFeature, values: Float[Tensor, " n_active"], x: Float[Tensor, "n d"]
) -> Float[Tensor, "n_features d"]:
    """For every feature, the rows of ``x`` on which it is active, weighted by ``values`` (in code order), summed."""
    if devices.on_cuda(x, values):
        from monoscope.ops.triton_kernels import weighted_rows

        return weighted_rows.scatter(by, values, x)
    if not _numba(x, values):
        return reference_scatter(by, values, x)
    out = room(len(by.offsets) - 1, x.shape[1])
    arrays = [t.contiguous().numpy() for t in (by.offsets, by.rows, by.entries, values, x, out)]
    threads, density = numba.get_num_threads(), len(values) // max(1, len(out))
    blocks = _blocks(len(x), x.shape[1], density, threads)
    sizes = (n.bit_length() for n in (*x.shape, len(out), density))  # nearly alike counts as one, or few are tried
    quickest(
        ("scatter", *sizes, threads),
        (False, True) if blocks > 1 else (False,),
        lambda packed: _scatter(*arrays, *_packing(x, blocks if packed else 1, threads)),
    )
    return out


def _packing(x: Tensor, blocks: int, threads: int) -> tuple[int, np.ndarray]:
    """``blocks``, and room for a block for each of the threads; for one block there is none."""
    if blocks == 1:
        return 1, np.empty((0, 0), np.float32)
    return blocks, room(threads, len(x) * -(-x.shape[1] // blocks)).numpy()


def _blocks(n: int, width: int, entries: int, threads: int) -> int:
    """Into how many blocks of columns ``x`` might well be taken apart, as many for each thread; 1: it had better not.

    ``entries``: of a feature.
    """
    blocks = -(-n * width * 4 // (PACKED * threads)) * threads
    small = n * width * 4 <= PACKED or width < blocks * NARROWEST
    return 1 if small or entries < MANY else blocks


def reference_sums(by: ByFeature, values: Float[Tensor, " n_active"]) -> Float[Tensor, " n_features"]:
    """The same by differences of a running sum."""
    running = torch.cat([values.new_zeros(1, dtype=torch.float64), values[by.entries].double().cumsum(0)])
    return (running[by.offsets[1:]] - running[by.offsets[:-1]]).to(values.dtype)


def sums(by: ByFeature, values: Float[Tensor, " n_active"]) -> Float[Tensor, " n_features"]:
    """For every feature, the sum of ``values`` (in code order) over its entries."""
    if not _numba(values):
        return reference_sums(by, values)
    out = np.empty(len(by.offsets) - 1, np.float32)
    _sums(by.offsets.numpy(), by.entries.numpy(), values.contiguous().numpy(), out)
    return torch.from_numpy(out)


def add_up(sums: Float[Tensor, " n_features"], indices: Int[Tensor, " n"], values: Float[Tensor, " n"]) -> None:
    """Add to every feature's sum (fp64) the ``values`` that are its own: for entries in pieces, in their order."""
    if _numba(values):
        _add_up(sums.numpy(), indices.numpy(), values.contiguous().numpy())
    else:
        sums.index_add_(0, indices, values.to(sums.dtype))


@njit(inline="always")
def _add4(out, i, a, va, b, vb, c, vc, d, vd, w):  # type: ignore[no-untyped-def]
    # four rows at once: one read and one write of the sum for four reads of w
    for j in range(w.shape[1]):
        out[i, j] += va * w[a, j] + vb * w[b, j] + vc * w[c, j] + vd * w[d, j]


@parallel(fastmath={"contract"})
def _gather(indices, values, offsets, w, out):  # type: ignore[no-untyped-def]
    for i in prange(len(offsets) - 1):
        e, last = offsets[i], offsets[i + 1]
        while e + 4 <= last:
            _add4(
                out, i, indices[e], values[e], indices[e + 1], values[e + 1],
                indices[e + 2], values[e + 2], indices[e + 3], values[e + 3], w,
            )  # fmt: skip
            e += 4
        while e < last:
            f, v = indices[e], values[e]
            for j in range(w.shape[1]):
                out[i, j] += v * w[f, j]
            e += 1


@parallel(fastmath={"contract", "reassoc"})
def _dots(indices, offsets, x, w, out):  # type: ignore[no-untyped-def]
    for i in prange(len(offsets) - 1):
        for e in range(offsets[i], offsets[i + 1]):
            f = indices[e]
            total = np.float32(0)
            for j in range(w.shape[1]):
                total += x[i, j] * w[f, j]
            out[e] = total


@njit(inline="always")
def weighted(out, places, weights, count, w):  # type: ignore[no-untyped-def]
    """In kernels: ``out[:] = Σ weights[e] · w[places[e]]`` of the first ``count``."""
    out[:] = 0
    e = 0
    # four rows at once: one read and one write of the sum for four reads of w
    while e + 4 <= count:
        a, b, c, d = w[places[e]], w[places[e + 1]], w[places[e + 2]], w[places[e + 3]]
        va, vb, vc, vd = weights[e], weights[e + 1], weights[e + 2], weights[e + 3]
        for j in range(len(out)):
            out[j] += va * a[j] + vb * b[j] + vc * c[j] + vd * d[j]
        e += 4
    while e < count:
        a, va = w[places[e]], weights[e]
        for j in range(len(out)):
            out[j] += va * a[j]
        e += 1


@inner(fastmath={"contract"})
def _scatter_some(first, last, low, high, offsets, rows, entries, values, x, out):  # type: ignore[no-untyped-def]
    # columns low to high of out, which are all that x has
    longest = 0
    for f in range(first, last):
        longest = max(longest, offsets[f + 1] - offsets[f])
    places, weights = np.empty(longest + 1, np.int32), np.empty(longest + 1, np.float32)
    for f in range(first, last):
        count = 0
        for e in range(offsets[f], offsets[f + 1]):
            places[count] = rows[e]
            weights[count] = values[entries[e]]
            count += weights[count] != 0  # what is 0 is passed over: of penalty methods many entries are
        weighted(out[f, low:high], places, weights, count, x)


@inner
def _scatter_blocks(turn, turns, blocks, space, offsets, rows, entries, values, x, out):  # type: ignore[no-untyped-def]
    for block in range(turn * blocks // turns, (turn + 1) * blocks // turns):
        low, high = block * x.shape[1] // blocks, (block + 1) * x.shape[1] // blocks
        packed = space[turn, : len(x) * (high - low)].reshape(len(x), high - low)
        for i in range(len(x)):
            for j in range(high - low):
                packed[i, j] = x[i, low + j]
        _scatter_some(0, len(offsets) - 1, low, high, offsets, rows, entries, values, packed, out)


@inner
def _scatter_part(part, offsets, rows, entries, values, x, out):  # type: ignore[no-untyped-def]
    # about as many entries in each, for features differ in how many they have
    n = len(offsets) - 1
    first = np.searchsorted(offsets[:n], part * offsets[n] // PARTS) if part else 0
    last = np.searchsorted(offsets[:n], (part + 1) * offsets[n] // PARTS) if part + 1 < PARTS else n
    _scatter_some(first, last, 0, x.shape[1], offsets, rows, entries, values, x, out)


@parallel()
def _scatter(offsets, rows, entries, values, x, out, blocks, space):  # type: ignore[no-untyped-def]
    # what is done lies outside of the loop: what that holds takes several times as long to compile
    tasks = max(len(space), PARTS * (len(space) == 0))
    for task in prange(tasks):
        if len(space):
            _scatter_blocks(task, tasks, blocks, space, offsets, rows, entries, values, x, out)
        else:
            _scatter_part(task, offsets, rows, entries, values, x, out)


@parallel()
def _sums(offsets, entries, values, out):  # type: ignore[no-untyped-def]
    for f in prange(len(offsets) - 1):
        total = 0.0
        for e in range(offsets[f], offsets[f + 1]):
            total += values[entries[e]]
        out[f] = total


@njit(cache=True, nogil=True)
def _add_up(sums, indices, values):  # type: ignore[no-untyped-def]
    for e in range(len(indices)):
        sums[indices[e]] += values[e]
