"""Law 3: every kernel equals its reference, over random shapes, dtypes, k and degenerate rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.errors import MonoscopeError
from monoscope.ops import (
    above,
    adam,
    differences,
    encode,
    largest,
    leftover,
    lengths,
    product,
    reconstruct,
    select,
    sparse,
    topk,
    transpose,
    weighted_rows,
)
from monoscope.types import Code

# more features than the 256 groups that selections search, so that groups of several entries and a remainder occur
shapes = st.tuples(st.integers(1, 40), st.integers(1, 700), st.integers(1, 24), st.integers(0, 2**31))
quick = settings(max_examples=60, deadline=None)


def rows(n: int, d: int, seed: int) -> torch.Tensor:
    """Random rows, some of them all zero, some repeated, some huge."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator)
    kind = torch.randint(0, 6, (n,), generator=generator)
    x[kind == 0] = 0
    x[kind == 1] = x[0].clone()
    x[kind == 2] *= 1e4
    return x


def random_code(n: int, n_features: int, seed: int) -> Code:
    generator = torch.Generator().manual_seed(seed)
    dense = torch.rand(n, n_features, generator=generator)
    return Code.from_dense(torch.where(dense > 0.7, dense, 0))


@quick
@given(shapes, st.sampled_from([torch.float32, torch.bfloat16]), st.data())
def test_topk_equals_its_reference(shape, dtype, data):
    n, n_features, _, seed = shape
    scores = rows(n, n_features, seed).to(dtype)
    k = data.draw(st.integers(1, n_features))
    indices, values = topk.topk(scores, k)
    _, wanted = topk.reference(scores, k)
    assert torch.equal(values.float().sort(1, descending=True).values, wanted.float())  # the same values: no tolerance
    at = scores.gather(1, indices.long())
    assert torch.equal(torch.where(values > 0, at, 0), values)
    for places, chosen in zip(indices, values, strict=True):
        named = places[chosen > 0]
        assert len(named.unique()) == len(named)


@quick
@given(shapes, st.sampled_from([torch.float32, torch.bfloat16]), st.floats(-2, 2))
def test_above_equals_its_reference(shape, dtype, floor):
    n, n_features, _, seed = shape
    scores = rows(n, n_features, seed).to(dtype)
    floor = float(torch.tensor(floor).to(dtype))  # a number that both sides of the comparison can hold
    mine, wanted = (as_dense(found(scores, floor), n_features) for found in (above.above, above.reference))
    assert torch.equal(mine, wanted)


def as_dense(ragged, n_features):
    counts, columns, values = ragged
    dense = torch.zeros(len(counts), n_features)
    return dense.index_put((torch.repeat_interleave(counts), columns.long()), values, accumulate=True)


def test_topk_refuses_a_k_out_of_range():
    for k in (0, 6):
        with pytest.raises(MonoscopeError, match="choose k"):
            topk.topk(torch.randn(2, 5), k)


def test_ties_go_to_the_lower_index():
    for n_features in (5, 64, 1000):
        scores = torch.ones(3, n_features)
        scores[:, 3] = 2
        assert all(sorted(row.tolist()) == [0, 1, 2, 3] for row in topk.topk(scores, 4)[0])


def agree(mine: Code, wanted: Code, x: torch.Tensor, weight: torch.Tensor) -> None:
    """Equal up to fp32 rounding: values close, and a selection differs only between scores that are as close."""
    tolerance = 1e-5 * (1 + float(x.norm(dim=1).max() * weight.norm(dim=1).max()))
    a, b = mine.to_dense(), wanted.to_dense()
    both = (a > 0) & (b > 0)
    assert torch.allclose(a[both], b[both], atol=tolerance, rtol=1e-4)
    for row in ((a > 0) != (b > 0)).any(1).nonzero()[:, 0]:
        differing = (a[row] > 0) != (b[row] > 0)
        edge = torch.cat([a[row][a[row] > 0], b[row][b[row] > 0]]).min()  # the smallest score that anyone kept
        assert bool((torch.maximum(a[row], b[row])[differing] - edge <= tolerance).all())


