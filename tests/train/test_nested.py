"""Matryoshka and HierarchicalTopK: losses and gradients against the dense formula, and what they are trained for."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.errors import MonoscopeError
from monoscope.train.fit import fit
from monoscope.train.objective import objective

D, TRUE = 24, 48
PARAMETERS = ("w_enc", "b_enc", "w_dec", "b_dec")


def planted(n: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Rows made of few of ``TRUE`` unit directions, the first of them the most frequent; and the directions."""
    generator = torch.Generator().manual_seed(1)
    directions = torch.nn.functional.normalize(torch.randn(TRUE, D, generator=generator))
    density = 0.3 / (1 + torch.arange(TRUE)) ** 0.5
    generator = torch.Generator().manual_seed(100 + seed)
    strength = 0.5 + torch.rand(n, TRUE, generator=generator)
    active = (torch.rand(n, TRUE, generator=generator) < density) * strength
    return active @ directions + 0.5, directions


def recovered(dictionary: Dictionary, directions: Tensor) -> float:
    """Mean over true directions of the best cosine with a learned one."""
    learned = torch.nn.functional.normalize(dictionary.directions)
    return float((learned @ directions.T).max(0).values.mean())


def fvu(dictionary: Dictionary, x: Tensor) -> float:
    """Fraction of variance unexplained."""
    return float((x - dictionary(x)).square().sum() / (x - x.mean(0)).square().sum())


def learned(name: str, **options) -> tuple[Dictionary, Tensor]:
    """A dictionary of the planted directions, and the directions."""
    x, directions = planted(60_000)
    how = {"batch_size": 500, "rate": 1e-2, "n_tokens": 150_000, "show_progress": False}
    return fit(x, 96, name, k=4, **how, **options), directions


def random_case(name: str, **settings) -> tuple[Dictionary, Tensor, Tensor]:
    """A random dictionary, and rows with targets."""
    made = architecture(name)(7, 32, 5, **settings)
    generator = torch.Generator().manual_seed(3)
    for parameter in made.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator)
    return made, torch.randn(40, 7, generator=generator), torch.randn(40, 5, generator=generator)


def dense_terms(w: dict[str, Tensor], x: Tensor, y: Tensor, masks: list[Tensor]) -> Tensor:
    """The mean over ``masks`` (which entries are in use) of the squared error, by dense float64 products."""
    scores = x @ w["w_enc"].T + w["b_enc"]
    errors = [(y - torch.where(m, scores, 0) @ w["w_dec"] - w["b_dec"]).square().mean() for m in masks]
    return torch.stack(errors).mean()


def compare(made: Dictionary, terms: dict[str, Tensor], x: Tensor, y: Tensor, masks: list[Tensor]) -> None:
    """Loss and gradients are those of the dense formula."""
    exact = {n: p.detach().double().requires_grad_() for n, p in made.named_parameters()}
    wanted = dense_terms(exact, x.double(), y.double(), masks)
    torch.testing.assert_close(terms["nested"].double(), wanted, rtol=1e-5, atol=1e-6)
    mine = torch.autograd.grad(terms["nested"], [getattr(made, n) for n in PARAMETERS])
    right = torch.autograd.grad(wanted, [exact[n] for n in PARAMETERS])
    for a, b in zip(mine, right, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-5 * float(1 + b.abs().max()))


def test_matryoshka_loss_is_the_mean_over_prefixes():
    made, x, y = random_case("matryoshka", k=3, prefixes=(0.25, 0.5, 1))
    goal = objective("matryoshka")(made, 1000, 0, precision="float32", auxk=0)
    scores = (x @ made.w_enc.T + made.b_enc).detach()
    cut = scores.flatten().topk(3 * len(x)).values.min()
    used = scores >= cut
    masks = [used & (torch.arange(32) < size) for size in (8, 16, 32)]
    compare(made, goal.losses(made, x, y, 0.5), x, y, masks)


def test_unasked_budgets_are_spread_evenly():
    made = architecture("hierarchical_topk")(32, 64, k=20)
    assert objective("hierarchical_topk")(made, 1000, 0).budgets == [3, 5, 8, 10, 13, 15, 18, 20]


