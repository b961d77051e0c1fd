"""The encoder's product and what it selects: scores live in registers, and only those above a floor are written.

A program makes a tile of scores with matrix units and appends those that exceed their row's floor to the row's
candidates. A floor for the k largest comes from a sample of the features: the k-th largest score of some is not above
that of all. Where a floor proves too high after all, or a row has more candidates than there was room for, the product
is made again. So what is selected is exact.

Atomic counters place candidates in any order. Sorting them by column afterwards makes the result the same every time.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.ops.triton_kernels.launch import INTERPRETED, WIDEST, launch, warps

SHARE = 8  # of that many features, one is in the sample; so a row has about so many times k candidates
MOST = 8192  # candidates of one row that a program can sort
TILE = {torch.bfloat16: (128, 128, 64), torch.float32: (64, 128, 32)}  # rows, features, depth
CHUNK = 64  # entries of a row that are put in order at once
TOGETHER = 8  # tiles of rows whose programs run side by side: they read the same weights

Selected = tuple[Int[Tensor, " n_plus_1"], Int[Tensor, " m"], Float[Tensor, " m"]]  # offsets of rows, columns, values


def topk(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "n_features d"], bias: Float[Tensor, " n_features"],
    k: int, dtype: torch.dtype,
) -> Selected | None:  # fmt: skip
    """Each row's k largest positive scores; None: a row has too many candidates."""
    operands = x.to(dtype).contiguous(), weight.to(dtype).contiguous(), bias.float().contiguous()
    return _select(*operands, _floors(*operands, k), k, k, room=16 * k)


def above(
    x: Float[Tensor, "n d"], weight: Float[Tensor, "n_features d"], bias: Float[Tensor, " n_features"],
    floor: float, k: int, dtype: torch.dtype,
) -> Selected | None:  # fmt: skip
    """The same of the scores that exceed ``floor`` ≥ 0, of which about ``k`` a row are expected."""
    floors = torch.full((len(x),), floor, dtype=torch.float32, device=x.device)
    operands = x.to(dtype).contiguous(), weight.to(dtype).contiguous(), bias.float().contiguous()
    return _select(*operands, floors, 0, MOST, room=16 * k)


def _floors(x: Tensor, weight: Tensor, bias: Tensor, k: int) -> Float[Tensor, " n"]:
    """A number for each row that at least k of its scores exceed, or 0 where a sample does not tell."""
    floors = torch.zeros(len(x), dtype=torch.float32, device=x.device)
    stride = max(SHARE, triton.cdiv(len(weight), WIDEST))
    if len(weight) < 2 * stride * k:
        return floors
    scores = torch.addmm(bias[::stride].to(x.dtype), x, weight[::stride].T)
    width, rows = _tile(scores.shape[1])
    constants = {"ROWS": rows, "WIDTH": width, "num_warps": warps(rows * width)}
    launch(_kth_of_rows, (triton.cdiv(len(x), rows),), scores, floors, *scores.shape, k, **constants)
    return floors.mul_(1 - 2.0**-6)  # so that two ways of rounding a score do not matter