@quick
@given(shapes, st.sampled_from([torch.float32, torch.bfloat16]), st.data())
def test_exact_topk_is_the_fp32_code_whatever_the_product(shape, dtype, data):
    n, n_features, d, seed = shape
    x, weight, bias = rows(n, d, seed), rows(n_features, d, seed + 1) / 10, rows(1, n_features, seed + 2)[0]
    k = data.draw(st.integers(1, n_features))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product, "fastest", lambda device="cpu": dtype)
        agree(encode.topk(x, weight, bias, k), encode.reference_topk(x, weight, bias, k), x, weight)


@quick
@given(shapes, st.sampled_from([torch.float32, torch.bfloat16]))
def test_exact_above_is_the_fp32_code_whatever_the_product(shape, dtype):
    n, n_features, d, seed = shape
    x, weight, bias = rows(n, d, seed), rows(n_features, d, seed + 1) / 10, rows(1, n_features, seed + 2)[0]
    threshold = torch.rand(n_features, generator=torch.Generator().manual_seed(seed))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product, "fastest", lambda device="cpu": dtype)
        wanted, every = encode.reference_above(x, weight, bias, threshold), encode.above(x, weight, bias, threshold)
        alone = encode.Few(encode.Gates(weight, bias, threshold), range(n_features))
        few = alone(x)
        patch.setattr(encode, "FEW", 0)
        found = encode.above(x, weight, bias, threshold)
        agree(found, wanted, x, weight)
        assert identical(found, every)  # however few scores there are, not by a bit
        assert torch.equal(few, found.to_dense()) and torch.equal(alone(x), few)


def identical(a: Code, b: Code) -> bool:
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("indices", "values", "offsets"))


@quick
@given(shapes, st.sampled_from([torch.float32, torch.bfloat16]))
def test_what_is_kept_of_an_encoder_changes_no_code(shape, dtype):
    n, n_features, d, seed = shape
    x, weight, bias = rows(n, d, seed), rows(n_features, d, seed + 1) / 10, rows(1, n_features, seed + 2)[0]
    threshold = torch.full((n_features,), 0.1)

    def codes() -> list[Code]:
        return [encode.above(x, weight, bias, threshold), encode.topk(x, weight, bias, min(3, n_features))]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product, "fastest", lambda device="cpu": dtype)
        patch.setattr(encode, "FEW", 0)
        before = codes()
        encode.keep(weight, bias)
        assert all(map(identical, codes(), before))
        weight.neg_()
        after = codes()
        encode._KEPT.drop(weight)
        assert all(map(identical, codes(), after))  # a change in place is noticed


@quick
@given(shapes)
def test_transpose_equals_its_reference(shape):
    n, n_features, _, seed = shape
    code = random_code(n, n_features, seed)
    for mine, wanted in zip(transpose.transpose(code), transpose.reference(code), strict=True):
        assert torch.equal(mine.long(), wanted.long())


@quick
@given(shapes)
def test_products_equal_their_references(shape):
    n, n_features, d, seed = shape
    code = random_code(n, n_features, seed)
    by = transpose.transpose(code)
    w, x = rows(n_features, d, seed), rows(n, d, seed + 1)
    dense = code.to_dense().double()
    close = {"rtol": 1e-5, "atol": 1e-5 * float(1 + x.abs().max() + w.abs().max()) * max(n, n_features)}
    torch.testing.assert_close(weighted_rows.gather(code, w).double(), dense @ w.double(), **close)
    size = (x.norm(dim=1).max() * w.norm(dim=1).max()).item()
    wanted = weighted_rows.reference_dots(code, x.double(), w.double())
    torch.testing.assert_close(weighted_rows.dots(code, x, w).double(), wanted, rtol=0, atol=1e-6 * d * (1 + size))
    torch.testing.assert_close(weighted_rows.scatter(by, code.values, x).double(), dense.T @ x.double(), **close)
    torch.testing.assert_close(weighted_rows.sums(by, code.values).double(), dense.sum(0), rtol=1e-5, atol=1e-5)
    in_pieces, half = torch.zeros(n_features, dtype=torch.float64), len(code.values) // 2
    for part in (slice(0, half), slice(half, None)):
        weighted_rows.add_up(in_pieces, code.indices[part], code.values[part])
    assert torch.equal(in_pieces.float(), weighted_rows.sums(by, code.values))  # in the same order, of the same type
    torch.testing.assert_close(
        weighted_rows.reference_scatter(by, code.values, x).double(), dense.T @ x.double(), **close
    )


