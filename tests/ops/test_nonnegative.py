"""Law 3 for non-negative pursuit: what comes out is optimal to within the floor, is the reference's, and row-wise."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from monoscope.ops import coactive, fitted, nonnegative, nonnegative_batched, product, pursuit
from monoscope.ops.transpose import transpose
from monoscope.types import Code

shapes = st.tuples(
    st.integers(1, 30), st.integers(1, 90), st.integers(1, 20), st.integers(1, 12), st.integers(0, 2**31)
)
quick = settings(max_examples=60, deadline=None)
every_form = pytest.mark.parametrize("form", [nonnegative, nonnegative_batched], ids=["by row", "batched"])


def case(n: int, n_atoms: int, d: int, seed: int) -> tuple[Tensor, Tensor]:
    """Unit atoms, some of them twice; rows, some of them zero, huge, tiny, repeated or an atom itself."""
    generator = torch.Generator().manual_seed(seed)
    atoms = torch.nn.functional.normalize(torch.randn(n_atoms, d, generator=generator))
    atoms[n_atoms // 2] = atoms[0]
    x = torch.randn(n, d, generator=generator)
    kind = torch.randint(0, 8, (n,), generator=generator)
    x[kind == 0] = 0
    x[kind == 1] = x[0].clone()
    x[kind == 2] *= 1e4
    x[kind == 3] *= 1e-12
    x[kind == 4] = 3 * atoms[-1]
    return x, atoms


@every_form
@quick
@given(shape=shapes, floor=st.sampled_from([0.0, 0.1, 0.7]))
def test_amounts_are_positive_distinct_and_add_up_to_the_row_less_what_is_left(form, shape, floor):
    n, n_atoms, d, most, seed = shape
    x, atoms = case(n, n_atoms, d, seed)
    found = form.pursue(x, atoms, floor, most)
    assert torch.equal(found.picks >= 0, found.values > 0)
    code = found.code(n_atoms)
    assert int(code.counts().max()) <= most
    for i in range(n):
        named = code.indices[code.offsets[i] : code.offsets[i + 1]]
        assert len(named.unique()) == len(named)
    size = x.norm(dim=1, keepdim=True).clamp_min(1e-30)
    torch.testing.assert_close((code.to_dense() @ atoms + found.residual) / size, x / size, rtol=0, atol=1e-5)


@every_form
@pytest.mark.parametrize("floor", [0.05, 0.3, 1.0])
def test_no_atom_would_take_off_more_than_the_floor_and_the_active_ones_nothing(form, floor):
    """The conditions of Karush, Kuhn and Tucker, in float64, where the atoms are few enough to be fitted at all."""
    generator = torch.Generator().manual_seed(3)
    atoms = torch.nn.functional.normalize(torch.randn(60, 40, generator=generator))
    x = (torch.rand(300, 60, generator=generator) < 0.05) * (1 + torch.rand(300, 60, generator=generator)) @ atoms
    found = form.pursue(x, atoms, floor, 40)
    dense = found.code(60).to_dense().double()
    scores = (x.double() - dense @ atoms.double()) @ atoms.double().T
    assert bool((scores <= floor * 1.001 + 1e-5).all())
    assert bool((scores[dense > 0].abs() <= 0.02 * floor + 1e-5).all())


@every_form
def test_what_few_well_separated_atoms_made_is_found_again(form):
    generator = torch.Generator().manual_seed(5)
    atoms = torch.nn.functional.normalize(torch.randn(80, 64, generator=generator))
    true = (torch.rand(200, 80, generator=generator) < 0.04) * (1 + torch.rand(200, 80, generator=generator))
    found = form.pursue(true @ atoms, atoms, 1e-3, 32).code(80).to_dense()
    torch.testing.assert_close(found, true, rtol=0, atol=0.02)


@every_form
@pytest.mark.parametrize("d", [3, 16, 33])
def test_where_nothing_ties_it_is_the_reference(form, d):
    generator = torch.Generator().manual_seed(d)
    atoms = torch.nn.functional.normalize(torch.randn(70, d, generator=generator))
    x = torch.randn(100, d, generator=generator)
    mine = form.pursue(x, atoms, 0.4, 8)
    wanted = nonnegative.reference(x.double(), atoms.double(), 0.4, 8)
    same = (mine.picks == wanted.picks).all(1)
    assert int(same.sum()) >= 98
    torch.testing.assert_close(mine.values[same].double(), wanted.values[same], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(mine.residual[same].double(), wanted.residual[same], rtol=1e-3, atol=2e-3)


WAYS = ["matrix", torch.float32, torch.bfloat16]  # a Gram matrix, or a product in one precision


def by(way: str | torch.dtype, x: Tensor, atoms: Tensor, floor: float, most: int) -> nonnegative.Found:
    """The pursuit of these rows, that way."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nonnegative, "MANY", 0)
        patch.setattr(nonnegative, "ROUNDS", len(atoms))  # any matrix is worth it
        patch.setattr(pursuit, "LARGEST", pursuit.LARGEST if way == "matrix" else 0)
        patch.setattr(product, "fastest", lambda: torch.float32 if way == "matrix" else way)
        return nonnegative.pursue(x, atoms, floor, most)


