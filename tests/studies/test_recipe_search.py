"""Searching for a recipe: a planted feature is proposed, wins, is confirmed; the budget holds; a stop loses nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import monoscope as ms
from monoscope import plugins
from monoscope.dictionary import io
from monoscope.dictionary.base import architecture
from monoscope.errors import MonoscopeError
from monoscope.intervene.edit import Direction, Edit, Recipe
from monoscope.studies.continuations import Sampling, go_on
from monoscope.studies.proposers import PACKAGE, Samples, Task
from monoscope.studies.proposers.attribution import gradient
from monoscope.studies.recipe_search import Candidate, Kept, Search, Way, confirm, propose, texts

SITE, PLANTED, SAMPLING = "resid_post.0", 5, Sampling(new=6, seed=3, batch=32)
BUDGET = 2_000


def says_it(prompt: str, said: str) -> float:
    return float(" =" in said)


@pytest.fixture(scope="module")
def lm() -> Any:
    return ms.load_model("reference-a")


@pytest.fixture(scope="module")
def prompts(lm: Any) -> list[list[int]]:
    lines = [
        "def area(radius):\n   ",
        "import os\nimport",
        "class Shape:\n   ",
        "for i in range(10):\n   ",
        "x = [1, 2",
    ]
    return [lm.tokeniser.text(f"# {i}\n{lines[i % 5]}").tokens.tolist() for i in range(100)]


@pytest.fixture(scope="module")
def where(lm: Any, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random directions, and one that writes the unembedding of `` =``."""
    made = architecture("l1")(128, 12).requires_grad_(False)
    made.w_dec[:] = torch.randn(12, 128, generator=torch.Generator().manual_seed(0))
    made.w_dec[PLANTED] = lm.unembedding()[:, lm.tokeniser.text(" =").tokens.tolist()[0]]
    made.w_dec[:] /= made.w_dec.norm(dim=1, keepdim=True)
    made.provenance = {"site": SITE}
    path = tmp_path_factory.mktemp("search") / "d"
    io.save(made, path)
    return str(path)


def search(lm: Any, prompts: list[list[int]], where: str, path: Path, budget: int = BUDGET) -> Search:
    def recipe(feature: int, dose: float) -> Recipe:
        return Recipe((Edit("add", Direction(where, feature), dose, "norm"),))

    return Search(lm, says_it, prompts, SAMPLING, recipe, Kept(path, {"seed": 3}), budget)


def task(lm: Any, where: str, samples: Samples, f1: dict[int, float] | None = None) -> Task:
    return Task(lm, SITE, ms.load(where).directions, samples, f1 or {})


def test_the_planted_feature_is_proposed_and_wins_within_the_budget(
    lm: Any, prompts: list[list[int]], where: str, tmp_path: Path
) -> None:
    one = search(lm, prompts, where, tmp_path / "kept.jsonl")
    samples = one.samples(40)
    assert 0 < samples.scores.mean() < 1
    proposed = propose(task(lm, where, samples, {7: 0.9}), 2)
    assert Candidate(PLANTED, 1, "attribution, output") in proposed
    assert any(c.feature == 7 and "concept" in c.by for c in proposed)
    made, standings = one.race([*proposed[:4], Candidate(PLANTED, -1, "test")], [0.5], 40)
    assert made[standings[0].arm] == (next(c for c in proposed if c.feature == PLANTED), 0.5)
    assert standings[0].gain > 0.2
    assert one.kept.tokens <= BUDGET
    again = search(lm, prompts, where, tmp_path / "kept.jsonl")
    before = (tmp_path / "kept.jsonl").read_text()
    assert again.samples(40).said == samples.said
    assert again.race([*proposed[:4], Candidate(PLANTED, -1, "test")], [0.5], 40)[1] == standings
    assert (tmp_path / "kept.jsonl").read_text() == before  # nothing was generated again


def test_a_stopped_search_goes_on_and_ends_like_one_that_was_not(
    lm: Any, prompts: list[list[int]], where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(path: Path) -> Any:
        one = search(lm, prompts, where, path)
        one.samples(20)
        return one.race([Candidate(PLANTED, 1, "t"), Candidate(1, 1, "t")], [0.3], 20)[1]

    whole = run(tmp_path / "whole.jsonl")
    calls = iter(range(100))

    def stops(*arguments: Any) -> Any:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return go_on(*arguments)

    monkeypatch.setattr("monoscope.studies.recipe_search.go_on", stops)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "half.jsonl")
    assert len((tmp_path / "half.jsonl").read_text().splitlines()) == 3  # the settings, and two arms
    assert run(tmp_path / "half.jsonl") == whole
    assert (tmp_path / "half.jsonl").read_text() == (tmp_path / "whole.jsonl").read_text()
    with pytest.raises(MonoscopeError, match="other settings"):
        Kept(tmp_path / "half.jsonl", {"seed": 4})


