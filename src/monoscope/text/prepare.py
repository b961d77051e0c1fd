"""From a corpus to a token store with splits: near-duplicates together, sizes as asked, the leak measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path

import numpy as np

from monoscope.errors import MonoscopeError
from monoscope.text import near_duplicates, splits, store
from monoscope.text.corpus import Corpus
from monoscope.text.store import TokenStore
from monoscope.text.tokenise import Tokeniser
from monoscope.types import Document

SPARE = 1.25  # read this much more than the budget, since splits are drawn by document
MARGIN = 1.1  # and go on reading until every split has this much more than its own
PROBE = 64  # documents from which the bytes per token are estimated


def prepare(
    corpus: Corpus,
    tokeniser: Tokeniser,
    out: str | Path,
    budget: Mapping[str, int],
    *,
    seed: int = 0,
    progress: Callable[[int], None] = lambda tokens: None,
) -> TokenStore:
    """Tokenise as much of a corpus as the budget needs into a store whose documents are split.

    The corpus is read twice, once for signatures and once for tokens, so that it is never held in memory.

    Args:
        corpus: re-iterable; its order is kept.
        tokeniser: the model's.
        out: the store's folder.
        budget: split → tokens wanted; the splits' shares of the documents follow from it.
        seed: changes which documents fall into which split.
        progress: told the number of tokens of each batch.

    Raises:
        MonoscopeError: the corpus is empty or has too few documents to split, or the folder cannot be written.
    """
    wanted, per_token = sum(budget.values()), bytes_per_token(corpus, tokeniser)
    shares = {split: tokens / wanted for split, tokens in budget.items()}
    names: list[str] = []
    sizes: list[int] = []
    signatures: list[np.ndarray] = []
    assigned: list[str] = []
    reading, filled = iter(corpus), False
    while not filled:
        first, limit = len(names), max(SPARE * wanted * per_token, float(sum(sizes)))
        for document in reading:
            names.append(document.name)
            sizes.append(len(document.text.encode()))
            signatures.append(near_duplicates.signature(document.text))
            limit -= sizes[-1]
            if limit < 0:
                break
        if len(names) < len(budget):
            raise MonoscopeError(
                f"{len(names)} document{'s' * (len(names) != 1)} cannot be split into {', '.join(budget)}",
                where=str(corpus),
                fix="give more documents (a folder or a glob names many files), or ask for more tokens",
            )
        assigned = splits.assign(names, sizes, near_duplicates.clusters(np.stack(signatures)), shares, seed=seed)
        held = {split: sum(n for n, s in zip(sizes, assigned, strict=True) if s == split) for split in budget}
        enough = all(held[split] >= MARGIN * tokens * per_token for split, tokens in budget.items())
        filled = enough or len(names) == first  # some split drew too little: read on, unless nothing is left

    def pairs() -> Iterator[tuple[str, Document]]:
        yield from zip(assigned, islice(iter(corpus), len(names)), strict=True)

    return store.build(pairs(), tokeniser, out, budget=dict(budget), progress=progress)


def bytes_per_token(corpus: Corpus, tokeniser: Tokeniser) -> float:
    """How many bytes of text make a token, from the first documents.

    Raises:
        MonoscopeError: they hold no tokens.
    """
    first = list(islice(iter(corpus), PROBE))
    tokens = sum(len(d) for d in tokeniser.documents(first))
    if tokens == 0:
        raise MonoscopeError("the text holds no tokens", where=str(corpus), fix="name files that have text in them")
    return sum(len(d.text.encode()) for d in first) / tokens


def leak(made: TokenStore, held_out: str, *others: str) -> float:
    """The fraction of a split's distinct longer lines that documents of the other splits hold too."""
    texts = {s: [made.text(int(d)).decode() for d in made.documents(s)] for s in (held_out, *others)}
    return near_duplicates.shared_lines(texts[held_out], [t for s in others for t in texts[s]])
