"""The atom nearest to a row, over several tiles of atoms, the last of them not full."""

from __future__ import annotations

import pytest
import torch

from monoscope.ops import nearest, nonnegative, pursuit


@pytest.mark.parametrize("width", [nearest.tile(n) for n in (1, 30, 500)])
@pytest.mark.parametrize("n_atoms", [1, 63, 1024, 2100])
def test_every_group_has_its_largest_inner_product(n_atoms, width):
    generator = torch.Generator().manual_seed(n_atoms)
    atoms, rows = torch.randn(n_atoms, 7, generator=generator), torch.randn(5, 7, generator=generator)
    found = torch.from_numpy(nearest.group_maxima(rows, atoms, width))
    scores, at = rows @ atoms.T, torch.arange(n_atoms)
    stride = width // nearest.GROUP
    group = at // width * stride + at % width % stride
    wanted = torch.full_like(found, -torch.inf).scatter_reduce(1, group.expand(5, -1), scores, "amax")
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("pursue", [lambda *a: pursuit.pursue(*a, 5), lambda *a: nonnegative.pursue(*a, 0.4, 5)])
def test_it_is_the_same_with_the_gram_matrix_and_of_equals_the_first(pursue, monkeypatch):
    """Equals in the same tile and in others; rows in blocks of which some end soon."""
    generator = torch.Generator().manual_seed(1)
    atoms = torch.nn.functional.normalize(torch.randn(2100, 12, generator=generator))
    atoms[[70, 1500, 2099]] = atoms[5].clone()
    x = torch.randn(450, 12, generator=generator)
    x[:20], x[20:40] = 2 * atoms[5], 0
    whole = pursue(x, atoms)
    monkeypatch.setattr(pursuit, "LARGEST", 0)
    monkeypatch.setattr(pursuit, "TOGETHER", 33)
    monkeypatch.setattr(nonnegative, "BLOCK", 0)
    monkeypatch.setattr(nonnegative, "ROWS", 33)
    afresh = pursue(x, atoms)
    assert all(torch.equal(a, b) for a, b in zip(whole, afresh, strict=True))
    assert bool((afresh.picks[:20, 0] == 5).all()) and bool((afresh.picks[20:40] == -1).all())
