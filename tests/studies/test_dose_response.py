"""Continuations and what is measured on them, over a real model and a feature whose effect is known."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

import monoscope as ms
from monoscope.dictionary import io
from monoscope.dictionary.base import architecture
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Estimate
from monoscope.intervene.edit import Direction, Edit, Recipe
from monoscope.studies.continuations import Sampling, go_on, repeated, surprise
from monoscope.studies.dose_response import Arm, Response, respond, sweet_spot

SAMPLING = Sampling(new=12, temperature=1.0, seed=3, batch=4)


@pytest.fixture(scope="module")
def lm() -> Any:
    return ms.load_model("reference-a")


@pytest.fixture(scope="module")
def given(lm: Any) -> list[list[int]]:
    texts = [
        "def area(radius):\n",
        "import os\nimport",
        "class Shape",
        "for i in range(10):\n    print(i)\n",
        "x = [1, 2",
    ]
    return [lm.tokeniser.text(text).tokens.tolist() for text in texts]


@pytest.fixture(scope="module")
def said_more(lm: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """dose → a recipe for a feature that writes the unembedding of `` return`` and, having no input, never fires."""
    token = lm.tokeniser.text(" return").tokens.tolist()[0]
    unembedding = lm.unembedding()
    made = architecture("l1")(128, 2).requires_grad_(False)
    made.w_dec[0] = unembedding[:, token] / unembedding[:, token].norm()
    made.w_dec[1], made.b_enc[:] = torch.ones(128), -1.0
    made.provenance = {"site": "resid_post.0"}
    path = tmp_path_factory.mktemp("steer") / "d"
    io.save(made, path)
    return lambda dose: Recipe((Edit("clamp", Direction(str(path), 0), dose),))


def test_a_batch_says_what_each_would_say_alone(lm: Any, given: list[list[int]], said_more: Any) -> None:
    greedy = Sampling(new=8, temperature=0.0)
    for recipe in (None, said_more(6.0)):
        alone = [go_on(lm, [prompt], greedy, recipe)[0] for prompt in given]
        assert go_on(lm, given, greedy, recipe) == alone


def test_the_same_seed_says_the_same_and_leaves_torchs_alone(lm: Any, given: list[list[int]]) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    first = go_on(lm, given, SAMPLING)
    assert torch.equal(torch.get_rng_state(), state)
    assert go_on(lm, given, SAMPLING) == first != go_on(lm, given, Sampling(new=12, seed=4, batch=4))


def test_surprise_is_the_sum_of_cross_entropies(lm: Any, given: list[list[int]]) -> None:
    said = go_on(lm, given, SAMPLING)
    said[1] = []
    found = surprise(lm, given, said)
    assert float(found[1]) == 0.0
    tokens = torch.tensor([[*lm.tokeniser.prefix, *given[0], *said[0]]])
    log_p = lm.model(input_ids=tokens).logits[0].log_softmax(-1)
    n = len(said[0])
    wanted = -sum(float(log_p[-n - 1 + i, token]) for i, token in enumerate(said[0]))
    assert float(found[0]) == pytest.approx(wanted, rel=1e-4)


def test_repetition_counts_runs_said_before() -> None:
    assert repeated([[1, 2, 3, 4, 5], [1, 2, 3, 4, 1, 2, 3, 4], [7] * 9, [1, 2]]).tolist() == [
        [0, 2], [1, 5], [5, 6], [0, 0]
    ]  # fmt: skip


def test_too_long_a_prompt_is_refused(lm: Any) -> None:
    with pytest.raises(MonoscopeError, match="do not fit"):
        go_on(lm, [[1] * lm.context], SAMPLING)


def test_effect_and_damage_grow_with_the_dose_and_a_null_dose_has_none(
    lm: Any, given: list[list[int]], said_more: Any
) -> None:
    arms = [Arm("plain"), *(Arm("feature", d, (said_more(d),)) for d in (0.0, 4.0, 400.0))]
    concept = ms.concept("token(' return')")
    done: list[int] = []
    plain, null, some, all_ = respond(lm, given, given, concept, arms, SAMPLING, progress=done.append)
    assert len(done) == 4 and plain.kl == Estimate() and plain.gain.value == 0
    assert (null.effect, null.excess.value, null.kl.value) == (plain.effect, 0.0, 0.0)
    effects, kls = [[getattr(r, name).value for r in (null, some, all_)] for name in ("effect", "kl")]
    assert effects == sorted(effects) and effects[-1] > 0.9 and kls == sorted(kls) and kls[-1] > 3
    assert all_.excess.low is not None and all_.excess.low > 2
    assert all_.repetition.value is not None and all_.repetition.value > 0.8


def test_the_sweet_spot_is_the_largest_certain_effect_within_the_tolerance() -> None:
    def response(name: str, dose: float, effect: float, excess: float, certain: bool = True) -> Response:
        gain = Estimate(effect, effect / 2 if certain else -0.1, 2 * effect)
        return Response(
            name, dose, Estimate(effect, 0, 1), gain, Estimate(excess, excess, excess), Estimate(), Estimate(), 9
        )

    found = [
        response("feature", 1, 0.1, 0.1), response("feature", 2, 0.3, 0.4), response("feature", 4, 0.9, 2.0),
        response("feature", 3, 0.6, 0.3, certain=False), response("random features", 2, 0.5, 0.1),
    ]  # fmt: skip
    best = sweet_spot(found, 0.5)
    assert best is not None and best.dose == 2
    assert sweet_spot(found, 0.05) is None


def test_a_recipe_of_files_goes_on_too(lm: Any, given: list[list[int]], said_more: Any, tmp_path: Path) -> None:
    from monoscope.intervene import recipes

    recipes.save(said_more(400.0), tmp_path / "r.toml")
    token = lm.tokeniser.text(" return").tokens.tolist()[0]
    assert go_on(lm, given[:1], SAMPLING, recipes.load(tmp_path / "r.toml"))[0].count(token) > 8
