"""First letters of a run: which tokens count, what is read where, and the table; the measure has tests of its own."""

from __future__ import annotations

import io as text_io
import json
import random
import re

import numpy as np
import pytest
import torch
from rich.console import Console
from test_comparison import made

from monoscope.app import cli, letter_scores
from monoscope.app.letter_scores import OF_A_WORD, choose, few, spellings
from monoscope.app.run import Run
from monoscope.app.sampling import activations, draw
from monoscope.errors import MonoscopeError
from monoscope.interpret.first_letter import LETTERS
from monoscope.models import load_model


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    lm, out, rng = load_model("reference-a"), tmp_path_factory.mktemp("letters"), random.Random(0)
    vocabulary = sorted(t[1:] for t in lm.tokeniser.backend.get_vocab() if re.fullmatch("Ġ[a-z]{3,}", t))
    words = [w for letter in "dfimprst" for w in [v for v in vocabulary if v[0] == letter][:40]]
    (out / "text").mkdir()
    for i in range(60):
        lines = [" ".join(rng.choices(words, k=8)) + f" {i} {j}" for j in range(40)]
        (out / "text" / f"{i:02}.txt").write_text("\n".join(lines) + "\n")
    return Run(made(lm, out / "run", f"files:{out}/text/*.txt"))


@pytest.fixture(scope="module")
def words(run):
    return choose(run)


def test_words_are_fitted_on_or_judged_on_never_both(run, words):
    fitted, judged = (set(w.tolist()) for w in words.words)
    assert fitted and judged and not fitted & judged
    for drawn, kept, of, split in zip(words.drawn, words.kept, words.words, ("fit", "test"), strict=True):
        documents, _ = words.rows.locate(drawn[kept])
        assert {run.store.splits[d] for d in documents.tolist()} == {split}
        spelt = spellings(words.rows, drawn[kept])
        assert [LETTERS[words.letters[w]] for w in of.tolist()] == [s[0] for s in spelt]
        assert np.bincount(of).max() <= OF_A_WORD


def test_few_of_each_word_and_none_of_none():
    words = np.array([-1] * 20 + [0] * 30 + [1] * 3)
    kept = few(words, np.random.default_rng(0))
    assert np.bincount(words[kept]).tolist() == [OF_A_WORD, 3]
    assert (kept != few(words, np.random.default_rng(1))).any()


def test_what_is_kept_is_read_in_its_context(run, words):
    drawn = draw(run, words.rows, "test", 2_000)
    kept = np.random.default_rng(0).random(len(drawn)) < 0.1
    kept[: len(kept) // 2] = False
    whole = activations(run, run.lm, words.rows, drawn)
    assert torch.equal(activations(run, run.lm, words.rows, drawn, kept), whole[torch.from_numpy(kept)])
    assert len(draw(run, words.rows, "test", 1)) <= run.lm.context  # one window is enough


def test_letters_that_are_there_are_told_beside_their_controls(run, words, monkeypatch):
    """Activations that hold the letter and a trace of the word: readable, but not when the letters are shuffled."""

    def planted(run, lm, rows, drawn, kept):
        spelt = [w for w, k in zip(spellings(rows, drawn), kept, strict=True) if k]
        x = torch.zeros(len(spelt), 512)
        x[torch.arange(len(spelt)), [LETTERS.index(w[0]) for w in spelt]] = 1
        return x + 0.01 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))

    monkeypatch.setattr(letter_scores, "activations", planted)
    found = letter_scores.score(run)
    assert list(found) == ["dictionary", "shuffled_letters"]
    told = letter_scores.to_json(found)
    assert len(told["first_letter"]["readable"]) >= 5
    assert told["first_letter"]["probe_f1"]["value"] > 2 * told["controls"]["shuffled_letters"]["probe_f1"]["value"]
    assert told["first_letter"]["absorption"]["value"] is not None
    shown = text_io.StringIO()
    letter_scores.print_scores(found, Console(file=shown, width=80))
    assert "this dictionary" in shown.getvalue() and "left out" in shown.getvalue() and "…" not in shown.getvalue()


def test_a_model_that_reads_no_letters_gets_no_number(run, capsys):
    with pytest.raises(SystemExit) as exit_:
        cli.main(["evaluate", str(run.path), "--letters", "--json"])
    assert exit_.value.code == 0
    told = json.loads(capsys.readouterr().out)["first_letter"]
    assert told["readable"] == "" and told["absorption"] == {"value": None, "low": None, "high": None}
    assert len(told["letters"]) == 26 and "main_features" not in told["letters"][0]


def test_a_text_without_words_is_refused(run, monkeypatch):
    monkeypatch.setattr(letter_scores, "spellings", lambda rows, drawn: [None] * len(drawn))
    with pytest.raises(MonoscopeError, match="only 0 words"):
        choose(run)
