"""Steering: null edits, what an edit writes, where it applies, generation, requests of a batch, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from steer_world import CONFIGS, FEATURES, SITE, D, dictionary, edit, model, saved, tokens
from torch import Tensor, nn

import monoscope as ms
from monoscope import plugins
from monoscope.dictionary.base import architectures
from monoscope.errors import MonoscopeError
from monoscope.intervene.edit import Condition, Direction, Edit, Recipe
from monoscope.intervene.operations import PACKAGE
from monoscope.intervene.steering import positions
from monoscope.models import taps
from monoscope.models.fingerprint import fingerprint
from monoscope.models.sites import sites_of
from monoscope.types import Site

families = pytest.mark.parametrize("family", CONFIGS)
every_operation = pytest.mark.parametrize("operation", plugins.names(PACKAGE))


def recipe(*edits: Edit) -> Recipe:
    return Recipe(edits)


def logits(family: str, given: Tensor, **more: Any) -> Tensor:
    found: Tensor = model(family)(input_ids=given, **more).logits
    return found


def site_of(family: str, given: Tensor, site: str = SITE) -> Tensor:
    """The site's activations in a pass, steered or not."""
    seen: dict[str, Tensor] = {}
    place = sites_of(model(family), family).place(Site.parse(site))
    write = {site: (place, lambda h: seen.setdefault("h", h))}
    with taps.hold(model(family), write, lambda shape, inputs: None):
        model(family)(input_ids=given)
    return seen["h"]


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def value_of(dictionary: Any, h: Tensor, feature: int) -> Tensor:
    dense: Tensor = dictionary.encode(h.reshape(-1, D)).to_dense()[:, feature]
    return dense.reshape(h.shape[:-1])


@families
def test_a_null_edit_changes_nothing_bit_for_bit(family: str, tmp_path: Path) -> None:
    where, given = saved(tmp_path / "d", dictionary()), tokens()
    plain = logits(family, given)
    for null in (
        edit(where, operation="scale", dose=1.0),
        edit(where, operation="add", dose=0.0),
        edit(where, operation="cap", dose=1e9),
        edit(where, operation="floor", dose=-1e9),
        edit(where, operation="clamp", dose=5.0, when=Condition(Direction(where, 4), above=1e9)),
        edit(where, operation="ablate", dose=None, start=10),
    ):
        with ms.steer(model(family), recipe(null)):
            assert torch.equal(logits(family, given), plain), null


@families
@every_operation
def test_an_edit_adds_the_decoded_difference_and_keeps_the_rest(family: str, operation: str, tmp_path: Path) -> None:
    made, given = dictionary(), tokens()
    where, plugin = saved(tmp_path / "d", made), plugins.load(PACKAGE, operation)
    h = site_of(family, given)
    direction = made.directions[3]
    value = h @ direction / direction.square().sum() if plugin.PROJECTION else value_of(made, h, 3)
    assert (value > 0).any() and (value_of(made, h, 3) == 0).any()
    dose = 0.7 if plugin.NEEDS_DOSE else None
    wanted = {
        "add": value + 0.7, "scale": value * 0.7, "clamp": value * 0 + 0.7, "cap": value.clamp(max=0.7),
        "floor": value.clamp(min=0.7), "ablate": value * 0, "project_out": value * 0,
    }[operation]  # fmt: skip
    with ms.steer(model(family), recipe(edit(where, 3, operation, dose))):
        found = site_of(family, given)
    torch.testing.assert_close(found, h + (wanted - value)[..., None] * direction, rtol=1e-5, atol=1e-5)


