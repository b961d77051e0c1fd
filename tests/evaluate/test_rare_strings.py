"""The recipe finds a detector that was planted, on text that it was not chosen on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluate_stand_ins import TinyModel

from monoscope.text import store as stores
from monoscope.text.corpora import synthetic_strings
from monoscope.types import Code, Document

RECIPES = Path(__file__).parents[2] / "recipes"


class Planted(TinyModel):
    """Neuron 3 fires on a base that follows a base, neuron 4 on every second token; the others are noise."""

    def width(self, site):
        return 6

    def run(self, block, *, read, write=None):
        bases = torch.tensor(
            [t for t in range(self.tokeniser.vocabulary_size) if self.tokeniser.fast.decode([t]) in [*"ACGT"]]
        )
        is_base = torch.isin(block.tokens, bases)
        act = torch.rand(*block.tokens.shape, 6, generator=torch.Generator().manual_seed(0))
        act[..., 3] = 0
        act[:, 1:, 3] = (is_base[:, 1:] & is_base[:, :-1]).float()
        act[..., 4] = (block.positions % 2).float()
        return {"mlp_act.0": act}


class Doubling:
    """Feature ``2 i`` is neuron ``i``, squared."""

    n_features = 12

    def encode(self, x):
        dense = torch.zeros(len(x), 12)
        dense[:, ::2] = x**2
        return Code.from_dense(dense)


@pytest.fixture
def recipe(monkeypatch):
    monkeypatch.syspath_prepend(RECIPES)
    yield __import__("rare_strings")
    for name in ("rare_strings", "reference_model"):
        sys.modules.pop(name, None)


def test_the_planted_detector_is_found(recipe, tokeniser, tmp_path):
    def pairs():
        for i, document in enumerate(synthetic_strings.documents("dna:6:test")):
            yield ("fit", "test")[i % 2], document
            yield ("fit", "test")[i % 2], Document(f"plain{i}", "for value in data:\n    total += value\n" * 20)

    text = stores.build(pairs(), tokeniser, tmp_path / "text")
    found = recipe.search(Planted(tokeniser), "mlp_act.0", Doubling(), text)
    assert list(found) == ["dna"]
    feature, neuron = found["dna"]["feature"], found["dna"]["neuron"]
    assert (feature.index, neuron.index) == (6, 3)
    assert feature.pearson.value > 0.8  # a window's first token cannot fire: one in fifteen is missed
    assert feature.specificity.of_top > 0.95
    assert json.loads(json.dumps(feature.to_json(), allow_nan=False))["n_active"] == feature.specificity.n_active
    assert recipe.table(found).row_count == 2


def test_a_figure_is_drawn(recipe, tmp_path):
    pytest.importorskip("matplotlib")
    from monoscope.evaluate import Estimate
    from monoscope.evaluate.specificity import specificity

    rng = np.random.default_rng(0)
    proxy = rng.normal(0, 10, 500)
    made = specificity((proxy > 0) * rng.random(500), proxy, recipe.PROXY_EDGES)
    pair = {what: recipe.Finding(1, 0.5, Estimate(0.5, 0.4, 0.6), made) for what in ("feature", "neuron")}
    recipe.plot("dna", pair, tmp_path / "dna.svg")
    drawn = (tmp_path / "dna.svg").read_text()
    assert "<svg" in drawn and str(tmp_path) not in drawn


def test_more_text_of_a_script_begins_where_training_text_ended(recipe, tmp_path):
    line = "слово " * 100 + "\n"
    (tmp_path / "ukrainian.txt").write_text("".join(f"{i} {line}" for i in range(1500)), encoding="utf-8")
    kept = recipe.shorten("ukrainian", list(recipe.pieces(tmp_path / "ukrainian.txt", 80)))
    seen = {row for d in kept for row in d.text.splitlines()}
    more = [d for d in recipe.rare_documents(tmp_path) if d.name.startswith("ukrainian/")]
    assert more and not seen & {row for d in more for row in d.text.splitlines()}
    strings = {d.text for d in recipe.rare_documents(None)}
    trained = {d.text for kind in synthetic_strings.KINDS for d in synthetic_strings.documents(f"{kind}:320:model")}
    assert not strings & trained
