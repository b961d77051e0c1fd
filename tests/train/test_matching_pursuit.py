"""Matching pursuit: its loss and gradient are those of the steps written out, it recovers, and dead atoms come back."""

from __future__ import annotations

import torch
from torch import Tensor

from monoscope.dictionary.base import Dictionary, architecture
from monoscope.ops import pursuit
from monoscope.train.fit import fit
from monoscope.train.objective import objective
from monoscope.train.objectives.matching_pursuit import unexplained

D, TRUE = 24, 48


def planted(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows made of few of ``TRUE`` unit directions, and the directions."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(TRUE, D, generator=generator))
    generator = torch.Generator().manual_seed(100 + seed)
    strength = 0.3 + torch.rand(n, TRUE, generator=generator)
    active = (torch.rand(n, TRUE, generator=generator) < 0.05) * strength
    return active @ directions + 0.5, directions


def random_case(k: int = 3) -> tuple[Dictionary, Tensor]:
    """A dictionary with random unit rows and a bias, and rows."""
    made = architecture("matching_pursuit")(7, 20, k=k)
    generator = torch.Generator().manual_seed(3)
    made.w_dec.data = torch.nn.functional.normalize(torch.randn(20, 7, generator=generator))
    made.b_dec.data = torch.randn(7, generator=generator)
    return made, torch.randn(40, 7, generator=generator)


def stepwise(x: Tensor, atoms: Tensor, bias: Tensor, k: int) -> Tensor:
    """The reconstruction by the definition, one row and one step at a time; differentiable."""
    made = []
    for row in x:
        left, total = row - bias, bias
        for _ in range(k):
            scores = atoms @ left
            at = int(scores.argmax())
            total = total + scores[at] * atoms[at]
            left = left - scores[at] * atoms[at]
        made.append(total)
    return torch.stack(made)


def test_loss_and_gradient_are_those_of_the_steps_written_out():
    made, x = random_case()
    goal = objective("matching_pursuit")(made, 1000, 0, auxk=0)
    (loss,) = goal.losses(made, x, x, 0.0).values()
    atoms, bias = (p.detach().double().requires_grad_() for p in (made.w_dec, made.b_dec))
    wanted = (x.double() - stepwise(x.double(), atoms, bias, 3)).square().mean()
    torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=1e-7)
    mine = torch.autograd.grad(loss, [made.w_dec, made.b_dec])
    for a, b in zip(mine, torch.autograd.grad(wanted, [atoms, bias]), strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(made(x).double(), stepwise(x.double(), atoms, bias, 3), rtol=1e-4, atol=1e-5)


def test_planted_atoms_are_recovered():
    x, directions = planted(60_000)
    how = {"k": 3, "batch_size": 500, "rate": 1e-2, "n_tokens": 120_000, "show_progress": False}
    found = fit(x, 96, "matching_pursuit", **how)
    random = fit(x, 96, "matching_pursuit", frozen=("w_dec",), **how)
    held_out, _ = planted(5000, seed=1)

    def fvu(one: Dictionary) -> float:
        return float((held_out - one(held_out)).square().sum() / (held_out - held_out.mean(0)).square().sum())

    torch.testing.assert_close(found.directions.norm(dim=1), torch.ones(96), rtol=1e-5, atol=1e-5)
    assert float((found.directions @ directions.T).max(0).values.mean()) > 0.95
    assert float((random.directions @ directions.T).max(0).values.mean()) < 0.8
    assert fvu(found) < 0.1 < 0.3 < fvu(random)
    assert int(found.encode(held_out).counts().max()) <= 3


def test_dead_atoms_pursue_what_is_left():
    made, x = random_case()
    dead = torch.zeros(20, dtype=torch.bool)
    dead[[2, 5, 11]] = True
    left = x - x.mean(0)
    share = unexplained(made, left, left, dead)
    wanted = pursuit.reference(left, made.w_dec[dead].detach(), 3).residual.square().sum() / left.square().sum()
    torch.testing.assert_close(share, wanted)
    share.backward()
    assert torch.equal(made.w_dec.grad.abs().sum(1) > 0, dead)
    assert float(unexplained(made, left, left, torch.zeros(20, dtype=torch.bool))) == 0


def test_atoms_that_never_fire_come_back():
    """Half of the atoms start as one direction that no row has."""
    x, _ = planted(20_000)
    alive = []
    for weight in (0.0, 1 / 32):
        made = architecture("matching_pursuit")(D, 64, k=3)
        goal = objective("matching_pursuit")(made, 20_000, 0, auxk=weight, dead_after=500)
        rows = (x - x.mean(0)) / x.std()
        goal.initialise(made, rows, rows)
        away = torch.zeros(D)
        away[0] = 1
        made.w_dec.data[:32] = away
        rows[:, 0] = -rows[:, 0].abs() - 3  # nothing points that way
        optimiser = torch.optim.Adam(made.parameters(), lr=1e-2)
        for batch in rows.split(500):
            optimiser.zero_grad()
            torch.stack(list(goal.losses(made, batch, batch, 0.0).values())).sum().backward()
            optimiser.step()
            made.w_dec.data = torch.nn.functional.normalize(made.w_dec.data)
        alive.append(int((~goal.silence.dead(2000)).sum()))
    assert alive[1] > alive[0] + 5
