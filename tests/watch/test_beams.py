"""Beam search is refused before anything wrong is recorded, with a cache and without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import monoscope as ms
from monoscope.errors import MonoscopeError
from monoscope.signals.direction import Direction
from monoscope.watch.recording import Recording
from monoscope.watch.replay import replay, seen
from monoscope.watch.rules import Condition, Rule, Rules, Signal

TEXTS = ("class Shape:\n    def area(", "import os\nimport ")


def probed(folder: Path) -> Rules:
    np.save(folder / "probe.npy", np.linspace(-1, 1, 128).astype(np.float32))
    of = Direction(vector=str(folder / "probe.npy"))
    return Rules((Signal("probe", of, "resid_post.0"),), (Rule("probe", Condition("probe", 0.0)),))


def prompt(lm: Any) -> dict[str, torch.Tensor]:
    """Both texts, padded on the left."""
    found = [[*lm.tokeniser.prefix, *lm.tokeniser.text(text).tokens.tolist()] for text in TEXTS]
    width = max(map(len, found))
    ids = torch.tensor([[0] * (width - len(row)) + row for row in found])
    return {"input_ids": ids, "attention_mask": torch.tensor([[0] * (width - len(r)) + [1] * len(r) for r in found])}


@pytest.mark.parametrize("cached", [True, False])
def test_beams_are_refused_before_anything_wrong_is_recorded(cached: bool, tmp_path: Path) -> None:
    lm, rules = ms.load_model("reference-b"), probed(tmp_path)
    options = {"max_new_tokens": 12, "num_beams": 4, "do_sample": False, "pad_token_id": 0, "use_cache": cached}
    wanted = lm.model.generate(**prompt(lm), **options)
    with ms.watch(lm, rules, record=tmp_path / "r") as watching:
        with pytest.raises(MonoscopeError, match="beam search exchanges"):
            lm.model.generate(**prompt(lm), **options)
        assert all(row is not None for row in watching.rows)
    assert torch.equal(lm.model.generate(**prompt(lm), **options), wanted)  # nothing is left behind
    recording = Recording(tmp_path / "r")
    (block,) = recording.blocks()
    found: dict[int, list[np.ndarray]] = {}
    for sequence, values in seen(recording, rules):
        found.setdefault(sequence, []).append(values)
    assert sorted(found) == list(range(8))
    for sequence, parts in found.items():  # each is a text that was read, begun by its own prompt
        said = block.tokens[block.sequences == sequence].tolist()
        own = prompt(lm)["input_ids"][sequence // 4][prompt(lm)["attention_mask"][sequence // 4] > 0].tolist()
        assert said[: len(own)] == own and len(said) - len(own) in ((0,) if cached else (0, 1, 2))
        with ms.watch(lm, rules) as whole:
            lm.model(input_ids=torch.tensor([said]))
        np.testing.assert_allclose(
            np.concatenate(parts).astype(np.float32), whole.values[0].numpy(), rtol=2e-3, atol=1e-3
        )
        assert [e.place for n, e in replay(recording, rules).events if n == sequence] == [
            event.place for row in whole.rows if row is not None for event in row.events
        ]


def test_without_following_beams_may_be_read(tmp_path: Path) -> None:
    lm = ms.load_model("reference-b")
    with ms.watch(lm, probed(tmp_path), follow=False) as watching:
        said = lm.model.generate(**prompt(lm), max_new_tokens=5, num_beams=3, do_sample=False, pad_token_id=0)
    assert watching.values.shape == (6, 1, 1) and len(said) == 2


def test_a_cache_that_was_watched_can_be_reordered_afterwards(tmp_path: Path) -> None:
    lm = ms.load_model("reference-b")
    with ms.watch(lm, probed(tmp_path)):
        cache = lm.model(input_ids=torch.tensor([[1, 2], [3, 4]]), use_cache=True).past_key_values
    before = cache.layers[0].keys.clone()
    cache.reorder_cache(torch.tensor([1, 0]))
    assert torch.equal(cache.layers[0].keys, before[[1, 0]])