def test_clamping_an_orthogonal_dictionary_gives_that_value_when_encoded_again(tmp_path: Path) -> None:
    made = dictionary(n_features=D)
    basis = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(2)))[0]
    made.w_enc.data, made.w_dec.data = basis.clone(), basis.clone()
    made.b_enc.data.zero_()
    given = tokens()
    before = site_of("gpt2", given)
    with ms.steer(model(), recipe(edit(saved(tmp_path / "d", made), 3, "clamp", 4.0))):
        after = site_of("gpt2", given)
    torch.testing.assert_close(value_of(made, after, 3)[value_of(made, before, 3) > 0],
                               torch.full_like(before[value_of(made, before, 3) > 0][:, 0], 4.0))  # fmt: skip
    others = [f for f in range(D) if f != 3]
    for f in others:
        torch.testing.assert_close(value_of(made, after, f), value_of(made, before, f), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", architectures())
def test_every_architecture_steers_and_ablates_to_zero(name: str, tmp_path: Path) -> None:
    made, given = dictionary(name), tokens()
    h = site_of("gpt2", given)
    dense = made.encode(h.reshape(-1, D)).to_dense()
    feature = int((dense > 0).sum(0).argmax())
    with ms.steer(model(), recipe(edit(saved(tmp_path / "d", made), feature, "ablate", None))):
        found = site_of("gpt2", given)
    wanted = h - dense[:, feature].reshape(h.shape[:-1])[..., None] * made.directions[feature]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_doses_are_multiples_of_the_maximum_or_of_the_activations_length(tmp_path: Path) -> None:
    made, given = dictionary(), tokens()
    where, h, direction = saved(tmp_path / "d", made), site_of("gpt2", given), made.directions[3]
    with ms.steer(model(), recipe(edit(where, 3, "add", 0.5, unit="max", max=4.0))):
        torch.testing.assert_close(site_of("gpt2", given), h + 2.0 * direction)
    with ms.steer(model(), recipe(edit(where, 3, "add", 0.5, unit="norm"))):
        added = site_of("gpt2", given) - h
    torch.testing.assert_close(added.norm(dim=-1), 0.5 * h.norm(dim=-1))
    torch.testing.assert_close(added / added.norm(dim=-1, keepdim=True), (direction / direction.norm()).expand_as(h))


def test_a_vector_steers_and_is_projected_out(tmp_path: Path) -> None:
    vector = torch.randn(D, generator=torch.Generator().manual_seed(3))
    np.save(tmp_path / "v.npy", vector.numpy())
    of, given = Direction(vector=str(tmp_path / "v.npy")), tokens()
    with ms.steer(model(), recipe(Edit("project_out", of, site=SITE))):
        left = site_of("gpt2", given) @ vector
    assert float(left.abs().max()) < 1e-4
    h = site_of("gpt2", given)
    with ms.steer(model(), recipe(Edit("add", of, 2.0, site=SITE))):
        torch.testing.assert_close(site_of("gpt2", given), h + 2 * vector)


def test_a_condition_on_a_feature_or_a_vector_chooses_the_tokens(tmp_path: Path) -> None:
    made, given = dictionary(), tokens()
    where, h = saved(tmp_path / "d", made), site_of("gpt2", given)
    np.save(tmp_path / "probe.npy", np.ones(D, np.float32))
    other = value_of(made, h, 5)
    middle = float(other[other > 0].median())
    for when, wanted in (
        (Condition(Direction(where, 5), middle), other > middle),
        (Condition(Direction(where, 5, max=2 * middle), 0.5, "max"), other > middle),
        (Condition(Direction(vector=str(tmp_path / "probe.npy")), 0.0), h.sum(-1) > 0),
        (Condition(Direction(vector=str(tmp_path / "probe.npy")), 0.0, site="embed"),
         site_of("gpt2", given, "embed").sum(-1) > 0),
    ):  # fmt: skip
        assert wanted.any() and not wanted.all()
        with ms.steer(model(), recipe(edit(where, 3, "add", 3.0, when=when))):
            changed = (site_of("gpt2", given) != h).any(-1)
        assert torch.equal(changed, wanted)


def test_a_transcoder_reads_one_site_and_writes_another(tmp_path: Path) -> None:
    made, given = dictionary(), tokens()
    made.provenance = {"site": "mlp_in.1", "target": "mlp_out.1"}
    read, written = site_of("gpt2", given, "mlp_in.1"), site_of("gpt2", given, "mlp_out.1")
    with ms.steer(model(), recipe(edit(saved(tmp_path / "d", made), 3, "clamp", 2.0))):
        assert torch.equal(site_of("gpt2", given, "mlp_in.1"), read)
        found = site_of("gpt2", given, "mlp_out.1")
    wanted = written + (2.0 - value_of(made, read, 3))[..., None] * made.directions[3]
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@families
def test_generation_with_a_cache_is_generation_without(family: str, tmp_path: Path) -> None:
    where, given = saved(tmp_path / "d", dictionary()), tokens(2, 6)
    options = {"max_new_tokens": 12, "do_sample": False, "attention_mask": torch.ones_like(given)}
    plain = model(family).generate(given, **options)
    with ms.steer(model(family), recipe(edit(where, 3, "clamp", 6.0))):
        cached = model(family).generate(given, **options)
        whole = model(family).generate(given, use_cache=False, **options)
        by_hand = given
        for _ in range(12):
            by_hand = torch.cat([by_hand, logits(family, by_hand)[:, -1:].argmax(-1)], 1)
    assert torch.equal(cached, whole) and torch.equal(cached, by_hand) and not torch.equal(cached, plain)
    assert torch.equal(model(family).generate(given, **options), plain)


@families
def test_requests_of_a_padded_batch_are_steered_as_if_each_were_alone(family: str, tmp_path: Path) -> None:
    where = saved(tmp_path / "d", dictionary())
    recipes = [recipe(edit(where, 3, "clamp", 6.0)), None, recipe(edit(where, 4, "add", 3.0, start=2, stop=9))]
    given = [tokens(1, length, seed)[0] for seed, length in enumerate((7, 4, 5))]
    options: dict[str, Any] = {"max_new_tokens": 6, "do_sample": False}
    alone = []
    for one, text in zip(recipes, given, strict=True):
        with ms.steer(model(family), [one]):
            alone.append(model(family).generate(text[None], attention_mask=torch.ones(1, len(text)), **options)[0, -6:])
    padded = torch.stack([torch.cat([torch.zeros(7 - len(t), dtype=torch.long), t]) for t in given])
    mask = torch.stack([torch.cat([torch.zeros(7 - len(t)), torch.ones(len(t))]) for t in given]).long()
    with ms.steer(model(family), recipes):
        together = model(family).generate(padded, attention_mask=mask, **options)[:, -6:]
        several = model(family).generate(
            padded, attention_mask=mask, num_return_sequences=2, num_beams=2, **{**options, "max_new_tokens": 1}
        )
    assert torch.equal(together, torch.stack(alone))
    assert len(several) == 6
    with ms.steer(model(family), recipes), pytest.raises(MonoscopeError, match="3 recipes for a batch of 2"):
        model(family)(input_ids=tokens(2))


def test_start_and_stop_count_tokens_not_padding() -> None:
    mask = torch.tensor([[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]])
    assert positions((2, 5), {"attention_mask": mask}).tolist() == [[-1, -1, 0, 1, 2], [0, 1, 2, 3, 4]]
    assert positions((2, 1), {"attention_mask": mask}).tolist() == [[2], [4]]
    assert positions((1, 3), {}).tolist() == [[0, 1, 2]]


def test_nothing_is_left_behind_by_an_error(tmp_path: Path) -> None:
    where, before = saved(tmp_path / "d", dictionary()), hooks(model())
    with pytest.raises(ValueError, match="mine"), ms.steer(model(), recipe(edit(where))):
        assert hooks(model()) > before
        raise ValueError("mine")
    assert hooks(model()) == before


def test_what_does_not_belong_together_is_refused(tmp_path: Path) -> None:
    where = saved(tmp_path / "d", dictionary())
    np.save(tmp_path / "short.npy", np.ones(3, np.float32))
    np.save(tmp_path / "zero.npy", np.zeros(D, np.float32))
    short, zero = (Direction(vector=str(tmp_path / f"{name}.npy")) for name in ("short", "zero"))
    other = saved(tmp_path / "other", dictionary())
    foreign = dictionary()
    foreign.provenance |= {"fingerprint": "0" * 64, "model": "someone else's"}
    for wrong, message in (
        (recipe(edit(where, FEATURES)), f"no feature {FEATURES}"),
        (recipe(edit(where, sha256="0" * 64)), "content differs"),
        (recipe(edit(where, site="mlp_act.0")), "writes 16 numbers; mlp_act.0 of .* has 64"),
        (recipe(edit(where, site="resid_post.7")), "no layer 7"),
        (recipe(edit(where), edit(where, 3, "scale", 2.0)), "two edits of one recipe change feature 3"),
        (recipe(Edit("add", short, 1.0, site=SITE)), "3 numbers"),
        (recipe(Edit("add", zero, 1.0, site=SITE)), "direction of zero.npy is zero"),
        (recipe(Edit("add", Direction(vector=str(tmp_path / "none.npy")), 1.0, site=SITE)), "holds no vector"),
        (Recipe((edit(where),), "another", "0" * 64), "made for another model"),
        (recipe(edit(saved(tmp_path / "foreign", foreign))), "trained on another model"),
    ):
        with pytest.raises(MonoscopeError, match=message), ms.steer(model(), wrong):
            pass
    with ms.steer(model(), Recipe((edit(other),), "this one", fingerprint(model()))):
        pass
    late = edit(
        where, site=SITE, when=Condition(Direction(vector=str(tmp_path / "zero.npy")), 0.0, site="resid_post.1")
    )
    with pytest.raises(MonoscopeError, match="before the one it depends on"), ms.steer(model(), recipe(late)):
        model()(input_ids=tokens())


@pytest.mark.parametrize("wrong", [None, 3, {"edits": []}, ["recipe.toml"]])
def test_what_is_no_recipe_and_no_model_is_refused(wrong: Any) -> None:
    if wrong is not None:
        with pytest.raises(MonoscopeError, match="is no recipe"), ms.steer(model(), wrong):
            pass
    with pytest.raises(MonoscopeError, match="is no model"), ms.steer(wrong, [None]):
        pass


def test_an_edit_that_makes_no_sense_is_refused_at_once() -> None:
    of = Direction("d", 3)
    for make, message in (
        (lambda: Edit("clmp", of, 1.0), "did you mean 'clamp'"),
        (lambda: Edit("clamp", of), "needs a dose"),
        (lambda: Edit("ablate", of, 1.0), "takes no dose"),
        (lambda: Edit("clamp", of, 1.0, "max"), "maximum that is not given"),
        (lambda: Edit("scale", of, 1.0, "norm"), "norm"),
        (lambda: Edit("clamp", of, float("nan")), "nan"),
        (lambda: Edit("clamp", of, 1.0, start=4, stop=4), "positions 4 to 4"),
        (lambda: Edit("add", Direction(vector="v.npy"), 1.0), "give the site"),
        (lambda: Direction("d", 3, "v.npy"), "feature of a dictionary, or a vector"),
        (lambda: Direction("d"), "feature of a dictionary, or a vector"),
        (lambda: Direction("d", 3, max=0.0), "above 0"),
        (lambda: Recipe(()), "without edits"),
    ):
        with pytest.raises(MonoscopeError, match=message):
            make()


def test_rows_of_passes_are_assigned_to_requests_that_come_and_go(tmp_path: Path) -> None:
    where, given = saved(tmp_path / "d", dictionary()), tokens(4)
    recipes = [recipe(edit(where, 3, "add", 2.0)), recipe(edit(where, 5, "clamp", 3.0))]
    alone = [logits("gpt2", given)]
    for one in recipes:
        with ms.steer(model(), one):
            alone.append(logits("gpt2", given))
    with ms.steer(model(), recipes) as steering:
        for rows in ([1, None, 0, 0], [None, 1], [0], [None, None, None]):
            steering.assign(rows)
            found = logits("gpt2", given[: len(rows)])
            for i, row in enumerate(rows):
                torch.testing.assert_close(found[i], alone[0 if row is None else row + 1][i], rtol=1e-5, atol=1e-5)
        steering.assign([])
        assert torch.equal(logits("gpt2", given), alone[0])
        steering.assign([0, 1])
        with pytest.raises(MonoscopeError, match="2 recipes for a batch of 3"):
            logits("gpt2", given[:3])
        steering.assign(None)
        torch.testing.assert_close(logits("gpt2", given)[3], alone[2][3], rtol=1e-5, atol=1e-5)
