"""Layer norm of rows: what torch's mean and standard deviation say, of each row alone as among others."""

from __future__ import annotations

import pytest
import torch

from monoscope.ops.row_norm import EPS, normed


def rows(n: int, d: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(d)
    return 3 * torch.randn(n, d, generator=generator) + torch.randn(n, 1, generator=generator)


@pytest.mark.parametrize("d", [2, 3, 12, 768, 5003, 40_000])
def test_it_is_what_is_left_of_the_mean_by_the_standard_deviation(d):
    x = rows(20, d)
    found, mean, spread = normed(x)
    exact = x.double()
    wanted = exact.std(1, keepdim=True)
    torch.testing.assert_close(mean.double(), exact.mean(1, keepdim=True), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(spread.double(), wanted, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(
        found.double(), (exact - exact.mean(1, keepdim=True)) / (wanted + EPS), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(found * (spread + EPS) + mean, x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("d", [2, 12, 768, 40_000])
def test_a_row_is_normalised_as_if_it_were_alone(d):
    x = rows(9, d)
    whole, columns = normed(x), normed(x.T.contiguous().T)
    for part, other in zip(whole, columns, strict=True):
        assert torch.equal(part, other)  # however the rows lie in memory
    for first, last in ((0, 1), (4, 5), (8, 9), (3, 6)):
        for part, some in zip(whole, normed(x[first:last]), strict=True):
            assert torch.equal(part[first:last], some)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int32])
def test_what_is_normalised_stays_as_it_was(dtype):
    x = (8 * rows(5, 6)).to(dtype)
    before = x.clone()
    found = normed(x)
    assert all(part.dtype == torch.float32 for part in found) and torch.equal(x, before)
    assert all(torch.equal(a, b) for a, b in zip(found, normed(before.float()), strict=True))
    assert normed(x[:0]).rows.shape == (0, 6)


def test_no_gradient_passes():
    assert not any(part.requires_grad for part in normed(rows(3, 4).requires_grad_()))