def test_the_budget_is_never_exceeded(lm: Any, prompts: list[list[int]], where: str, tmp_path: Path) -> None:
    one = search(lm, prompts, where, tmp_path / "kept.jsonl", budget=20 * SAMPLING.new)
    one.samples(20)
    with pytest.raises(MonoscopeError, match="budget of tokens is used up"):
        one.said("plain", 20, 40)
    with pytest.raises(MonoscopeError, match="too few to race"):
        one.race([Candidate(1, 1, "t")], [0.1], 20)


def test_attribution_is_the_derivative_of_the_weighted_log_likelihood(
    lm: Any, prompts: list[list[int]], where: str
) -> None:
    """Against finite differences: the vector is added at every token, by the length of its activation."""
    given = prompts[:5]
    said = go_on(lm, given, SAMPLING)
    scores = np.array([1.0, 0.0, 0.0, 1.0, 0.5])
    slope = gradient(lm, SITE, Samples(given, said, scores))
    direction = ms.load(where).directions[2]
    weights = scores - scores.mean()

    def value(dose: float) -> float:
        total = 0.0
        for prompt, new, weight in zip(given, said, weights, strict=True):
            tokens = torch.tensor([[*lm.tokeniser.prefix, *prompt, *new]])
            with ms.steer(lm, Recipe((Edit("add", Direction(where, 2), dose, "norm"),))):
                log_p = lm.model(input_ids=tokens).logits[0].double().log_softmax(-1)
            picked = log_p[:-1].gather(1, tokens[0, 1:, None])[:, 0]
            total += weight * float(picked[len(picked) - len(new) :].sum())
        return total / len(given)

    wanted = (value(1e-3) - value(-1e-3)) / 2e-3
    assert float(slope @ direction) == pytest.approx(wanted, rel=0.02)


def test_a_model_whose_samples_score_alike_gives_no_candidates(lm: Any, prompts: list[list[int]], where: str) -> None:
    said = go_on(lm, prompts[:4], SAMPLING)
    with pytest.raises(MonoscopeError, match="all plain samples score alike"):
        propose(task(lm, where, Samples(prompts[:4], said, np.ones(4))), 3)


@pytest.mark.parametrize("name", plugins.names(PACKAGE))
def test_every_proposer_scores_every_feature(name: str, lm: Any, prompts: list[list[int]], where: str) -> None:
    said = go_on(lm, prompts[:6], SAMPLING)
    found = plugins.load(PACKAGE, name).scores(task(lm, where, Samples(prompts[:6], said, np.arange(6.0)), {3: 0.5}))
    assert found.shape == (12,) and np.isfinite(found).all() and found.any()


def test_confirmation_compares_ways_on_the_same_prompts(lm: Any, prompts: list[list[int]], where: str) -> None:
    recipe = Recipe((Edit("add", Direction(where, PLANTED), 2.0, "norm"),))
    other = Recipe((Edit("add", Direction(where, 1), 0.0, "norm"),))
    ways = [
        Way("plain"), Way("steered", (recipe,)), Way("null", (other, other)), Way("greedy", temperature=0.0),
        Way("best of 3", n=3),
    ]  # fmt: skip
    plain, steered, null, greedy, best = confirm(lm, says_it, prompts[:24], ways, SAMPLING)
    assert plain.gain.value == 0 and plain.cost == 1
    assert steered.score.value == 1.0 and steered.gain.low is not None and steered.gain.low > 0.3
    assert (steered.perplexity.value or 0) > 2 * (plain.perplexity.value or 0) and steered.distinct < plain.distinct
    assert null.score.value is not None and null.cost == 1
    assert (greedy.perplexity.value or 9e9) < (plain.perplexity.value or 0)
    assert (best.score.value or 0) > (plain.score.value or 0) and best.cost == pytest.approx(3, rel=0.3)


def test_text_of_prompt_and_continuation_join_to_the_whole(lm: Any) -> None:
    whole = lm.tokeniser.text("x = 'Привіт, світ'\n").tokens.tolist()
    for cut in range(len(whole)):
        ((before, after),) = texts(lm, [whole[:cut]], [whole[cut:]])
        assert before + after == "x = 'Привіт, світ'\n"