@pytest.mark.parametrize("budgets", [(), (2,), (1, 2, 4)])
def test_hierarchical_loss_is_the_mean_over_budgets(budgets):
    made, x, y = random_case("hierarchical_topk", k=6)
    made.b_enc.data -= 3  # some rows have fewer than k positive scores
    goal = objective("hierarchical_topk")(made, 1000, 0, precision="float32", auxk=0, budgets=budgets)
    scores = (x @ made.w_enc.T + made.b_enc).detach()
    assert 0 < int(((scores > 0).sum(1) < 6).sum()) < len(x)
    rank = scores.argsort(1, descending=True).argsort(1)
    masks = [
        (rank < j) & (scores > 0) for j in {(): (1, 2, 3, 4, 5, 6), (2,): (2, 6), (1, 2, 4): (1, 2, 4, 6)}[budgets]
    ]
    compare(made, goal.losses(made, x, y, 0.0), x, y, masks)


@pytest.mark.parametrize("name", ["matryoshka", "hierarchical_topk"])
def test_auxk_is_of_what_all_stages_leave(name):
    made, x, y = random_case(name, k=3)
    goal = objective(name)(made, 1000, 0, precision="float32", dead_after=1)
    goal.silence.tokens += 100
    alone = goal.losses(made, x, y, 0.0)["auxk"]
    assert 0 < float(alone.detach()) < 1
    alone.backward()
    assert float(made.w_enc.grad.abs().sum()) > 0


def test_matryoshka_recovers_calibrates_and_its_prefixes_reconstruct_alone():
    found, directions = learned("matryoshka", prefixes=(0.25, 0.5, 1))
    held_out, _ = planted(20_000, seed=1)
    plain, _ = learned("batch_topk")
    code = found.encode(held_out)
    assert recovered(found, directions) > 0.87
    assert abs(len(code.indices) / len(code) / 4 - 1) < 0.03
    inner = [found.prefix(size) for size in found.sizes]
    assert [p.n_features for p in inner] == [24, 48, 96]
    errors = [fvu(p, held_out) for p in inner]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == pytest.approx(fvu(found, held_out))
    # the first quarter of a plain BatchTopK are no dictionary
    x_hat = plain.encode(held_out).to_dense()[:, :24] @ plain.directions[:24] + plain.b_dec
    assert errors[0] < 0.8 * float((held_out - x_hat).square().sum() / (held_out - held_out.mean(0)).square().sum())


def test_a_prefix_is_the_first_columns_of_the_code(tmp_path):
    made, x, _ = random_case("matryoshka", k=3)
    made.requires_grad_(False).get_buffer("threshold").fill_(0.5)
    small = made.prefix(8)
    assert torch.equal(small.encode(x).to_dense(), made.encode(x).to_dense()[:, :8])
    assert small.w_dec.data_ptr() == made.w_dec.data_ptr()
    assert small.sizes == [2, 4, 8]
    small.save(tmp_path)
    assert torch.equal(io.load(tmp_path)(x), small(x))
    with pytest.raises(MonoscopeError, match="choose one of 2, 4, 8, 16, 32"):
        made.prefix(9)


def test_one_hierarchical_dictionary_is_good_at_every_smaller_k(tmp_path):
    found, directions = learned("hierarchical_topk")
    held_out, _ = planted(5000, seed=1)
    plain, _ = learned("topk")
    errors = [fvu(found.at(k), held_out) for k in range(1, 5)]
    assert recovered(found, directions) > 0.95
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] == fvu(found, held_out)
    plain.k = 1  # a TopK dictionary read at another k than its own
    assert errors[0] < fvu(plain, held_out)
    view = found.at(2)
    assert int(view.encode(held_out).counts().max()) == 2
    assert found.k == 4 and view.w_dec is found.w_dec
    view.save(tmp_path)
    assert torch.equal(io.load(tmp_path)(held_out), view(held_out))
    with pytest.raises(MonoscopeError, match="between 1 and 4"):
        found.at(5)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("matryoshka", {"prefixes": (0.5, 0.25, 1)}, "ascending"),
        ("matryoshka", {"prefixes": (0.5,)}, "the last is 1"),
        ("matryoshka", {"prefixes": (0, 1)}, "above 0"),
        ("hierarchical_topk", {"budgets": (0, 3)}, "whole numbers from 1"),
        ("hierarchical_topk", {"budgets": (7,)}, "from 1 to k"),
    ],
)
def test_unusable_stages_are_refused(name, options, message):
    with pytest.raises(MonoscopeError, match=message):
        fit(planted(4000)[0], 32, name, k=4, batch_size=500, show_progress=False, **options)
