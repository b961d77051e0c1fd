"""A sentence-embedding model as judge: how near the words and a text are to each other.

It needs no chat model and is quick; what it measures is whether an explanation and a text speak of the same things, not
which token does (the *embedding* scorer of delphi, EleutherAI). Answers are cosines: only their order means anything.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from monoscope.errors import MonoscopeError
from monoscope.interpret import judges
from monoscope.interpret.judges import SET, Answers, Passage, Question

Encode = Callable[[Sequence[str]], Float[np.ndarray, "n d"]]
BATCH = 64


class Sentences(judges.Judge):
    """Judges by the cosine between vectors of texts. ``encode`` gives a vector for each text."""

    def __init__(self, encode: Encode, name: str) -> None:
        self._encode = encode
        self.name = f"embedding {name}"

    def contains(self, questions: Sequence[Question]) -> Answers:
        """The cosine between the words and each text."""
        texts = [q.claim.words for q in questions] + [_text(p) for q in questions for p in q.passages]
        vectors = self._vectors(texts)
        out, at = [], len(questions)
        for i, q in enumerate(questions):
            out.append(vectors[at : at + len(q.passages)] @ vectors[i])
            at += len(q.passages)
        return out

    def odd(self, questions: Sequence[Question]) -> Answers:
        """Of every ``SET`` texts, the one that is least near to the others."""
        out = []
        for q in questions:
            vectors = self._vectors([_text(p) for p in q.passages]).reshape(-1, SET, self._width)
            near = vectors @ vectors.transpose(0, 2, 1)
            out.append(near.sum(2).argmin(1).astype(np.float64))  # a text's cosine with itself is 1 for all
        return out

    def _vectors(self, texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        found = np.asarray(self._encode(texts), dtype=np.float64)
        if found.ndim != 2 or len(found) != len(texts):
            raise MonoscopeError(
                f"{self.name} gave an array of shape {found.shape} for {len(texts)} texts",
                fix="encode gives one vector for each text",
            )
        self._width = found.shape[1]
        return found / np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)


def load(name: str | Path) -> Sentences:
    """An encoder in ``transformers`` format (a folder or a Hugging Face id); a text's vector is its tokens' mean.

    Raises:
        MonoscopeError: there is no such model.
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    try:
        tokeniser, model = AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise MonoscopeError(
            f"{name} is no sentence-embedding model that can be read: {error}",
            fix="name a folder or a Hugging Face id with config.json, tokenizer.json and model.safetensors",
        ) from error
    model.eval()

    def encode(texts: Sequence[str]) -> Float[np.ndarray, "n d"]:
        parts = []
        for first in range(0, len(texts), BATCH):
            some = [text or " " for text in texts[first : first + BATCH]]
            inputs = tokeniser(some, padding=True, truncation=True, max_length=256, return_tensors="pt")
            with torch.inference_mode():
                held = model(**inputs).last_hidden_state
            mask = inputs["attention_mask"][..., None]
            parts.append(((held * mask).sum(1) / mask.sum(1).clamp_min(1)).float().numpy())
        return np.concatenate(parts)

    return Sentences(encode, Path(name).name)


def _text(passage: Passage) -> str:
    return "".join(passage.texts)
