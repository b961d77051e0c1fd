"""Catalogues made by hand: random concepts without text, and small programs with planted features."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass

import numpy as np

from monoscope.concepts import PLACES, Concept, ConceptBits
from monoscope.text.rows import Rows
from monoscope.text.store import TokenStore
from monoscope.types import TokenisedDocument


@dataclass(frozen=True)
class Index:
    offsets: np.ndarray
    rows: np.ndarray
    values: np.ndarray


def indexed(features: list[tuple[np.ndarray, np.ndarray]]) -> Index:
    """An index from (rows, values) per feature."""
    offsets = np.concatenate([[0], np.cumsum([len(rows) for rows, _ in features])]).astype(np.int64)
    return Index(
        offsets,
        np.concatenate([rows for rows, _ in features]).astype(np.uint32),
        np.concatenate([values for _, values in features]).astype(np.float16),
    )


def random_bits(rng: np.random.Generator, n_rows: int, n_documents: int, n_concepts: int, n_tokens: int) -> ConceptBits:
    """Concepts that hold at random, each with its own frequency; documents of equal length."""
    masks = rng.random((n_rows, n_concepts)) < rng.uniform(0.02, 0.5, n_concepts)
    words = np.zeros((n_rows, -(-n_concepts // 64)), dtype=np.uint64)
    for c in range(n_concepts):
        words[:, c // 64] |= masks[:, c].astype(np.uint64) << np.uint64(c % 64)
    concepts = tuple(Concept(f"c{c}", f"in place {c}", "none", lambda d: d.nothing()) for c in range(n_concepts))
    return ConceptBits(
        concepts,
        words,
        masks.sum(0),
        _places(rng, n_rows, n_tokens),
        (np.arange(n_rows) * n_documents // n_rows).astype(np.int32),
        tuple(b"t%d" % t for t in range(n_tokens)),
    )


def _places(rng: np.random.Generator, n_rows: int, n_tokens: int) -> np.ndarray:
    """Tokens and the tokens before them; what stands at the other places is random, and sometimes nothing."""
    places = rng.integers(-1, n_tokens, (n_rows, len(PLACES))).astype(np.int32)
    places[:, 0] = rng.integers(0, n_tokens, n_rows)
    places[:, 1] = np.concatenate([[-1], places[:-1, 0]])
    return places


class Store(TokenStore):
    """As much of a token store as rows need, in memory; every second document is of the split ``test``."""

    def __init__(self, documents: list[TokenisedDocument]) -> None:
        self._documents = documents
        self.token_offsets = np.concatenate([[0], np.cumsum([len(d) for d in documents])])
        self.splits = ["fit" if i < len(documents) / 2 else "test" for i in range(len(documents))]

    def __len__(self) -> int:
        return len(self._documents)

    def document(self, index: int) -> TokenisedDocument:
        return self._documents[index]


_TOKEN = re.compile(r" ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]|\n *|\s")
_NAMES = "data model index list file name error size time user path key node line value total count".split()


def program(rng: random.Random) -> TokenisedDocument:
    """A small Python module with docstrings, calls and returns."""
    parts = []
    for _ in range(rng.randrange(4, 8)):
        a, b, c = rng.sample(_NAMES, 3)
        doc = " ".join(rng.choices(_NAMES, k=12))
        parts.append(
            f'def {a}({b}, {c}):\n    """The {doc}."""\n    {b} = {c}({a}={b}, {c}=1)\n    return {b} + {c}\n\n\n'
        )
    text = "".join(parts)
    spans = np.array([m.span() for m in _TOKEN.finditer(text)])
    return TokenisedDocument("p", text, np.zeros(len(spans), dtype=np.int64), spans[:, 0], spans[:, 1])


@dataclass(frozen=True)
class Catalogue:
    """What labels are made for."""

    rows: Rows
    index: Index


def programs(n: int = 60, seed: int = 0) -> Rows:
    """Rows of ``n`` small modules, half of each split."""
    rng = random.Random(seed)
    store = Store([program(rng) for _ in range(n)])
    return Rows(store, np.arange(n))


def planted(mask: np.ndarray, rng: np.random.Generator, missed: float = 0.1, spurious: float = 0.01):
    """A feature that fires strongly where ``mask`` holds, misses some of it, and fires weakly elsewhere."""
    strong = mask & (rng.random(len(mask)) >= missed)
    weak = ~mask & (rng.random(len(mask)) < spurious)
    rows = np.flatnonzero(strong | weak)
    return rows, np.where(strong[rows], rng.uniform(0.55, 1, len(rows)), rng.uniform(0.01, 0.45, len(rows)))
