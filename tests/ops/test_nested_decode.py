"""Law 3 for decoding in stages: the kernel is the dense reference, gradients included."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.ops import nested
from monoscope.types import Code


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 60), st.integers(1, 9), st.integers(1, 5), st.integers(0, 2**31))
def test_decoding_in_stages_equals_its_reference(n, n_features, d, n_stages, seed):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.rand(n, n_features, generator=generator)
    dense[torch.rand(n, generator=generator) < 0.2] = 0  # rows without any entry
    code = Code.from_dense(torch.where(dense > 0.7, dense, 0))
    weight = torch.randn(n_features, d, generator=generator, requires_grad=True)
    values = code.values.clone().requires_grad_()
    stages = torch.randint(0, n_stages, values.shape, generator=generator)
    upstream = torch.randn(n_stages, n, d, generator=generator)

    mine = nested.decode(values, weight, code, stages, n_stages)
    exact = [t.detach().double().requires_grad_() for t in (values, weight)]
    wanted = nested.reference(*exact, code, stages, n_stages)
    torch.testing.assert_close(mine.double(), wanted, rtol=1e-5, atol=1e-5)
    gradients = torch.autograd.grad((mine * upstream).sum(), (values, weight))
    right = torch.autograd.grad((wanted * upstream).sum(), exact)
    for a, b in zip(gradients, right, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 60), st.integers(0, 2**31))
def test_ranks_number_each_row_from_its_largest_value(n, n_features, seed):
    generator = torch.Generator().manual_seed(seed)
    dense = torch.randint(0, 9, (n, n_features), generator=generator).float()  # many ties and zeros
    code = Code.from_dense(dense)
    found = nested.ranks(code)
    for i in range(n):
        first, last = int(code.offsets[i]), int(code.offsets[i + 1])
        assert sorted(found[first:last].tolist()) == list(range(last - first))
        in_order = torch.empty(last - first).scatter_(0, found[first:last], code.values[first:last])
        assert bool((in_order.diff() <= 0).all())
