"""Law 3 for penalty methods: passes over entries and matrix products give the same outcome and the same gradients."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.ops import columns, residual, weighted_rows
from monoscope.ops import responses as ops
from monoscope.ops.responses import Response, respond, share
from monoscope.ops.transpose import transpose
from monoscope.train.objectives import gated, jumprelu, p_anneal
from monoscope.train.penalised import relu
from monoscope.types import Code

DENSELY, SPARSELY = -1.0, 2.0
shapes = st.tuples(
    st.integers(1, 40), st.integers(1, 700), st.integers(1, 24), st.integers(1, 24), st.integers(0, 2**31)
)
quick = settings(max_examples=40, deadline=None)


def responses(n_features: int, generator: torch.Generator) -> dict[str, Response]:
    """Those of all methods; the features' numbers are half way between the scores that ``problem`` makes."""
    a, b = ((torch.randint(16, 80, (n_features,), generator=generator) + 0.5) / 64 for _ in range(2))
    floor = a - 0.25
    return {
        "relu": Response(relu),
        "powers": Response(partial(p_anneal.powers, exponents=(0.5, 0.4))),
        "gate": Response(gated.gate, (a, b - 0.7)),
        "counted": Response(partial(jumprelu.counted, bandwidth=0.5), (a,), floor),
        "saturated": Response(partial(jumprelu.saturated, bandwidth=0.5), (a, b), floor),
    }


NAMES = list(responses(1, torch.Generator()))


def outcome(way, x, y, weights, response, precision=torch.float32):
    """Everything that a batch gives, and every gradient of a random weighing of it."""
    y, *leaves = (t.detach().clone().requires_grad_() for t in (y, *weights, *response.parameters))
    own = Response(response.apply, tuple(leaves[4:]), response.floor)
    found = respond(x, y, tuple(leaves[:4]), own, precision, way)
    generator = torch.Generator().manual_seed(0)
    parts = (found.errors, found.sums, found.totals)
    loss = sum((part * torch.rand(part.shape, generator=generator)).sum() for part in parts)
    grads = torch.autograd.grad(loss, [y, *leaves], allow_unused=True)
    return [part.detach() for part in found], [
        torch.zeros_like(t) if g is None else g for t, g in zip([y, *leaves], grads, strict=True)
    ]


def problem(n, n_features, d_in, d_out, seed):
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.randn(n, d_in, generator=generator), torch.randn(n, d_out, generator=generator)
    sizes = ((n_features, d_in), (n_features,), (n_features, d_out), (d_out,))
    weights = tuple(torch.randn(size, generator=generator) / d_in**0.5 for size in sizes)
    x, *weights = ((8 * t).round() / 8 for t in (x, *weights))  # scores without rounding: none is on either side of 0
    return x, y, tuple(weights), generator


