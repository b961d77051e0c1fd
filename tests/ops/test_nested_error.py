"""Law 3 for decoding in stages: the kernel is its reference, and that is the dense formula, gradients included."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.ops import nested
from monoscope.ops.transpose import transpose
from monoscope.types import Code

quick = settings(max_examples=40, deadline=None)


@quick
@given(
    st.integers(1, 30), st.integers(1, 60), st.integers(1, 9), st.integers(1, 5), st.sampled_from([1, 60, 1 << 20]),
    st.integers(0, 2**31),
)  # fmt: skip
def test_errors_in_stages_equal_their_reference_and_the_dense_formula(n, n_features, d, n_stages, space, seed):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.rand(n, n_features, generator=generator)
    dense[torch.rand(n, generator=generator) < 0.2] = 0  # rows without any entry
    code = Code.from_dense(torch.where(dense > 0.7, dense, 0))
    stages = torch.randint(0, n_stages, code.values.shape, generator=generator)
    inputs = [torch.randn(*shape, generator=generator) for shape in ((n, d), (n_features, d), (d,))]
    inputs.insert(1, code.values)
    mine = [t.clone().requires_grad_() for t in inputs]
    exact = [t.double().requires_grad_() for t in inputs]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nested, "SPACE", space)  # numbers of a block: a row, some, all
        total, left = nested.squared(*mine, code, transpose(code), stages, n_stages)
    y, values, weight, bias = exact
    wanted, wanted_left = nested.reference(y - bias, values, weight, code, stages, n_stages)
    by_definition = []
    for stage in range(n_stages):
        used = values.new_zeros(n, n_features).index_put(
            (code.rows(), code.indices.long()), torch.where(stages <= stage, values, 0)
        )
        by_definition.append((y - bias - used @ weight).square().sum())
    torch.testing.assert_close(wanted, torch.stack(by_definition).sum())
    torch.testing.assert_close(total.double(), wanted, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(left.double(), wanted_left, rtol=1e-4, atol=1e-4)
    assert not left.requires_grad and not wanted_left.requires_grad
    right = torch.autograd.grad(torch.stack(by_definition).sum() * 3, exact)
    for a, b in zip(torch.autograd.grad(total * 3, mine), right, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


@quick
@given(st.integers(1, 30), st.integers(1, 60), st.integers(0, 2**31))
def test_ranks_number_each_row_from_its_largest_value(n, n_features, seed):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randint(0, 9, (n, n_features), generator=generator).float()  # many ties and zeros
    code = Code.from_dense(dense)
    found = nested.ranks(code)
    assert torch.equal(found, nested.reference_ranks(code))
    for i in range(n):
        first, last = int(code.offsets[i]), int(code.offsets[i + 1])
        assert sorted(found[first:last].tolist()) == list(range(last - first))
        in_order = torch.empty(last - first).scatter_(0, found[first:last], code.values[first:last])
        assert bool((in_order.diff() <= 0).all())
