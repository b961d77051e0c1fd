"""Transcoders that pursue: what they read by and what they write are learned from the target alone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monoscope.dictionary.base import architecture, architectures
from monoscope.errors import MonoscopeError
from monoscope.ops import pursuit
from monoscope.train.fit import fit
from monoscope.train.objective import objective
from monoscope.train.objectives.matching_pursuit import unexplained

D, OUT, TRUE = 24, 10, 32
PURSUITS = [n for n in architectures() if "untied" in architecture(n).settings]


def planted(n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows made of few of ``TRUE`` unit directions, what each of these stands for, and the directions."""
    generator = torch.Generator().manual_seed(1)
    read = torch.nn.functional.normalize(torch.randn(TRUE, D, generator=generator))
    written = 3 * torch.nn.functional.normalize(torch.randn(TRUE, OUT, generator=generator))
    generator = torch.Generator().manual_seed(100 + seed)
    strength = (torch.rand(n, TRUE, generator=generator) < 0.06) * (0.5 + torch.rand(n, TRUE, generator=generator))
    return 7 * (strength @ read + 0.5), strength @ written - 2, read


@pytest.mark.parametrize("name", PURSUITS)
def test_a_planted_map_is_found(name):
    x, y, read = planted(40_000, 0)
    how = {"k": 4, "batch_size": 500, "rate": 5e-3, "n_tokens": 240_000, "show_progress": False}
    found = fit(x, 48, name, target=y, **how)
    test_x, test_y, _ = planted(4000, 1)
    missing = test_y - found(test_x)
    assert float(missing.square().sum() / (test_y - test_y.mean(0)).square().sum()) < 0.1
    assert float((read @ found.atoms.T).max(1).values.mean()) > 0.9
    ones = torch.ones(48)
    torch.testing.assert_close(found.directions.norm(dim=1), ones, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.atoms.norm(dim=1), ones, rtol=1e-5, atol=1e-5)
    assert found.provenance["target"] == "another array"


@pytest.mark.parametrize("name", PURSUITS)
def test_another_target_is_not_read_along_what_is_written(name):
    x, _, _ = planted(100, 0)
    with pytest.raises(MonoscopeError, match="only reconstruct what it reads"):
        fit(x, 48, name, target=x.flip(1), k=2, batch_size=50, untied=False, show_progress=False)


def test_loss_and_gradient_are_those_of_the_steps_written_out():
    generator = torch.Generator().manual_seed(3)
    made = architecture("matching_pursuit")(7, 20, 5, k=3)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    made.w_enc.data = torch.nn.functional.normalize(made.w_enc.data)
    x, y = torch.randn(40, 7, generator=generator), torch.randn(40, 5, generator=generator)
    (loss,) = objective("matching_pursuit")(made, 1000, 0, auxk=0).losses(made, x, y, 0.5).values()
    names = ["w_enc", "b_in", "w_dec", "b_dec"]
    exact = {n: p.detach().double().requires_grad_() for n, p in made.named_parameters()}
    picks = made.pursue(x - made.b_in.detach()).picks
    values, _ = pursuit.reference_steps(x.double() - exact["b_in"], exact["w_enc"], picks)
    made_of = (values[:, :, None] * exact["w_dec"][picks.long()]).sum(1) + exact["b_dec"]
    wanted = (y.double() - made_of).square().mean()
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=1e-7)
    mine = torch.autograd.grad(loss, [getattr(made, n) for n in names])
    for a, b in zip(mine, torch.autograd.grad(wanted, [exact[n] for n in names]), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-6)
    code = made.encode(x)
    torch.testing.assert_close(made.decode(code).double(), made_of.detach(), rtol=1e-4, atol=1e-5)


def test_dead_atoms_of_a_transcoder_pursue_the_rows_and_write_what_is_missing():
    generator = torch.Generator().manual_seed(4)
    made = architecture("matching_pursuit")(7, 20, 5, k=2)
    for parameter in made.parameters():
        parameter.data = torch.nn.functional.normalize(torch.randn(parameter.shape, generator=generator), dim=-1)
    left, missing = torch.randn(40, 7, generator=generator), torch.randn(40, 5, generator=generator)
    dead = torch.zeros(20, dtype=torch.bool)
    dead[[2, 5, 11]] = True
    share = unexplained(made, left, missing, dead)
    found = pursuit.reference(left, made.w_enc[dead].detach(), 2)
    still = missing - found.code(3).to_dense() @ made.w_dec[dead]
    torch.testing.assert_close(share, still.square().sum() / missing.square().sum())
    share.backward()
    for weight in (made.w_enc, made.w_dec):
        assert torch.equal(weight.grad.abs().sum(1) > 0, dead)


@pytest.mark.parametrize("name", PURSUITS)
def test_what_is_written_has_the_length_that_amounts_lose(name):
    made = architecture(name)(7, 20, 5, k=2).requires_grad_(False)
    for tensor in made.parameters():
        tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(5)))
    x = torch.randn(40, 7)
    before = made(x)
    made.fold()
    torch.testing.assert_close(made.directions.norm(dim=1), torch.ones(20))
    torch.testing.assert_close(made(x), before, rtol=1e-4, atol=1e-4)