@quick
@given(shapes, st.sampled_from(NAMES), st.sampled_from([4, 400, 1 << 20]))
def test_both_ways_are_the_same(shape, name, piece):
    x, y, weights, generator = problem(*shape)
    response = responses(shape[1], generator)[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops, "PIECE", max(piece, shape[1] // 8))  # bytes: of some entries, of many, of all
        patch.setattr(ops, "TILE", 4 * max(piece, shape[1] // 8))
        patch.setattr(ops, "ACROSS", 64)
        (first, grads), (second, others) = (outcome(way, x, y, weights, response) for way in (DENSELY, SPARSELY))
    for mine, other in zip([*first, *grads], [*second, *others], strict=True):
        size = 1 + other.abs().sum() / max(1, other.numel())  # rounding is in proportion to the terms of a sum
        torch.testing.assert_close(mine / size, other / size, rtol=1e-4, atol=2e-5, check_dtype=False)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", [DENSELY, SPARSELY])
def test_in_half_precision_a_gradient_points_the_same_way(name, way):
    """bfloat16 has 8 bits: each product errs by 2⁻⁹ or so of its terms, thresholds move by as much."""
    x, y, weights, generator = problem(300, 500, 48, 40, 1)
    response = responses(500, generator)[name]
    exact, rough = (outcome(way, x, y, weights, response, p) for p in (torch.float32, torch.bfloat16))
    for mine, other in zip([*rough[0][:3], *rough[1]], [*exact[0][:3], *exact[1]], strict=True):
        assert float((mine - other).norm()) <= 0.03 * float(other.norm()) + 1e-6


def test_gradients_are_those_of_the_formula():
    """Against autograd on dense scores, with nothing of ours but the response."""
    x, y, weights, generator = problem(30, 50, 8, 6, 2)
    for response in responses(50, generator).values():
        leaves = [t.clone().requires_grad_() for t in (*weights, *response.parameters)]
        w_enc, bias, w_dec, b_dec, *numbers = leaves
        amounts, measures = response.apply(x @ w_enc.T + bias, *numbers)
        first, *others = amounts
        error = (y - first @ w_dec - b_dec).square().sum()
        error = error + sum((y - other @ w_dec.detach() - b_dec.detach()).square().sum() for other in others)
        wanted = torch.autograd.grad(error + sum(m.sum() for m in measures), leaves, materialize_grads=True)
        again = [t.clone().requires_grad_() for t in leaves]
        own = Response(response.apply, tuple(again[4:]), response.floor)
        for way in (DENSELY, SPARSELY):
            found = respond(x, y, tuple(again[:4]), own, torch.float32, way)
            loss = found.errors.sum() + found.totals.sum()
            for mine, right in zip(torch.autograd.grad(loss, again, materialize_grads=True), wanted, strict=True):
                torch.testing.assert_close(mine, right, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("way", [DENSELY, SPARSELY])
@pytest.mark.parametrize("alone", [True, False])
def test_lengths_of_directions_have_torchs_gradient(way, alone):
    x, y, weights, generator = problem(30, 50, 8, 6, 2)
    weights[2][3] = 0  # of length 0: no gradient
    given, w = torch.rand(50, generator=generator), 0.0 if alone else 1.0
    leaves = [t.clone().requires_grad_() for t in weights]
    found = respond(x, y, tuple(leaves), Response(relu, lengths=True), torch.float32, way)
    torch.testing.assert_close(found.lengths, weights[2].norm(dim=1))
    grads = torch.autograd.grad(w * found.errors.sum() + found.lengths @ given, leaves)
    w_enc, bias, w_dec, b_dec = leaves
    error = (y - (x @ w_enc.T + bias).relu() @ w_dec - b_dec).square().sum()
    wanted = torch.autograd.grad(w * error + w_dec.norm(dim=1) @ given, leaves)
    for mine, right in zip(grads, wanted, strict=True):
        torch.testing.assert_close(mine, right, rtol=1e-3, atol=1e-3)
    assert not len(respond(x, y, weights, Response(relu), torch.float32, way).lengths)


@pytest.mark.parametrize("way", [DENSELY, SPARSELY])
def test_what_is_taken_off_rows_has_torchs_gradient(way):
    x, y, weights, generator = problem(30, 50, 8, 6, 2)
    leaves = [t.clone().requires_grad_() for t in (*weights, (torch.randn(8, generator=generator) * 8).round() / 8)]
    *own, centre = leaves
    found = respond(x, y, tuple(own), Response(relu), torch.float32, way, centre)
    w_enc, bias, w_dec, b_dec = own
    code = ((x - centre) @ w_enc.T + bias).relu()
    error = (y - code @ w_dec - b_dec).square().sum()
    torch.testing.assert_close(found.errors[0], error, rtol=1e-4, atol=1e-4)
    for mine, right in zip(
        torch.autograd.grad(found.errors.sum() + found.sums.sum(), leaves),
        torch.autograd.grad(error + code.sum(), leaves),
        strict=True,
    ):
        torch.testing.assert_close(mine, right, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("way", [DENSELY, SPARSELY])
def test_a_target_without_a_gradient_and_a_loss_of_sums_alone(name, way):
    x, y, weights, generator = problem(30, 50, 8, 6, 2)
    response = responses(50, generator)[name]
    gradients = []
    for wanted in (True, False):
        leaves = [t.clone().requires_grad_() for t in (*weights, *response.parameters)]
        own = Response(response.apply, tuple(leaves[4:]), response.floor)
        found = respond(x, y.clone().requires_grad_(wanted), tuple(leaves[:4]), own, torch.float32, way)
        gradients.append(torch.autograd.grad(found.sums.sum(), leaves, materialize_grads=True))
    assert all(map(torch.equal, *gradients))
    assert not bool(gradients[0][2].any()) and bool(gradients[0][1].any())


def test_the_way_follows_from_the_share_of_entries():
    x, _, weights, _ = problem(64, 200, 16, 16, 3)
    scores = x @ weights[0].T + weights[1]
    assert share(x, weights, None, torch.float32) == pytest.approx(float((scores > 0).float().mean()), abs=1e-4)
    floor = torch.linspace(-1, 1, 200)
    assert share(x, weights, floor, torch.float32) == pytest.approx(float((scores > floor).float().mean()), abs=1e-4)


@quick
@given(shapes, st.floats(0, 1))
def test_passes_over_entries_equal_their_references(shape, zeros):
    n, n_features, *_ = shape
    x, y, (_, _, w_dec, b_dec), generator = problem(*shape)
    dense = torch.rand(n, n_features, generator=generator)
    code = Code.from_dense(torch.where(dense > 0.7, dense, 0))
    by, m = transpose(code), len(code.indices)
    amounts = torch.where(torch.rand(m, generator=generator) < zeros, 0, code.values)
    found, wanted = (f(code, amounts, w_dec, b_dec, y) for f in (residual.residual, residual.reference_residual))
    for mine, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-3)
    pulls = torch.randn(m, generator=generator)
    for values, rows in ((pulls, x), (amounts, found.left)):
        mine, other = (f(by, values, rows) for f in (weighted_rows.scatter, weighted_rows.reference_scatter))
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(weighted_rows.sums(by, pulls), weighted_rows.reference_sums(by, pulls))


@quick
@given(st.integers(1, 1100), st.integers(1, 40), st.sampled_from([torch.float32, torch.bfloat16]), st.integers(0, 99))
def test_columns_equal_their_reference(n, m, dtype, seed):
    block = torch.randn(n, m, generator=torch.Generator().manual_seed(seed)).to(dtype)
    block[block.abs() < 0.3] = 0
    (sums, counts), (others, wanted) = columns.columns(block), columns.reference(block)
    torch.testing.assert_close(sums, others, rtol=1e-5, atol=1e-4)
    assert torch.equal(counts.long(), wanted)
