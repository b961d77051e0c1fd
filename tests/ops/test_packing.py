"""Sums by feature are the same to the bit, whether or not their rows are packed to blocks of columns."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.ops import quicker, transpose, weighted_rows
from monoscope.types import Code


def problem(n: int, n_features: int, d: int, seed: int):
    """A code in which a third of all is active, some of it at 0, and rows."""
    g = torch.Generator().manual_seed(seed)
    dense = torch.rand(n, n_features, generator=g)
    code = Code.from_dense(torch.where(dense > 0.67, dense, 0))
    values = torch.where(torch.rand(len(code.values), generator=g) < 0.2, 0, code.values)
    return transpose.transpose(code), values, torch.randn(n, d, generator=g)


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 30), st.integers(1, 150), st.integers(2, 5), st.integers(1, 3), st.integers(0, 9)
)
def test_blocks_change_no_bit(n, n_features, d, blocks, threads, seed):
    by, values, x = problem(n, n_features, d, seed)
    arrays = [t.numpy() for t in (by.offsets, by.rows, by.entries, values, x)]
    made = [torch.full((n_features, d), torch.nan) for _ in range(2)]
    for out, count in zip(made, (1, blocks), strict=True):
        weighted_rows._scatter(*arrays, out.numpy(), *weighted_rows._packing(x, count, threads))
    assert torch.equal(*made)


def test_both_ways_are_tried_and_give_the_same(monkeypatch):
    monkeypatch.setattr(quicker, "_took", {})
    monkeypatch.setattr(weighted_rows, "PACKED", 20_000)
    by, values, x = problem(120, 16, 128, 0)
    found = [weighted_rows.scatter(by, values, x) for _ in range(2 * quicker.TRIES + 1)]
    assert all(torch.equal(found[0], one) for one in found)
    torch.testing.assert_close(found[0], weighted_rows.reference_scatter(by, values, x))
    (took,) = quicker._took.values()
    assert {way: len(seconds) for way, seconds in took.items()} == {False: quicker.TRIES, True: quicker.TRIES}


def test_sizes_that_differ_a_little_are_tried_as_one(monkeypatch):
    monkeypatch.setattr(quicker, "_took", {})
    monkeypatch.setattr(weighted_rows, "PACKED", 20_000)
    for n in range(110, 127):
        by, values, x = problem(n, 16, 128, n)
        torch.testing.assert_close(weighted_rows.scatter(by, values, x), weighted_rows.reference_scatter(by, values, x))
    assert len(quicker._took) == 1


@pytest.mark.parametrize(
    ("n", "width", "entries", "threads", "blocks"),
    [
        (4096, 384, 42, 2, 4),  # 6.3 MB
        (4096, 384, 42, 3, 6),  # as many for each thread
        (4096, 384, 7, 2, 1),  # too few entries
        (1024, 384, 42, 2, 1),  # they lie in the cache as they are
        (4096, 384, 42, 16, 1),  # blocks too narrow
    ],
)
def test_into_how_many_blocks(n, width, entries, threads, blocks):
    assert weighted_rows._blocks(n, width, entries, threads) == blocks