def _tile(width: int) -> tuple[int, int]:
    """How wide the rows of a program are that holds whole ones, and how many it holds."""
    padded = triton.next_power_of_2(width)
    return padded, max(1, min(8, 4096 // padded))


def _select(
    x: Tensor, weight: Tensor, bias: Tensor, floors: Tensor, least: int, most: int, room: int
) -> Selected | None:
    """Each row's scores above its floor, and at least ``least`` of its positive ones, but no more than ``most``."""
    (n, d), n_features = x.shape, len(weight)
    rows, columns, depth = TILE[x.dtype]
    room = triton.next_power_of_2(min(room, n_features))
    while room <= MOST and n * room < 2**31:
        counts = torch.zeros(n, dtype=torch.int32, device=x.device)
        places = torch.empty((n, room), dtype=torch.int32, device=x.device)
        values = torch.empty((n, room), dtype=torch.float32, device=x.device)
        launch(
            _score_and_append, (triton.cdiv(n, rows) * triton.cdiv(n_features, columns),),
            x, weight, bias, floors, counts, places, values, n, n_features, d, room,
            ROWS=rows, COLUMNS=columns, DEPTH=depth, TOGETHER=TOGETHER, WIDEN=INTERPRETED,
            num_warps=8, num_stages=3,
        )  # fmt: skip
        short = (counts < least) & (floors > 0)
        offsets = torch.zeros(n + 1, dtype=torch.long, device=x.device)
        torch.cumsum(counts.clamp(max=most), 0, out=offsets[1:])
        # the one wait for the device: what has to be made again, and how long the result is
        longest, again, total = torch.stack([counts.max(), short.any(), offsets[-1]]).tolist() if n else (0, 0, 0)
        if longest <= room and not again:
            return _packed(counts, places, values, offsets, total, most)
        floors = torch.where(short, 0.0, floors)
        room = max(room, triton.next_power_of_2(longest))
    return None


def _packed(counts: Tensor, places: Tensor, values: Tensor, offsets: Tensor, total: int, most: int) -> Selected:
    """Each row's largest candidates, row after row, by column; ties go to the lower column."""
    n, room = places.shape
    chosen, exact, loose, raw = (like.new_empty(total) for like in (places, values, places, values))
    width, rows = _tile(room)
    constants = {"ROWS": rows, "ROOM": width, "num_warps": warps(rows * width)}
    launch(_pack, (triton.cdiv(n, rows),), counts, places, values, offsets, loose, raw, n, most, **constants)
    launch(_order, (n,), offsets, loose, raw, chosen, exact, CHUNK=CHUNK)
    return offsets, chosen, exact


@triton.jit
def _kth_largest(bits, k):  # type: ignore[no-untyped-def]
    """The k-th largest of each row's non-negative integers, or 0 where fewer are positive: by halving the range."""
    high = tl.max(bits, axis=1)
    low = high * 0
    while tl.max(high - low, axis=0) > 0:  # at least k are >= low
        middle = high - (high - low) // 2
        enough = tl.sum((bits >= middle[:, None]).to(tl.int32), axis=1) >= k
        low = tl.where(enough, middle, low)
        high = tl.where(enough, high, tl.maximum(middle - 1, low))
    return low


@triton.jit
def _kth_of_rows(scores, out, n, width, k, ROWS: tl.constexpr, WIDTH: tl.constexpr):  # type: ignore[no-untyped-def]
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, WIDTH)
    read = (rows < n)[:, None] & (columns < width)[None, :]
    tile = tl.load(scores + rows[:, None] * width + columns[None, :], mask=read, other=0).to(tl.float32)
    bits = tl.maximum(tile, 0.0).to(tl.int32, bitcast=True)  # positive floats order as their bits do
    tl.store(out + rows, _kth_largest(bits, k).to(tl.float32, bitcast=True), mask=rows < n)


@triton.jit
def _score_and_append(  # type: ignore[no-untyped-def]
    x, w, bias, floors, counts, places, values, n, n_features, d, room,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr, TOGETHER: tl.constexpr, WIDEN: tl.constexpr,
):  # fmt: skip
    program, across = tl.program_id(0), tl.cdiv(n_features, COLUMNS)
    first = program // (TOGETHER * across) * TOGETHER
    size = tl.minimum(tl.cdiv(n, ROWS) - first, TOGETHER)
    inner = program % (TOGETHER * across)
    rows = (first + inner % size) * ROWS + tl.arange(0, ROWS)
    columns = inner // size * COLUMNS + tl.arange(0, COLUMNS)
    of_rows, of_columns = rows.to(tl.int64)[:, None] * d, columns.to(tl.int64)[None, :] * d
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    for begin in range(0, d, DEPTH):
        at = begin + tl.arange(0, DEPTH)
        left = tl.load(x + of_rows + at[None, :], mask=(rows < n)[:, None] & (at < d)[None, :], other=0)
        right = tl.load(w + of_columns + at[:, None], mask=(columns < n_features)[None, :] & (at < d)[:, None], other=0)
        if WIDEN:  # the interpreter would multiply bf16 as the integers that it keeps them in
            left, right = left.to(tl.float32), right.to(tl.float32)
        total = tl.dot(left, right, total, input_precision="ieee")
    scores = total + tl.load(bias + columns, mask=columns < n_features, other=0)[None, :]
    floor = tl.load(floors + rows, mask=rows < n, other=float("inf"))
    found = (scores > floor[:, None]) & (columns < n_features)[None, :]
    place = tl.atomic_add(tl.broadcast_to((counts + rows)[:, None], (ROWS, COLUMNS)), 1, mask=found, sem="relaxed")
    to, fits = rows[:, None] * room + place, found & (place < room)
    tl.store(places + to, tl.broadcast_to(columns[None, :], (ROWS, COLUMNS)), mask=fits)
    tl.store(values + to, scores, mask=fits)


@triton.jit
def _pack(  # type: ignore[no-untyped-def]
    counts, places, values, offsets, chosen, exact, n, most,
    ROWS: tl.constexpr, ROOM: tl.constexpr,
):  # fmt: skip
    rows = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    at = tl.arange(0, ROOM)
    count = tl.load(counts + rows, mask=rows < n, other=0)
    mine = at[None, :] < count[:, None]
    value = tl.load(values + rows[:, None] * ROOM + at[None, :], mask=mine, other=0)
    place = tl.load(places + rows[:, None] * ROOM + at[None, :], mask=mine, other=0)
    bits = value.to(tl.int32, bitcast=True)
    cut = _kth_largest(bits, most)[:, None]
    larger = mine & (bits > cut)
    tied = mine & (bits == cut)
    free = most - tl.sum(larger.to(tl.int32), axis=1)
    ahead = tl.where(tied, 0x7FFFFFFF - place, 0)  # the lower the column, the larger
    keep = larger | (tied & (ahead >= _kth_largest(ahead, free)[:, None]))
    to = tl.load(offsets + rows, mask=rows < n, other=0)[:, None] + tl.cumsum(keep.to(tl.int32), axis=1) - 1
    tl.store(chosen + to, place, mask=keep)
    tl.store(exact + to, value, mask=keep)


@triton.jit
def _order(offsets, places, values, chosen, exact, CHUNK: tl.constexpr):  # type: ignore[no-untyped-def]
    i = tl.program_id(0).to(tl.int64)
    first, last = tl.load(offsets + i), tl.load(offsets + i + 1)
    for begin in range(first, last, CHUNK):
        entry = begin + tl.arange(0, CHUNK)
        place = tl.load(places + entry, mask=entry < last, other=0)
        before = tl.zeros((CHUNK,), tl.int32)
        for start in range(first, last, CHUNK):
            other = start + tl.arange(0, CHUNK)
            theirs = tl.load(places + other, mask=other < last, other=0x7FFFFFFF)
            before += tl.sum((theirs[None, :] < place[:, None]).to(tl.int32), axis=1)
        value = tl.load(values + entry, mask=entry < last, other=0)
        tl.store(chosen + first + before, place, mask=entry < last)
        tl.store(exact + first + before, value, mask=entry < last)
