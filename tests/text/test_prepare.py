"""From a corpus to splits: budgets met, copies kept together, the leak measured, and nothing twice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monoscope.errors import MonoscopeError
from monoscope.text import prepare
from monoscope.text.corpus import open_corpus
from monoscope.text.tokenise import Tokeniser

BUDGET = {"dictionary": 6000, "fit": 2000, "test": 2000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 files of which every third is a copy of the one before it with a line changed."""
    root = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    lines: list[str] = []
    for i in range(300):
        if i % 3 == 2:
            lines = ["# a copy", *lines[1:]]
        else:
            lines = [f"value_{a} = {b}" for a, b in rng.integers(0, 10**9, (20, 2))]
        (root / f"{i:03d}.py").write_text("\n".join(lines) + "\n")
    return root


def test_budgets_are_met_and_copies_stay_together(folder: Path, bpe: Tokeniser, tmp_path: Path) -> None:
    made = prepare.prepare(open_corpus(folder), bpe, tmp_path / "text", BUDGET)
    longest = max(made.length(d) for d in range(len(made)))
    for split, wanted in BUDGET.items():
        assert wanted <= made.tokens_in(split) < wanted + longest
    split_of = dict(zip(made.names, made.splits, strict=True))
    assert len(split_of) == len(made)
    pairs = [(f"{i - 1:03d}.py", f"{i:03d}.py") for i in range(2, 300, 3)]
    both = [(split_of[a], split_of[b]) for a, b in pairs if a in split_of and b in split_of]
    assert len(both) > 5 and all(a == b for a, b in both)
    assert prepare.leak(made, "test", "dictionary", "fit") == 0


def test_the_same_again_and_another_seed(folder: Path, bpe: Tokeniser, tmp_path: Path) -> None:
    made = [
        prepare.prepare(open_corpus(folder), bpe, tmp_path / str(i), BUDGET, seed=s) for i, s in enumerate((1, 1, 2))
    ]
    assert made[0].manifest == made[1].manifest
    assert made[0].splits != made[2].splits


def test_a_leak_is_a_leak(folder: Path, bpe: Tokeniser, tmp_path: Path) -> None:
    from monoscope.text import store

    documents = list(open_corpus(folder))[1:3]  # a file and its copy
    held = store.build([("test", documents[0]), ("fit", documents[1])], bpe, tmp_path / "text")
    assert prepare.leak(held, "test", "fit") == 19 / 20


def test_too_few_documents_or_too_little_text(bpe: Tokeniser, tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text("a single document\n" * 10)
    with pytest.raises(MonoscopeError, match="1 document cannot be split into dictionary, fit, test"):
        prepare.prepare(open_corpus(tmp_path / "one.txt"), bpe, tmp_path / "text", BUDGET)


def test_bytes_per_token(folder: Path, bpe: Tokeniser) -> None:
    first = [d for d, _ in zip(open_corpus(folder), range(prepare.PROBE))]
    n_bytes, n_tokens = sum(len(d.text) for d in first), sum(len(bpe.text(d.text)) for d in first)
    assert prepare.bytes_per_token(open_corpus(folder), bpe) == n_bytes / n_tokens
