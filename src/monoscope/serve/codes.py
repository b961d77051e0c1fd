"""Embeddings: the code of a text, pooled over its tokens, a number for every feature of the dictionary."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from monoscope.dictionary.base import Dictionary
from monoscope.models.language_model import LanguageModel
from monoscope.types import PADDING, SEPARATOR, Site, TokenBlock

TOGETHER = 2048  # tokens, padding included, that one pass reads


class Codes:
    """Embeds texts with a dictionary. Runs the model, so its owner calls it."""

    def __init__(self, lm: LanguageModel, dictionary: Dictionary, site: Site | str) -> None:
        """The dictionary reads ``site`` of the model."""
        self._lm, self._dictionary, self._site = lm, dictionary, str(site)
        dictionary.make_ready()

    @property
    def n_features(self) -> int:
        """The length of an embedding."""
        return self._dictionary.n_features

    def groups(self, texts: Sequence[Sequence[int]]) -> list[list[int]]:
        """Which texts one pass reads together: those of about one length."""
        groups: list[list[int]] = []
        for i in sorted(range(len(texts)), key=lambda i: len(texts[i])):
            if not groups or len(texts[i]) * (len(groups[-1]) + 1) > TOGETHER:
                groups.append([])
            groups[-1].append(i)
        return groups

    def pooled(self, texts: Sequence[Sequence[int]], pool: str) -> Float[np.ndarray, "n_texts n_features"]:
        """The ``mean`` or the ``max`` of the codes of each text's own tokens; what frames it is only read."""
        before, after = self._lm.tokeniser.prefix, self._lm.tokeniser.suffix
        width = max(map(len, texts)) + len(before) + len(after)
        ids = torch.full((len(texts), width), self._lm.tokeniser.padding)
        documents = torch.full((len(texts), width), PADDING)
        for row, text in enumerate(texts):
            framed = [*before, *text, *after]
            ids[row, : len(framed)] = torch.tensor(framed)
            documents[row, : len(framed)] = SEPARATOR
            documents[row, len(before) : len(before) + len(text)] = row
        block = TokenBlock(ids, documents, torch.zeros_like(ids))
        found = self._lm.run(block, read=[self._site])[self._site]
        code = self._dictionary.encode(found[block.is_text.to(found.device)].float())
        made = np.zeros((len(texts), code.n_features), np.float32)
        ends = np.cumsum([0, *map(len, texts)])
        for row, (start, stop) in enumerate(pairwise(ends.tolist())):
            own = code[start:stop]
            indices, values = own.indices.cpu().numpy(), own.values.float().cpu().numpy()
            if pool == "max":
                np.maximum.at(made[row], indices, values)
            else:
                np.add.at(made[row], indices, values / (stop - start))
        return made


def written(vector: Float[np.ndarray, " n_features"], encoding: str) -> Any:
    """An embedding as it is sent: numbers, or their bytes (little-endian fp32) in base64."""
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(f"{value:.7g}") for value in vector.tolist()]
