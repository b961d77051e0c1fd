"""What a run settles on when it is told little."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monoscope.app import budget
from monoscope.app.budget import affordable, taught
from monoscope.app.plan import EPOCHS, FEATURES, ROWS, STEPS, TOKENS, default_features, refuse_stranger, training
from monoscope.app.quickstart import quickstart
from monoscope.dictionary.base import architecture
from monoscope.errors import MonoscopeError
from monoscope.models import load_model
from monoscope.train import objective
from monoscope.train.schedules import usual_batch


def test_the_default_is_one_pass_with_all_features():
    assert training(TOKENS) == (2048, 1)
    assert default_features(TOKENS) == FEATURES


@given(st.integers(1_000, 100_000_000))
def test_small_budgets_are_read_until_there_are_enough_rows(tokens):
    size, epochs = training(tokens)
    assert epochs == 1 or (epochs - 1) * tokens < ROWS
    assert epochs == EPOCHS or epochs * tokens >= ROWS
    assert size == usual_batch(epochs * tokens)


@pytest.mark.parametrize("told", ["gpt2", "EleutherAI/pythia-14m", "reference-b"])
def test_a_dictionary_of_another_model_is_refused_by_name(told):
    """Files of other libraries hold no fingerprint, and models of other weights may be as wide."""
    lm, made = load_model("reference-a"), architecture("topk")(512, 9, k=2)
    made.provenance = {"model": told}
    with pytest.raises(MonoscopeError, match=f"was trained on {told}, not on reference-a\n→ pass --model {told}"):
        refuse_stranger(made, lm, "mlp_act.0")
    for harmless in ({"model": "reference-a"}, {"model": "a name of their own"}, {"model": "/models/a"}, {}):
        made.provenance = harmless
        refuse_stranger(made, lm, "mlp_act.0")
    made.provenance = {"model": told, "fingerprint": lm.fingerprint}  # which says more than a name
    refuse_stranger(made, lm, "mlp_act.0")


def test_a_model_by_another_name_is_the_same(monkeypatch):
    lm, made = load_model("reference-a"), architecture("topk")(512, 9, k=2)
    made.provenance = {"model": "gpt2"}
    for name in ("openai-community/gpt2", "gpt2", "gpt2@main", "/somewhere/gpt2"):
        monkeypatch.setattr(lm, "name", name)
        refuse_stranger(made, lm, "mlp_act.0")


def test_the_model_is_the_one_that_the_dictionary_names(monkeypatch, tmp_path):
    made = architecture("topk")(512, 9, k=2)
    made.provenance = {"model": "gpt2", "site": "mlp_act.0"}
    made.save(tmp_path / "d")

    def load(name):
        raise MonoscopeError(f"no {name} today", fix="wait")

    monkeypatch.setattr("monoscope.app.given.load_model", load)
    with pytest.raises(MonoscopeError, match=r"the model gpt2, which is not to be had: no gpt2 today\n→ pass --model"):
        quickstart(tmp_path / "run", dictionary=tmp_path / "d")
    with pytest.raises(MonoscopeError, match=r"^no reference-b today"):
        quickstart(tmp_path / "run", dictionary=tmp_path / "d", model="reference-b")
    made.provenance = {}
    made.save(tmp_path / "d")
    with pytest.raises(MonoscopeError, match=r"does not name its model\n→ pass --model"):
        quickstart(tmp_path / "run", dictionary=tmp_path / "d")
    assert not (tmp_path / "run").exists()


@given(st.integers(1_000, 100_000_000), st.sampled_from([64, 1000, 131_072]))
def test_of_batches_of_a_size_that_was_told_there_are_enough(tokens, told):
    size, epochs = training(tokens, told)
    assert size == told and (epochs == 1 or (epochs - 1) * tokens < STEPS * size)
    assert epochs == EPOCHS or epochs * tokens >= STEPS * size


def test_a_batch_of_no_rows_is_refused():
    with pytest.raises(MonoscopeError, match="a batch of 0 rows"):
        training(TOKENS, 0)


@given(st.integers(1, 10_000_000))
def test_features_grow_with_the_tokens(tokens):
    found = default_features(tokens)
    assert FEATURES // 4 <= found <= FEATURES
    assert found & (found - 1) == 0
    assert default_features(2 * tokens) >= found


@pytest.mark.parametrize("minutes", [0.0, -1.0, float("nan")])
def test_no_minutes_are_refused_before_anything_is_timed(minutes, monkeypatch):
    monkeypatch.setattr(budget, "passed", lambda *a: pytest.fail("it was timed"))
    with pytest.raises(MonoscopeError, match=f"a run of {minutes:g} minutes"):
        affordable(load_model("reference-a"), None, minutes, 256, full=False)


def test_more_minutes_afford_more_tokens(monkeypatch):
    for timed in ("passed", "taught"):  # once, so that both are judged by the same times
        monkeypatch.setattr(budget, timed, cache(getattr(budget, timed)))
    lm = load_model("reference-a")
    few, many = (affordable(lm, None, minutes, 256, full=False) for minutes in (2, 6))
    assert 0 < few < many


def test_the_trial_times_steps_without_dead_features(monkeypatch):
    """A long training has few of them. The rows of a trial are so few that most features would count as dead."""
    dead = []
    monkeypatch.setattr(
        objective, "auxk", lambda d, x, left, marked, *_: dead.append(int(marked.sum())) or left.sum() * 0
    )
    x = torch.randn(600, 8, generator=torch.Generator().manual_seed(0))
    assert taught(x, 512, 2000) > 0
    assert len(dead) > 3 and not any(dead)
