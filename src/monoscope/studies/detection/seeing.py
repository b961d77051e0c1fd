"""Texts as the model sees them: framed, cut at its context, and read in batches."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from monoscope import progress
from monoscope.dictionary.base import Dictionary
from monoscope.models.language_model import LanguageModel
from monoscope.studies.detection.detector import Detector, rules_of
from monoscope.studies.detection.examples import Example, Texts
from monoscope.types import PADDING, Code, Document, TokenBlock
from monoscope.watch.live import watch
from monoscope.watch.precision import rounded

BATCH = 8192  # tokens of a pass, padding included
MOST = 1 << 28  # numbers of activations that are kept: 1 GB


@dataclass(frozen=True)
class Tokens:
    """Framed texts.

    Args:
        ids: the tokens of each, those that frame it included.
        inside: for each text, on which tokens its label holds: where its spans are, or everywhere.
        cut: how many texts are longer than the model's context, and were cut there.
    """

    ids: tuple[Int[np.ndarray, " tokens"], ...]
    inside: tuple[Bool[np.ndarray, " tokens"], ...]
    cut: int

    @cached_property
    def offsets(self) -> Int[np.ndarray, " n_plus_1"]:
        """Where each text's tokens begin when all are put one after the other."""
        return np.concatenate([[0], np.cumsum([len(ids) for ids in self.ids])]).astype(np.int64)


@dataclass(frozen=True)
class Seen:
    """What fits a detector: every token's activation and code, text after text.

    Args:
        x: activations at the site.
        code: of the dictionary; values rounded as a monitor rounds them.
        tokens: whose they are.
    """

    x: Float[Tensor, "n_tokens d"]
    code: Code
    tokens: Tokens


def tokenise(lm: LanguageModel, texts: Texts) -> Tokens:
    """Frame texts as a window of the model, and cut those that are too long."""
    before, after = lm.tokeniser.prefix, lm.tokeniser.suffix
    room = lm.context - len(before) - len(after)
    documents = lm.tokeniser.documents([Document(str(i), e.text) for i, e in enumerate(texts.examples)])
    ids, inside = [], []
    for example, document in zip(texts.examples, documents, strict=True):
        kept = document.tokens[:room]
        holds = _inside(example, document.starts[:room], document.ends[:room])
        ids.append(np.concatenate([before, kept, after]).astype(np.int64))
        inside.append(np.concatenate([np.zeros(len(before), bool), holds, np.zeros(len(after), bool)]))
    return Tokens(tuple(ids), tuple(inside), sum(len(d) > room for d in documents))


def _inside(example: Example, starts: Int[np.ndarray, " n"], ends: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
    """The tokens that overlap a span; all of a positive text without any."""
    holds = np.full(len(starts), example.label and not example.spans)
    for span in example.spans if example.label else ():
        first, end = (len(example.text[:place].encode()) for place in span)
        holds |= (starts < end) & (ends > first)
    return holds


def look(
    lm: LanguageModel, site: str, dictionary: Dictionary, tokens: Tokens, report: progress.Report = progress.silent
) -> Seen:
    """Run the model over texts and keep what it thinks at a site."""
    found: dict[int, Tensor] = {}
    for chosen, ids, live in _batches(tokens.ids, lm.tokeniser.padding):
        documents = torch.where(live, torch.tensor(chosen)[:, None], PADDING)
        block = TokenBlock(ids, documents, torch.arange(ids.shape[1]).expand(ids.shape))
        with torch.no_grad():
            x = lm.run(block, read=[site])[site].float().cpu()
        found |= {i: x[row, live[row]] for row, i in enumerate(chosen)}
        report(int(live.sum()))
    x = torch.cat([found[i] for i in range(len(tokens.ids))])
    codes = [dictionary.encode(part) for part in x.split(BATCH)]
    sizes = np.concatenate([[0], np.cumsum([len(c.indices) for c in codes])]).tolist()
    offsets = [codes[0].offsets[:1], *(c.offsets[1:] + size for c, size in zip(codes, sizes, strict=False))]
    values = torch.cat([c.values for c in codes]).float().numpy()
    code = Code(
        torch.cat([c.indices for c in codes]),
        torch.from_numpy(rounded(values).astype(np.float32)),
        torch.cat(offsets),
        dictionary.n_features,
    )
    return Seen(x, code, tokens)


def values(
    lm: LanguageModel, detectors: Sequence[Detector], tokens: Tokens, report: progress.Report = progress.silent
) -> list[Float[np.ndarray, "tokens n_signals"]]:
    """What ``ms.watch`` reads of the detectors' signals on every token of every text, in ``rules_of``'s order."""
    found: dict[int, np.ndarray] = {}
    takes = inspect.signature(lm.model.forward).parameters
    unread = {"logits_to_keep": 1} if "logits_to_keep" in takes else {}  # nobody asks what comes next
    with tempfile.TemporaryDirectory() as place:
        with torch.no_grad(), watch(lm, rules_of(detectors, Path(place) / "rules.toml"), follow=False) as watching:
            for chosen, ids, live in _batches(tokens.ids, lm.tokeniser.padding):
                lm.model(input_ids=ids.to(lm.device), attention_mask=live.long().to(lm.device), **unread)
                found |= {i: watching.values[row, live[row]].numpy() for row, i in enumerate(chosen)}
                report(int(live.sum()))
    return [found[i] for i in range(len(tokens.ids))]


def _batches(
    ids: Sequence[Int[np.ndarray, " tokens"]], padding: int
) -> Iterator[tuple[list[int], Int[Tensor, "n width"], Bool[Tensor, "n width"]]]:
    """Texts of like length together: which, their tokens, padded on the right, and where there is one."""
    left = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    while left:
        size = max(1, BATCH // max(1, len(ids[left[min(len(left), 64) - 1]])))
        chosen, left = left[:size], left[size:]
        width = max(1, max(len(ids[i]) for i in chosen))
        tokens = torch.full((len(chosen), width), padding, dtype=torch.long)
        live = torch.zeros(len(chosen), width, dtype=torch.bool)
        for row, i in enumerate(chosen):
            tokens[row, : len(ids[i])] = torch.from_numpy(ids[i])
            live[row, : len(ids[i])] = True
        yield chosen, tokens, live
