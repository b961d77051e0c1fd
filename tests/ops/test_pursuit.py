"""Law 3 for matching pursuit: each step is the best there is, gradients are those of the steps, rows are alone."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.ops import nonnegative, pursuit

shapes = st.tuples(st.integers(1, 30), st.integers(1, 90), st.integers(1, 20), st.integers(1, 9), st.integers(0, 2**31))
quick = settings(max_examples=60, deadline=None)


def case(n: int, n_atoms: int, d: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
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


@quick
@given(shapes)
def test_every_step_takes_the_best_atom_and_all_of_it(shape):
    """Along the kernel's own path, in float64: where scores nearly tie, two right paths may part for good."""
    n, n_atoms, d, k, seed = shape
    x, atoms = case(n, n_atoms, d, seed)
    found = pursuit.pursue(x, atoms, k)
    left, exact = x.double(), atoms.double()
    tolerance = 1e-6 * (d + k) * x.double().norm(dim=1)
    stopped = torch.zeros(n, dtype=torch.bool)
    for at, value in zip(found.picks.long().unbind(1), found.values.double().unbind(1), strict=True):
        scores = left @ exact.T
        stopped |= at < 0
        assert bool((at[stopped] < 0).all()) and bool((value[stopped] == 0).all())
        assert bool((scores.max(1).values <= tolerance)[stopped].all())
        of_picked = torch.where(stopped, scores.max(1).values, scores.gather(1, at.clamp_min(0)[:, None])[:, 0])
        assert bool((of_picked >= scores.max(1).values - tolerance).all())
        assert bool(((value - of_picked).abs() <= tolerance)[~stopped].all()) and bool((value[~stopped] > 0).all())
        left = left - value[:, None] * exact[at.clamp_min(0)]
    assert bool(((left - found.residual).norm(dim=1) <= tolerance).all())


ENDS = [(0.0, False), (0.7, False), (0.0, True), (0.7, True)]


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize("d", [3, 16, 33])
def test_where_nothing_ties_it_is_the_reference(d, ends):
    generator = torch.Generator().manual_seed(d)
    atoms = torch.nn.functional.normalize(torch.randn(70, d, generator=generator))
    x = torch.randn(200, d, generator=generator)
    mine, wanted = pursuit.pursue(x, atoms, 6, *ends), pursuit.reference(x.double(), atoms.double(), 6, *ends)
    same = (mine.picks == wanted.picks).all(1)
    assert int(same.sum()) >= 198
    torch.testing.assert_close(mine.values[same].double(), wanted.values[same], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mine.residual[same].double(), wanted.residual[same], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("ends", ENDS)
def test_a_pursuit_ends_where_it_is_told_to(ends):
    enough, once = ends
    generator = torch.Generator().manual_seed(1)
    atoms = torch.nn.functional.normalize(torch.randn(40, 12, generator=generator))
    x = torch.randn(300, 12, generator=generator)
    found = pursuit.pursue(x, atoms, 8, enough, once)
    left, stopped, before = x.double(), torch.zeros(300, dtype=torch.bool), torch.zeros(300, 40, dtype=torch.bool)
    for at, value in zip(found.picks.long().unbind(1), found.values.double().unbind(1), strict=True):
        assert bool((at >= 0)[~stopped].all()) and bool((at < 0)[stopped].all())
        left = left - value[:, None] * atoms.double()[at.clamp_min(0)]
        again = before.gather(1, at.clamp_min(0)[:, None])[:, 0] & (at >= 0)
        stopped |= (left.norm(dim=1) < enough) | (again & once)
        before |= torch.nn.functional.one_hot(at.clamp_min(0), 40).bool() & (at >= 0)[:, None]
    assert bool(stopped.any()) == (enough > 0 or once) and not bool(stopped.all())


@quick
@given(shapes, st.sampled_from(ENDS))
def test_a_row_is_alone_with_or_without_the_gram_matrix(shape, ends):
    n, n_atoms, d, k, seed = shape
    x, atoms = case(n, n_atoms, d, seed)
    with pytest.MonkeyPatch.context() as patch:
        whole = pursuit.pursue(x.repeat(1 + n_atoms // (n * k), 1), atoms, k, *ends)  # enough rows for the Gram matrix
        patch.setattr(pursuit, "LARGEST", 0)
        for i in range(min(n, 3)):
            alone = pursuit.pursue(x[i : i + 1], atoms, k, *ends)
            assert all(torch.equal(a[0], b[i]) for a, b in zip(alone, whole, strict=True))


@pytest.mark.parametrize("pursue", [lambda *a: pursuit.pursue(*a, 12), lambda *a: nonnegative.pursue(*a, 0.01, 12)])
def test_what_sixteen_bits_cannot_tell_apart_is_told_apart(pursue, monkeypatch):
    """Families of atoms whose inner products differ by less than a step of the Gram matrix."""
    generator = torch.Generator().manual_seed(2)
    families = torch.randn(8, 1, 24, generator=generator)
    alike = families + 1e-5 * torch.randn(8, 60, 24, generator=generator)
    atoms = torch.nn.functional.normalize(alike.view(480, 24))
    x = torch.randn(400, 24, generator=generator)
    whole = pursue(x, atoms)
    monkeypatch.setattr(pursuit, "LARGEST", 0)
    assert all(torch.equal(a, b) for a, b in zip(whole, pursue(x, atoms), strict=True))


@pytest.mark.parametrize("pursue", [lambda *a: pursuit.pursue(*a, 6), lambda *a: nonnegative.pursue(*a, 0.1, 6)])
def test_what_is_kept_of_atoms_changes_no_row_and_a_change_of_them_is_noticed(pursue, monkeypatch):
    x, atoms = case(20, 300, 8, 3)
    made: list[int] = []
    matrix = pursuit.gram_matrix
    monkeypatch.setattr(pursuit, "gram_matrix", lambda atoms: made.append(len(atoms)) or matrix(atoms))

    def rows() -> list[torch.Tensor]:
        return [torch.cat(parts) for parts in zip(*(pursue(row, atoms) for row in x.split(1)), strict=True)]

    def same(a: list[torch.Tensor], b: list[torch.Tensor]) -> bool:
        return all(torch.equal(one, other) for one, other in zip(a, b, strict=True))

    alone = rows()
    assert not made  # for a row it is never worth it
    pursuit.keep(atoms)
    assert same(rows(), alone) and made == [300]  # for twenty, one after the other, once
    pursuit.keep(atoms)
    assert same(list(pursue(x, atoms)), alone) and made == [300]
    atoms.copy_(atoms.flip(0))
    changed = rows()
    assert not same(changed, alone) and made == [300]
    assert same(changed, rows())


def test_ties_go_to_the_lower_index_and_an_atom_is_named_once():
    atoms = torch.nn.functional.normalize(torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.6, 0.8], [0.0, 1.0]]))
    found = pursuit.pursue(torch.tensor([[2.0, 0.0], [1.0, 1.9], [0.0, 0.0], [-1.0, -1.0]]), atoms, 4)
    assert found.picks[0].tolist() == [0, -1, -1, -1]
    assert found.picks[2:].eq(-1).all()
    code = found.code(4)
    assert code.counts().tolist()[0] == 1 and code.counts().tolist()[2:] == [0, 0]