@quick
@given(shapes)
def test_a_row_is_alone_whichever_way_it_goes(shape):
    n, n_atoms, d, most, seed = shape
    x, atoms = case(n, n_atoms, d, seed)
    whole = [by(way, x, atoms, 0.1, most) for way in WAYS]
    for i in range(min(n, 3)):
        alone = nonnegative.pursue(x[i : i + 1], atoms, 0.1, most)
        assert all(torch.equal(a[0], b[i]) for found in whole for a, b in zip(alone, found, strict=True))


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_no_rows_and_no_atoms_to_speak_of_have_no_code(way):
    for x, atoms in ((torch.zeros(0, 5), torch.eye(5).repeat(100, 1)), (torch.ones(3, 5), torch.zeros(500, 5))):
        found = by(way, x, atoms, 0.1, 3)
        assert [part.shape for part in found] == [(len(x), 3), (len(x), 3), (len(x), 5)]
        assert bool((found.picks == -1).all()) and torch.equal(found.residual, x)


@pytest.mark.parametrize("alike", [0.0, 0.2, 0.6], ids=["apart", "near", "nearer"])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_of_many_atoms_few_are_candidates_whichever_way_they_are_found(way, alike):
    """More atoms exceed a round's share than may be candidates, and rounding hides some of them."""
    generator = torch.Generator().manual_seed(6)
    atoms = torch.nn.functional.normalize(torch.randn(700, 48, generator=generator) + alike)
    x = torch.randn(150, 48, generator=generator) + alike
    wanted = nonnegative.reference(x.double(), atoms.double(), 0.5, 40)
    first = (x @ atoms.T).sort(1).values
    assert int((first[:, -nonnegative.FEW - 1] > nonnegative.ROUND * first[:, -1]).sum()) > 100
    found = by(way, x, atoms, 0.5, 40)
    same = (found.picks == wanted.picks).all(1)
    assert int(same.sum()) >= 147
    torch.testing.assert_close(found.values[same].double(), wanted.values[same], rtol=1e-3, atol=1e-3)
    assert all(torch.equal(a, b) for a, b in zip(found, by(torch.float32, x, atoms, 0.5, 40), strict=True))


@every_form
def test_an_atom_that_the_fit_leaves_nothing_is_dropped(form):
    """The first pick lies between two others, and is not needed once both are there."""
    atoms = torch.nn.functional.normalize(torch.tensor([[1.0, 1.0, 0.5], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]))
    found = form.pursue(torch.tensor([[1.0, 1.0, -0.1]]), atoms, 0.01, 3)
    assert sorted(found.picks[0].tolist()) == [-1, 1, 2]
    torch.testing.assert_close(found.code(3).to_dense(), torch.tensor([[0.0, 1.0, 1.0]]), rtol=0, atol=1e-3)


def some_code(n, n_features, share, seed):
    generator = torch.Generator().manual_seed(seed)
    dense = (torch.rand(n, n_features, generator=generator) < share) * (
        torch.rand(n, n_features, generator=generator) + 1
    )
    code = Code.from_dense(dense)
    return code, transpose(code)


@quick
@given(st.integers(1, 20), st.integers(1, 15), st.floats(0, 1), st.integers(0, 14), st.integers(0, 2**31))
def test_pairs_are_counted(n, n_features, share, first, seed):
    code, by = some_code(n, n_features, share, seed)
    assert torch.equal(coactive.coactive(code, by), coactive.reference(code))
    first, last = min(first, n_features), min(first + 2, n_features)
    assert torch.equal(coactive.coactive(code, by, first, last), coactive.reference(code)[first:last])


@quick
@given(st.integers(1, 20), st.integers(1, 15), st.floats(0, 1), st.sampled_from([0, 1, 4, 256]), st.integers(0, 2**31))
def test_overlap_by_blocks_or_pairs_is_that_of_whole_matrices_and_so_is_its_gradient(n, n_features, share, block, seed):
    code, by = some_code(n, n_features, share, seed)
    w = torch.nn.functional.normalize(torch.randn(n_features, 5, generator=torch.Generator().manual_seed(seed)))
    mine, whole = w.clone().requires_grad_(), w.double().requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coactive, "BLOCK", block)
        patch.setattr(coactive, "DEARER", -1 if block == 0 else 1 << 30)  # pairs by themselves, or none
        found = coactive.overlap(mine, code, by)
    wanted = coactive.reference_overlap(whole, code, by)
    (3 * found).backward()
    (3 * wanted).backward()
    close = {"rtol": 1e-5, "atol": 1e-6 * n * n_features}
    torch.testing.assert_close(found.double(), wanted.detach(), **close)
    torch.testing.assert_close(mine.grad.double(), whole.grad, **close)


@quick
@given(shapes, st.sampled_from([1, 1 << 22]))
def test_fitted_amounts_have_the_gradient_of_the_fit(shape, space):
    n, n_atoms, d, most, seed = shape
    generator = torch.Generator().manual_seed(seed)
    d += 4 * most  # few atoms of many numbers are told apart well
    atoms = torch.nn.functional.normalize(torch.randn(n_atoms, d, generator=generator))
    x = torch.randn(n, d, generator=generator)
    found = nonnegative.pursue(x, atoms, 0.1, most)
    upstream = torch.randn(n, most, generator=generator)
    mine, exact = ([t.to(kind).requires_grad_() for t in (x, atoms)] for kind in (torch.float32, torch.float64))
    made = fitted.amounts(*mine, found)
    assert torch.equal(made, found.values)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitted, "SPACE", space)
        gradients = torch.autograd.grad((made * upstream).sum(), mine)
    written = fitted.reference(*exact, found)
    torch.testing.assert_close(written, found.values.double(), rtol=0, atol=1e-2)  # to the floor, and a fit ends early
    for a, b in zip(gradients, torch.autograd.grad((written * upstream).sum(), exact), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-2, atol=1e-2 * float(1 + b.abs().max()))
