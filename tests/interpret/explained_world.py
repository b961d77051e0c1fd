"""A small catalogue over texts of words, and a chat model that answers by a rule."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "catalogue"))

from catalogue_world import VOCABULARY, dictionary, language_model, tokeniser

from monoscope.catalogue.build import build
from monoscope.catalogue.directions import Head
from monoscope.catalogue.store import Catalogue
from monoscope.catalogue.vocabulary import Vocabulary
from monoscope.interpret.chat import Answer, Prompt
from monoscope.text import store as stores
from monoscope.types import Document

WORDS = "tree river stone cloud light house 42 1999 = ( ) def return import for in : , . é".split()
DEAD = 0  # a feature that never fires


def catalogue(path: Path, n_documents: int = 40) -> Catalogue:
    """Documents of random words, half of them in each split."""
    rng = np.random.default_rng(5)
    texts = [" ".join(rng.choice(WORDS, size=int(rng.integers(20, 60)))) for _ in range(n_documents)]
    made = [("fit" if i % 2 else "test", Document(f"d{i}", text)) for i, text in enumerate(texts)]
    text = stores.build([("model", Document("unused", "nothing to see")), *made], tokeniser(), path / "text")
    return build(path, language_model(1), "mlp_act.0", dictionary(), text, effects=0)


def head(opened: Catalogue, raised: Mapping[int, str]) -> Head:
    """A way to the logits by which each of some features raises the tokens (characters) that are named, by 1."""
    vocabulary = Vocabulary(tokeniser())
    spellings = [vocabulary.spelling(token) for token in range(VOCABULARY)]
    wanted = np.array([[s is not None and s in c.encode() for s in spellings] for c in raised.values()], np.float32)
    return Head(np.linalg.pinv(opened.directions.rows[list(raised)]) @ wanted, spellings)


class Chat:
    """Answers by a rule, and keeps what it was asked."""

    name = "a rule"

    def __init__(self, rule: Callable[[Prompt], Answer]) -> None:
        self.rule = rule
        self.asked: list[Prompt] = []

    def tokens(self, prompt: Prompt) -> int:
        return 1

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer]:
        self.asked += prompts
        return [self.rule(prompt) for prompt in prompts]