@quick
@given(shapes)
def test_a_code_adds_up_to_the_row_less_what_is_left(shape):
    n, n_atoms, d, k, seed = shape
    x, atoms = case(n, n_atoms, d, seed)
    found = pursuit.pursue(x, atoms, k)
    code = found.code(n_atoms)
    assert bool((code.values > 0).all()) and int(code.counts().max()) <= k
    size = x.norm(dim=1, keepdim=True).clamp_min(1e-30)
    torch.testing.assert_close((code.to_dense() @ atoms + found.residual) / size, x / size, rtol=0, atol=1e-5)
    for i in range(n):
        named = code.indices[code.offsets[i] : code.offsets[i + 1]]
        assert len(named.unique()) == len(named)


def test_an_atom_that_is_picked_again_adds_up():
    half, high = 0.5, 0.75**0.5
    atoms = torch.tensor([[1.0, 0.0], [-half, high]])  # 120° apart, the row between them
    found = pursuit.pursue(torch.tensor([[half, high]]), atoms, 4)
    assert found.picks.tolist() == [[0, 1, 0, 1]]
    torch.testing.assert_close(found.values, torch.tensor([[0.5, 0.75, 0.375, 0.1875]]))
    torch.testing.assert_close(found.code(2).to_dense(), torch.tensor([[0.875, 0.9375]]))


def pulled(
    made: tuple[torch.Tensor, torch.Tensor], leaves: list[torch.Tensor], upstream: list[torch.Tensor]
) -> tuple[torch.Tensor, ...]:
    """The gradients of values alone, of what is left alone, and of both."""
    sums = [(m * u).sum() for m, u in zip(made, upstream, strict=True)]
    return tuple(g for s in [*sums, sums[0] + sums[1]] for g in torch.autograd.grad(s, leaves, retain_graph=True))


@quick
@given(shapes, st.sampled_from([1, 1 << 22]))
def test_gradients_are_those_of_the_steps(shape, space):
    n, n_atoms, d, k, seed = shape
    x, atoms = case(n, n_atoms, d, seed)
    x = torch.nn.functional.normalize(x)
    found = pursuit.pursue(x, atoms, k)
    generator = torch.Generator().manual_seed(seed)
    upstream = [torch.randn(n, m, generator=generator) for m in (k, d)]
    mine, exact = ([t.to(kind).requires_grad_() for t in (x, atoms)] for kind in (torch.float32, torch.float64))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pursuit, "SPACE", space)
        gradients = pulled(pursuit.steps(*mine, found), mine, upstream)
    wanted = pulled(pursuit.reference_steps(*exact, found.picks), exact, upstream)
    for a, b in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4 * float(1 + b.abs().max()))


@settings(max_examples=25, deadline=None)
@given(shapes)
def test_gradients_in_plain_torch_are_those_of_the_steps(shape):
    """In float64, which takes the form that a device takes."""
    n, n_atoms, d, k, seed = shape
    x, atoms = (t.double() for t in case(n, n_atoms, d, seed))
    x = torch.nn.functional.normalize(x)
    found = pursuit.pursue(x, atoms, k)
    generator = torch.Generator().manual_seed(seed)
    upstream = [torch.randn(n, m, generator=generator, dtype=torch.float64) for m in (k, d)]
    inputs = [x.requires_grad_(), atoms.requires_grad_()]
    wanted = pulled(pursuit.reference_steps(*inputs, found.picks), inputs, upstream)
    for a, b in zip(pulled(pursuit.steps(*inputs, found), inputs, upstream), wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12 * float(1 + b.abs().max()))


def test_rows_are_gone_through_in_blocks_where_torch_makes_the_scores(monkeypatch):
    x, atoms = (t.double() for t in case(23, 40, 9, 5))
    wanted = pursuit.pursue(x, atoms, 4)
    monkeypatch.setattr(pursuit, "DENSE", 5 * len(atoms))
    found = pursuit.pursue(x, atoms, 4)
    assert torch.equal(found.picks, wanted.picks)
    torch.testing.assert_close(found.residual, wanted.residual, rtol=1e-12, atol=1e-7)
