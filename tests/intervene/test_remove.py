"""Removal: the folded map is the map held while running, ordinary folders open, and what is exact is exact."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from steer_world import dictionary, saved

import monoscope as ms
from monoscope import plugins
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.errors import MonoscopeError
from monoscope.intervene import remove
from monoscope.intervene.affine import Affine, Moments, span
from monoscope.intervene.edit import Direction, Edit, Recipe
from monoscope.intervene.removals import PACKAGE, Task
from monoscope.models.language_model import LanguageModel
from monoscope.signals.features import Watched

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from tiny_models import (  # isort: skip
    CONFIGS, EXPERTS, MLP, PARALLEL, D, block, close, language_model, tokeniser, transformer,
)  # fmt: skip

POST_NORM = ("bert", "roberta", "gemma2", "gemma3", "olmo2")
FOLDS = [name for name in CONFIGS if name not in (*POST_NORM, *EXPERTS)]
STREAM = ("embed", "resid_pre.1", "attn_out.1", "resid_mid.0", "mlp_out.0", "resid_post.1")


def change(d: int, seed: int = 0, constant: bool = True) -> Affine:
    """Any affine map near the identity."""
    generator = torch.Generator().manual_seed(seed)
    a, c = (torch.randn(*shape, generator=generator, dtype=torch.float64) / 8 for shape in ((d, d), (d,)))
    return Affine(torch.eye(d, dtype=torch.float64) + a, c if constant else 0 * c)


def test_a_map_may_be_of_any_numbers_but_not_of_another_width() -> None:
    lm, exact = language_model("gpt2"), change(MLP)
    expected = remove.removed(lm, "mlp_act.0", exact).fingerprint
    assert remove.removed(lm, "mlp_act.0", Affine(exact.a.numpy(), exact.c.tolist())).fingerprint == expected
    remove.removed(lm, "mlp_act.0", Affine(exact.a.float(), exact.c.float()))
    with pytest.raises(MonoscopeError, match=f"a map of 3 numbers; mlp_act.0 has {MLP}"):
        remove.removed(lm, "mlp_act.0", change(3))
    eye = torch.eye(3)
    for a, c in ((eye, torch.zeros(2)), (eye[:2], torch.zeros(3)), (eye * torch.nan, torch.zeros(3)), (None, None)):
        with pytest.raises(MonoscopeError, match=r"is no map of a site|made of numbers"):
            Affine(a, c)


def moments(x: torch.Tensor, values: torch.Tensor) -> Moments:
    made = Moments(x.shape[1], values.shape[1])
    made.add(x, values)
    return made


@pytest.mark.parametrize("family", FOLDS)
def test_weights_do_what_the_map_does_at_every_place_of_the_stream(family: str) -> None:
    lm = language_model(family)
    before = lm.fingerprint
    for site in STREAM:
        if site == "resid_mid.0" and family in PARALLEL:
            continue
        some = change(D, constant=remove.takes_constant(lm, site))
        made = remove.removed(lm, site, some)
        given = block(seed=4)
        held = remove.equivalent(lm, site, some)
        for read in ("logits", "resid_post.0", "resid_post.1"):
            close(made.run(given, read=[read])[read], lm.run(given, read=[read], write=held)[read])
    assert type(lm).fingerprint.func(lm) == before  # type: ignore[attr-defined]


@pytest.mark.parametrize("family", [*FOLDS, "gemma2", "olmo2"])
def test_weights_do_what_the_map_does_at_the_neurons(family: str) -> None:
    lm = language_model(family)
    some = change(lm.width("mlp_act.1"), constant=remove.takes_constant(lm, "mlp_act.1"))
    made, given = remove.removed(lm, "mlp_act.1", some), block(seed=4)
    close(
        made.run(given, read=["logits"])["logits"],
        lm.run(given, read=["logits"], write={"mlp_act.1": some})["logits"],
    )


def test_only_the_writers_named_change() -> None:
    lm, some = language_model("gpt2"), change(D, constant=False)
    made = remove.removed(lm, "resid_post.1", some, ["mlp.0", "attn.1"])
    held = remove.equivalent(lm, "resid_post.1", some, ["mlp.0", "attn.1"])
    assert list(held) == ["mlp_out.0", "attn_out.1"]
    same = [n for n, p in made.model.named_parameters() if torch.equal(p, lm.model.get_parameter(n))]
    changed = {n for n, _ in made.model.named_parameters()} - set(same)
    assert changed == {f"transformer.h.{p}.c_proj.{w}" for p in ("0.mlp", "1.attn") for w in ("weight", "bias")}


def test_a_projection_leaves_nothing_to_see_and_a_tied_head_as_it_was() -> None:
    lm = language_model("gpt2-tied-padded")
    directions = torch.randn(3, D, generator=torch.Generator().manual_seed(1))
    directions[2] = directions[0] - directions[1]
    x = lm.run(block(6, seed=1), read=["resid_post.1"])["resid_post.1"].reshape(-1, D)
    seen = moments(x, torch.zeros(len(x), 0))
    project = plugins.load(PACKAGE, "project").affine(directions, seen, True)
    made = remove.removed(lm, "resid_post.1", project)
    along = span(directions).float()
    assert along.shape == (D, 2)
    for site in ("embed", "resid_mid.0", "resid_post.0", "resid_post.1"):
        h = made.run(block(seed=9), read=[site])[site] @ along
        close(h, (seen.mean.float() @ along).expand_as(h))
    after = made.run(block(seed=9), read=["resid_post.2"])["resid_post.2"] @ along
    assert float(after.std(0).min()) > 1e-3  # what later layers write is theirs
    assert torch.equal(made.model.lm_head.weight, lm.model.lm_head.weight)
    assert not torch.equal(made.model.lm_head.weight, made.model.transformer.wte.weight)


@pytest.mark.parametrize("method", ["project", "regress"])
def test_removing_neurons_is_exactly_their_ablation(method: str, tmp_path: Path) -> None:
    """A dictionary whose features are the neurons themselves: both ways are then the ablation, to rounding."""
    lm = language_model("gpt2")  # its neurons are ReLUs
    made = architecture("l1")(MLP, MLP).requires_grad_(False)
    made.w_enc[:], made.w_dec[:] = torch.eye(MLP), torch.eye(MLP)
    made.provenance = {"site": "mlp_act.0"}
    x = lm.run(block(40, seed=1), read=["mlp_act.0"])["mlp_act.0"].reshape(-1, MLP)
    features = [int(f) for f in (x > 0).float().mean(0).argsort(descending=True)[:3]]
    some = plugins.load(PACKAGE, method).affine(
        made.directions[features], moments(x, Watched(made, features).values(x)), method != "project"
    )
    removed, given = remove.removed(lm, "mlp_act.0", some), block(seed=5)
    where = saved(tmp_path / "d", made)
    with ms.steer(lm.model, Recipe(tuple(Edit("ablate", Direction(where, f)) for f in features))):
        wanted = lm.model(input_ids=given.tokens).logits
    found = removed.model(input_ids=given.tokens).logits
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    assert float((found - lm.model(input_ids=given.tokens).logits).abs().max()) > 0.01


def test_what_is_not_exact_is_nearer_to_the_ablation_than_nothing_and_than_a_projection(tmp_path: Path) -> None:
    lm, made = language_model("gpt2"), dictionary()
    made.provenance = {"site": "mlp_out.1"}
    x = lm.run(block(60, seed=1), read=["mlp_out.1"])["mlp_out.1"].reshape(-1, D)
    values = made.encode(x).to_dense()
    feature = int((values > 0).float().mean(0).sub(0.5).abs().argmin())
    seen = moments(x, values[:, [feature]])
    assert 0.1 < float(seen.r2()) < 0.999
    given = block(20, seed=7)
    h = lm.run(given, read=["mlp_out.1"])["mlp_out.1"].reshape(-1, D)
    ablated = h - made.encode(h).to_dense()[:, [feature]] * made.directions[feature]
    apart = {
        name: float((plugins.load(PACKAGE, name).affine(made.directions[[feature]], seen, True)(h) - ablated).norm())
        for name in ("regress", "project")
    }
    assert 1e-3 < apart["regress"] < min(apart["project"], float((h - ablated).norm()))


def transcoder(name: str = "l1") -> Dictionary:
    made = dictionary(name)
    made.provenance = {"site": "mlp_in.1", "target": "mlp_out.1"}
    return made


@pytest.mark.parametrize("family", ["gpt2", "relu-phi"])
def test_a_widened_mlp_is_exactly_the_ablation_of_a_transcoders_features(family: str, tmp_path: Path) -> None:
    lm = language_model("gpt2")
    if family == "relu-phi":
        config = CONFIGS["phi"]()
        config.hidden_act = "relu"
        lm = LanguageModel(transformer(config), tokeniser(), name=family)
    made, features = transcoder(), (3, 8, 5)
    made_for = Task(lm, "mlp_in.1", "mlp_out.1", made, features, Moments(D, 3))
    widened, given = plugins.load(PACKAGE, "widen").removed(made_for), block(seed=5)
    where = saved(tmp_path / "d", made)
    with ms.steer(lm.model, Recipe(tuple(Edit("ablate", Direction(where, f)) for f in features))):
        wanted = lm.model(input_ids=given.tokens).logits
    remove.save(widened, tmp_path / "out", {})
    for found in (widened, ms.load_model(tmp_path / "out")):
        close(found.model(input_ids=given.tokens).logits, wanted)
        assert found.width("mlp_act.0") == MLP + 3
    assert float((wanted - lm.model(input_ids=given.tokens).logits).abs().max()) > 0.01


def test_what_is_no_neuron_is_not_widened() -> None:
    for lm, made, site, message in (
        (language_model("gpt2"), transcoder("topk"), "mlp_out.1", "only features"),
        (language_model("gpt2"), transcoder(), "mlp_out.0", "only features"),
        (language_model("neox-parallel"), transcoder(), "mlp_out.1", "no ReLUs"),
    ):
        with pytest.raises(MonoscopeError, match=message):
            plugins.load(PACKAGE, "widen").removed(Task(lm, "mlp_in.1", site, made, (1,), Moments(D, 1)))


def test_regression_is_least_squares() -> None:
    generator = torch.Generator().manual_seed(0)
    x, values = torch.randn(200, 5, generator=generator), torch.randn(200, 3, generator=generator)
    seen = moments(x, values)
    rows = torch.cat([x, torch.ones(200, 1)], 1).double()
    wanted = torch.linalg.lstsq(rows, values.double()).solution
    weights, offset = seen.regression()
    torch.testing.assert_close(torch.cat([weights, offset[None]]), wanted, rtol=1e-4, atol=1e-5)
    left = (values - rows @ wanted).var(0, correction=0)
    torch.testing.assert_close(seen.r2(), 1 - left / values.double().var(0, correction=0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen.of([2]).regression()[0], weights[:, [2]])
    weighted = moments(x[:150], values[:150]).balanced(moments(x[150:], values[150:]))
    repeated = torch.cat([rows[:150], *[rows[150:]] * 3]), torch.cat([values[:150], *[values[150:]] * 3]).double()
    wanted = torch.linalg.lstsq(*repeated).solution
    torch.testing.assert_close(
        torch.cat([*weighted.regression()[:1], weighted.regression()[1][None]]), wanted, rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(weighted.mean, x[:150].double().mean(0))


def test_the_folder_opens_without_monoscope(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    lm = language_model("gpt2-tied-padded")
    made = remove.removed(lm, "resid_post.1", change(D))
    remove.save(made, tmp_path / "out", {"model": "tiny"})
    plain, given = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval(), block(seed=2).tokens
    assert torch.equal(plain(input_ids=given).logits, made.model(input_ids=given).logits)
    assert AutoTokenizer.from_pretrained(tmp_path / "out")("abc")["input_ids"] == lm.tokeniser.fast("abc")["input_ids"]
    assert ms.load_model(tmp_path / "out").fingerprint == made.fingerprint != lm.fingerprint
    remove.save(made, tmp_path / "out", {"model": "tiny"})  # in the place of what it wrote itself
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "x").write_text("mine")
    with pytest.raises(MonoscopeError, match="is there already"):
        remove.save(made, tmp_path / "else", {})


@pytest.mark.parametrize(
    ("family", "site", "only", "message"),
    [
        ("bert", "resid_post.0", (), "norm stands between"),
        ("gemma2", "resid_post.0", (), "norm stands between"),
        ("mixtral", "mlp_out.0", (), "plain matrix"),
        ("gpt2", "mlp_in.0", (), "not part of the residual stream"),
        ("gpt2", "logits", (), "not part of the residual stream"),
        ("gpt2", "resid_post.0", ("mlp.1",), "unknown writer"),
        ("llama", "mlp_act.0", (), "without bias"),
    ],
)
def test_what_cannot_be_folded_is_refused(family: str, site: str, only: tuple[str, ...], message: str) -> None:
    lm = language_model(family)
    with pytest.raises(MonoscopeError, match=message):
        remove.removed(lm, site, change(lm.width(site)), only)


def test_a_write_that_no_known_matrix_makes_is_noticed() -> None:
    """A constant that a hook adds to the stream is not in the weights, so they do not do what was asked."""
    lm = language_model("gpt2")
    handle = lm.model.transformer.h[0].mlp.register_forward_hook(lambda module, args, out: out + 1.0)
    try:
        with pytest.raises(MonoscopeError, match="do not do what was asked"):
            remove.removed(lm, "resid_post.0", change(D))
    finally:
        handle.remove()
    assert np.isfinite(float(remove.removed(lm, "resid_post.0", change(D)).model.lm_head.weight.sum()))