@quick
@given(shapes)
def test_gradients_of_the_sparse_path_are_those_of_the_dense_one(shape):
    n, n_features, d, seed = shape
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator, requires_grad=True)
    w_enc, w_dec = (torch.randn(n_features, d, generator=generator, requires_grad=True) for _ in range(2))
    bias = torch.randn(n_features, generator=generator, requires_grad=True)
    k = max(1, n_features // 3)
    code = encode.reference_topk(x.detach(), w_enc.detach(), bias.detach(), k)
    by = transpose.transpose(code)
    values = sparse.active(x, w_enc, bias, code, by)
    loss = (sparse.decode(values, w_dec, code, by) - x).square().sum()
    mine = torch.autograd.grad(loss, (x, w_enc, bias, w_dec), allow_unused=True)

    mask = code.to_dense() > 0
    dense = torch.where(mask, x @ w_enc.T + bias, 0)
    wanted = torch.autograd.grad((dense @ w_dec - x).square().sum(), (x, w_enc, bias, w_dec), allow_unused=True)
    for a, b in zip(mine, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-4 * float(1 + b.abs().max()))


@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
@pytest.mark.parametrize("betas", [(0.9, 0.999), (0.8, 0.99)])
@pytest.mark.parametrize("unit_rows", [False, True])
def test_adam_equals_its_reference_and_torch(unit_rows, betas, epsilon):
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(7, 33, generator=generator)
    start /= start.norm(dim=1, keepdim=True)
    mine, wanted = start.clone(), start.clone()
    theirs = start.clone().requires_grad_()
    optimiser = torch.optim.Adam([theirs], lr=0.01, betas=betas, eps=epsilon)
    moments = [[torch.zeros_like(start) for _ in range(2)] for _ in range(2)]
    for step in range(1, 6):
        gradient = torch.randn(7, 33, generator=generator)
        how = {"step": step, "rate": 0.01, "betas": betas, "epsilon": epsilon}
        how |= {"scale": 0.5, "unit_rows": unit_rows}
        adam.adam(mine, gradient, *moments[0], **how)
        adam.reference(wanted, gradient, *moments[1], **how)
        theirs.grad = gradient * 0.5
        optimiser.step()
        torch.testing.assert_close(mine, wanted, rtol=1e-5, atol=1e-6)
        if unit_rows:
            torch.testing.assert_close(mine.norm(dim=1), torch.ones(7), rtol=1e-6, atol=1e-6)
        else:
            torch.testing.assert_close(mine, theirs.detach(), rtol=1e-5, atol=1e-6)


def test_a_unit_row_ignores_the_gradient_along_itself():
    row = torch.nn.functional.normalize(torch.randn(1, 16, generator=torch.Generator().manual_seed(3)))
    moved, moments = row.clone(), [torch.zeros(1, 16), torch.zeros(1, 16)]
    adam.adam(moved, 3 * row, *moments, step=1, rate=0.1, unit_rows=True)
    assert moments[0].abs().max() < 1e-6


def test_the_chosen_precision_is_one_of_the_two_and_stays():
    assert product.fastest() in (torch.float32, torch.bfloat16)
    assert product.precision("float32") is torch.float32
    x, w, b = rows(50, 8, 1), rows(30, 8, 2), torch.zeros(30)
    parts = [scores.clone() for _, scores in product.blocks(x, w, b, torch.float32)]
    np.testing.assert_allclose(torch.cat(parts).numpy(), (x @ w.T).numpy(), rtol=1e-5, atol=1e-2)


def test_adam_forgets_what_is_too_small_for_the_processor_to_be_quick_with():
    """Of a feature that gets no gradient any more; what is no number stays none."""
    weight, moments = torch.ones(2, 4), (torch.full((2, 4), 1e-4), torch.full((2, 4), 1e-8))
    moments[1][1] = torch.nan
    for step in range(1, 1000):
        adam.adam(weight, torch.zeros(2, 4), *moments, step=step, rate=1e-3)
    assert not moments[0][0].any() and bool((moments[1][0] > 1e-9).all())
    assert all(bool(t[1].isnan().all()) for t in (weight, *moments))
    tiny = torch.full((1, 4), 1e-41)
    adam.adam(torch.ones(1, 4), torch.zeros(1, 4), tiny, again := tiny.clone(), step=1, rate=1e-3)
    assert not tiny.any() and not again.any()


@quick
@given(shapes, st.sampled_from([torch.float32, torch.bfloat16]), st.integers(0, 2000))
def test_largest_is_its_reference(shape, dtype, wanted):
    n, n_features, _, seed = shape
    ragged = above.above(rows(n, n_features, seed).to(dtype), 0.0)  # bfloat16 has ties
    reference = largest.reference(ragged, wanted, n_features)
    for mine in (largest.largest(ragged, wanted, n_features), largest.by_cut(ragged, wanted, n_features)):
        assert torch.equal(mine.indices, reference.indices)
        assert torch.equal(mine.values, reference.values)
        assert torch.equal(mine.offsets, reference.offsets)


@quick
@given(shapes, st.integers(1, 24), st.sampled_from([(), ("w_enc",), ("w_dec",)]))
def test_the_squared_error_and_its_gradients_are_the_dense_ones(shape, d_out, frozen):
    n, n_features, d, seed = shape
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, d, generator=generator), torch.randn(n, d_out, generator=generator, requires_grad=True)
    w_enc, w_dec = (torch.randn(n_features, width, generator=generator) for width in (d, d_out))
    b_enc, b_dec = torch.randn(n_features, generator=generator), torch.randn(d_out, generator=generator)
    weights = {"w_enc": w_enc, "b_enc": b_enc, "w_dec": w_dec, "b_dec": b_dec}
    trained = [y] + [w.requires_grad_(name not in frozen) for name, w in weights.items() if name not in frozen]
    code = encode.reference_topk(x, w_enc.detach(), b_enc.detach(), max(1, n_features // 3))
    error, left = reconstruct.squared_error(x, y, tuple(weights.values()), code, transpose.transpose(code))
    mine = torch.autograd.grad(3 * error, trained)

    active = torch.where(code.to_dense() > 0, x.double() @ w_enc.T.double() + b_enc, 0)
    wanted_left = y - active @ w_dec.double() - b_dec
    wanted = torch.autograd.grad(3 * wanted_left.square().mean(), trained)
    with torch.no_grad():  # what sums of so many terms may lose in fp32: large ones cancel
        x, w_enc, b_enc, w_dec, b_dec = (t.double().abs() for t in (x, w_enc, b_enc, w_dec, b_dec))
        scores = torch.where(active > 0, x @ w_enc.T + b_enc, 0)
        terms = (active > 0).sum(1, keepdim=True)
        slack = (terms + 4) * (y.double().abs() + active @ w_dec + b_dec) + (d + 4) * (scores @ w_dec)
        slack *= torch.finfo(torch.float32).eps
        assert bool(((left.double() - wanted_left).abs() <= slack).all())
        off = (2 * wanted_left.abs() * slack + slack.square()).mean()
        torch.testing.assert_close(error.double(), wanted_left.square().mean(), rtol=1e-6, atol=float(off))
    for a, b in zip(mine, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-5 * float(1 + b.abs().max()))


@quick
@given(shapes)
def test_the_fused_squared_error_is_the_composed_one(shape):
    n, n_features, d, seed = shape
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator)
    sizes = ((n_features, d), (n_features,), (n_features, d), (d,))
    weights = tuple(torch.randn(size, generator=generator, requires_grad=True) for size in sizes)
    code = encode.reference_topk(x, weights[0].detach(), weights[1].detach(), max(1, n_features // 4))
    by = transpose.transpose(code)
    found = []
    for function in (reconstruct.squared_error, reconstruct.reference):
        error, left = function(x, x, weights, code, by)
        found.append([error.detach(), left, *torch.autograd.grad(error, weights)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-4, atol=2e-5 * float(1 + b.abs().max()))


@quick
@given(shapes, st.sampled_from([torch.float32, torch.bfloat16, torch.float64]), st.integers(1, 300), st.data())
def test_choosing_tile_by_tile_is_choosing_at_once(shape, dtype, width, data):
    n, n_features, _, seed = shape
    scores = rows(n, n_features, seed).to(dtype)
    k = data.draw(st.integers(1, n_features))
    height = data.draw(st.integers(1, n))
    tiles = [
        product.Tile(row, feature, scores[row : row + height, feature : feature + width], scores[:, :0])
        for feature in range(0, n_features, width)
        for row in range(0, n, height)
    ]
    chosen = []
    for indices, values in (topk.topk(scores, k), topk.topk_of_tiles(tiles, n, k)):
        dense = torch.zeros(n, n_features, dtype=dtype).scatter_add(1, indices.long(), values)
        assert torch.equal(torch.where(dense > 0, scores, 0), dense)
        chosen.append(dense)
    assert torch.equal(*chosen)  # ties included
    floor = float(values[values > 0].min()) if bool((values > 0).any()) else 0.0
    at_once, in_tiles = above.above(scores, floor), above.above_of_tiles(tiles, n, floor)
    assert torch.equal(as_dense(at_once, n_features), as_dense(in_tiles, n_features))


@quick
@given(shapes, st.sampled_from([torch.float32, torch.bfloat16]), st.integers(1, 300), st.integers(1, 4000))
def test_tiles_are_the_product(shape, dtype, width, block):
    n, n_features, d, seed = shape
    x, weight, bias = rows(n, d, seed), rows(n_features, d, seed + 1), rows(1, n_features, seed + 2)[0]
    joined = torch.full((n, n_features), torch.nan, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product, "WIDTH", width)
        patch.setattr(product, "BLOCK", block)
        for row, feature, scores, read in product.tiles(x, weight, bias, dtype):
            assert torch.equal(read, x[row : row + len(scores)].to(dtype))
            joined[row : row + scores.shape[0], feature : feature + scores.shape[1]] = scores
    wanted = x.to(dtype).double() @ weight.to(dtype).T.double() + bias.to(dtype)
    size = 1 + (x.norm(dim=1)[:, None] * weight.norm(dim=1)).double() + bias.abs()
    assert bool(((joined.double() - wanted).abs() <= 2 * torch.finfo(dtype).eps * size).all())


@quick
@given(shapes, st.data())
def test_leftover_equals_its_reference(shape, data):
    n, m, d, seed = shape
    m = min(m, 90)
    k = data.draw(st.integers(1, m))
    x, residual = rows(n, d, seed) / 100, rows(n, d + 1, seed + 1)
    generator = torch.Generator().manual_seed(seed)  # no ties, which may go to any of the tied
    weights = [torch.randn(s, generator=generator).requires_grad_() for s in ((m, d), (m,), (m, d + 1))]
    found = []
    for function in (leftover.leftover, leftover.reference):
        error = function(x, residual, tuple(weights), k)
        found.append([error.detach(), *torch.autograd.grad(error, weights)])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5 * float(1 + b.abs().max()))


@quick
@given(shapes, st.data())
def test_keeping_the_largest_is_sorting(shape, data):
    n, m, _, seed = shape
    k = data.draw(st.integers(1, m))
    scores = rows(n, m, seed)
    mine = scores.clone()
    kept = leftover.keep_largest(mine, k)
    order = torch.argsort(scores, dim=1, descending=True, stable=True)[:, :k]
    wanted = torch.zeros_like(kept).scatter(1, order, True)
    assert torch.equal(kept, wanted)
    assert torch.equal(mine, torch.where(wanted, scores, 0))


def test_leftover_in_bf16_is_close():
    x, residual = torch.randn(300, 64), torch.randn(300, 64)
    weights = [torch.randn(100, 64) / 8, torch.randn(100), torch.randn(100, 64) / 8]
    exact, rounded = (leftover.leftover(x, residual, tuple(weights), 20, t) for t in (torch.float32, torch.bfloat16))
    torch.testing.assert_close(rounded, exact, rtol=2 * torch.finfo(torch.bfloat16).eps, atol=0)


@quick
@given(shapes, st.booleans())
def test_lengths_have_torchs_gradient(shape, zeros):
    n, _, d, seed = shape
    x = rows(n, d, seed).double().requires_grad_()
    if zeros:
        x.data[::2] = 0
    weights = rows(1, n, seed + 1)[0].double()
    found = [(f(x), torch.autograd.grad(f(x) @ weights, x)[0]) for f in (lengths.lengths, lengths.reference)]
    for mine, torchs in zip(*found, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-12, atol=0)


@quick
@given(shapes, st.integers(1, 400), st.sampled_from([0.0, 1e-4, 0.5, 30.0]))
def test_a_batchs_largest_scores_are_those_of_a_sort_whatever_the_guess(shape, wanted, guess):
    n, n_features, d, seed = shape
    x, weight, bias = rows(n, d, seed), rows(n_features, d, seed + 1), rows(1, n_features, seed + 2)[0]
    scores = next(product.tiles(x, weight, bias, torch.float32, n_features, n * n_features)).scores
    code = select.batch_topk(x, weight, bias, wanted, guess, torch.float32)
    unguessed = select.batch_topk(x, weight, bias, wanted, 0.0, torch.float32)
    assert torch.equal(code.indices, unguessed.indices) and torch.equal(code.offsets, unguessed.offsets)
    ordered = scores.flatten().sort(descending=True, stable=True)
    ordered = ordered.values[ordered.values > 0][:wanted]
    torch.testing.assert_close(code.values.sort(descending=True).values, ordered)
    dense = code.to_dense()
    torch.testing.assert_close(dense[dense > 0], scores[dense > 0])
    assert float(select.least(code)) == pytest.approx(float(ordered[-1]) if len(ordered) else 0.0, rel=1e-6)


@quick
@given(shapes)
def test_differences_and_mean_squares_have_torchs_gradient(shape):
    n, _, d, seed = shape
    x, bias = (t.double().requires_grad_() for t in (rows(n, d, seed), rows(1, d, seed + 1)[0]))
    found = []
    for less, square in (
        (differences.less, differences.mean_square),
        (differences.reference_less, differences.reference_mean_square),
    ):
        error = square(less(x, bias))
        found.append((less(x, bias), error, *torch.autograd.grad(error, [x, bias])))
    for mine, torchs in zip(*found, strict=True):
        torch.testing.assert_close(mine, torchs, rtol=1e-12, atol=1e-12)


@quick
@given(shapes)
def test_the_error_of_decoding_is_its_reference(shape):
    n, n_features, d, seed = shape
    y, w, bias = rows(n, d, seed), rows(n_features, d, seed + 1), rows(1, d, seed + 2)[0]
    dense = rows(n, n_features, seed + 3)
    code = Code.from_dense(torch.where(dense > 0.5, dense, 0))
    found = []
    for function in (reconstruct.decoding_error, reconstruct.reference_decoding_error):
        leaves = [t.clone().requires_grad_() for t in (y, w, bias, code.values)]
        of_leaf = Code(code.indices, leaves[3], code.offsets, n_features)
        error, left = function(*leaves[:3], of_leaf, transpose.transpose(code))
        found.append((error, left, *torch.autograd.grad(3 * error, leaves)))
    for mine, other in zip(*found, strict=True):
        largest = float(other.detach().abs().max()) if other.numel() else 0.0
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5 * (1 + largest))
