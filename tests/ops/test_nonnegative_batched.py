"""Law 3 for non-negative pursuit of many rows together: the reference's picks, amounts and leftovers, in any blocks."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from monoscope.ops import nonnegative, nonnegative_batched

shapes = st.tuples(
    st.integers(1, 12), st.integers(1, 60), st.integers(2, 20), st.integers(1, 10), st.integers(0, 2**31)
)
quick = settings(max_examples=40, deadline=None)


def case(n: int, n_atoms: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    """Unit atoms, no two alike, in float64; rows, some of them zero, huge, tiny or an atom itself."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.nn.functional.normalize(torch.randn(n_atoms, d, generator=generator, dtype=torch.float64))
    x = torch.randn(n, d, generator=generator, dtype=torch.float64)
    kind = torch.randint(0, 8, (n,), generator=generator)
    x[kind == 0] = 0
    x[kind == 1] *= 1e4
    x[kind == 2] *= 1e-12
    x[kind == 3] = 3 * atoms[-1]
    return x, atoms


def assert_alike(found: nonnegative.Found, wanted: nonnegative.Found, x: Tensor) -> None:
    """The same picks; amounts and leftovers as near as the coordinate descent of float64 rounds."""
    assert torch.equal(found.picks, wanted.picks)
    size = x.norm(dim=1, keepdim=True).clamp_min(1e-30)
    for a, b in zip(found[1:], wanted[1:], strict=True):
        torch.testing.assert_close(a / size, b / size, rtol=0, atol=1e-9)


@quick
@given(shapes, st.sampled_from([0.0, 0.1, 0.7]), st.sampled_from([1, 200, 1 << 26]))
def test_in_float64_it_picks_what_the_reference_picks_in_blocks_of_any_size(shape, floor, space):
    n, n_atoms, d, most, seed = shape
    x, atoms = case(n, n_atoms, d, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nonnegative_batched, "SPACE", space)
        found = nonnegative_batched.pursue(x, atoms, floor, most)
    assert_alike(found, nonnegative.reference(x, atoms, floor, most), x)


def test_rows_of_many_rounds_with_many_drops_are_the_reference_s():
    """Atoms that resemble each other: amounts fall to 0 and come back, fits take many sweeps, rows end far apart."""
    generator = torch.Generator().manual_seed(4)
    alike = torch.randn(80, 16, generator=generator, dtype=torch.float64) + 1.5
    atoms = torch.nn.functional.normalize(alike)
    x = torch.rand(6, 80, generator=generator, dtype=torch.float64).pow(12) @ atoms
    found, wanted = (f(x, atoms, 0.05, 16) for f in (nonnegative_batched.pursue, nonnegative.reference))
    assert len((wanted.picks >= 0).sum(1).unique()) > 2
    assert_alike(found, wanted, x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_types_come_back_as_they_were_given(dtype):
    x, atoms = (t.to(dtype) for t in case(30, 40, 12, 1))
    found = nonnegative_batched.pursue(x[x.isfinite().all(1)], atoms, 0.3, 6)
    assert found.values.dtype == found.residual.dtype == dtype and found.picks.dtype == torch.int32
    wide = nonnegative_batched.pursue(x[x.isfinite().all(1)].float(), atoms.float(), 0.3, 6)
    assert torch.equal(found.picks, wide.picks) and torch.equal(found.values, wide.values.to(dtype))


def test_no_rows_have_no_code():
    found = nonnegative_batched.pursue(torch.zeros(0, 5), torch.eye(5), 0.1, 3)
    assert [part.shape for part in found] == [(0, 3), (0, 3), (0, 5)]


@pytest.mark.gpu
@pytest.mark.parametrize("floor", [0.1, 0.7])
def test_a_cuda_device_picks_what_the_reference_picks(floor):
    x, atoms = case(200, 300, 24, 7)
    found = nonnegative.pursue(x.cuda(), atoms.cuda(), floor, 12)
    assert found.values.device.type == "cuda"
    assert_alike(nonnegative.Found(*(t.cpu() for t in found)), nonnegative.reference(x, atoms, floor, 12), x)
