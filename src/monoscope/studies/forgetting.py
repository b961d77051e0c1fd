"""What a model forgot and what it kept when something was taken out of it, and how easily that comes back.

*Forgotten* is the loss on held-out predictions of the concept: those whose next token, or whose own, it holds on.
*Kept* is the loss on all others. Both are compared with the untouched model on the same tokens, so that intervals,
which resample documents, are of paired differences. What is gone from the losses may still be there: a linear probe,
fitted on other documents, says whether the concept can be read off the activations, and a short fine-tuning on text of
the concept says how much of the loss comes back after so many tokens.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.functional import cross_entropy

from monoscope.concepts import Expression
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Estimate, Resamples, Sampled, Totals, sample
from monoscope.interpret import logistic
from monoscope.interpret.probing import RESAMPLES, auroc
from monoscope.models.language_model import NO_WRITES, LanguageModel
from monoscope.models.taps import Write
from monoscope.text import pack
from monoscope.text.store import TokenStore
from monoscope.types import PADDING, Site, TokenBlock

Progress = Callable[[int], None]
TOKENS_PER_BLOCK = 4096  # logits of so many tokens are held at once
LONGEST = 1024  # tokens of a document at most: many documents say more than long ones
PROBED = 20_000  # rows that a probe is fitted to at most, as many with the concept as without


@dataclass(frozen=True, eq=False)
class Exam:
    """Text to judge on: blocks, the slot of each block's predictions, and which of them belong to the concept.

    ``counted`` marks positions whose next token is of the same document; ``of_concept`` those of them that predict the
    concept or predict from it. ``slots`` numbers ``documents`` from 0.
    """

    blocks: list[TokenBlock]
    counted: list[Bool[Tensor, "windows context"]]
    of_concept: list[Bool[Tensor, "windows context"]]
    documents: Int[np.ndarray, " n_documents"]

    @property
    def n_tokens(self) -> int:
        """How many predictions there are."""
        return sum(int(c.sum()) for c in self.counted)

    def slots(self, i: int) -> Int[Tensor, "windows context"]:
        """The place among ``documents`` of each token of block ``i``; the first for what is no text."""
        found = np.searchsorted(self.documents, self.blocks[i].documents.clamp_min(0).numpy())
        return torch.from_numpy(np.minimum(found, len(self.documents) - 1))


def exam(lm: LanguageModel, store: TokenStore, documents: Sequence[int], concept: Expression, tokens: int) -> Exam:
    """Some documents as an exam: those with the concept until there are half of ``tokens``, others, then more of them.

    Raises:
        MonoscopeError: the concept holds nowhere in them.
    """
    masks = {d: concept.mask(store.document(d)) for d in documents}
    holding = [d for d in documents if masks[d][:LONGEST].any()]
    sizes = {d: min(store.length(d), LONGEST) for d in documents}
    half = int(np.searchsorted(np.cumsum([sizes[d] for d in holding]), tokens // 2)) + 1
    ordered = [*holding[:half], *(d for d in documents if not masks[d][:LONGEST].any()), *holding[half:]]
    if not holding:
        raise MonoscopeError(f"{concept.text} holds on no token of the text", fix="make a run on text that it holds on")
    used = np.sort(ordered[: int(np.searchsorted(np.cumsum([sizes[d] for d in ordered]), tokens)) + 1])
    made = Exam([], [], [], used)
    windows = pack.windows(store, used, lm.tokeniser, lm.window)
    windows, size = windows[windows[:, 1] < LONGEST], max(1, TOKENS_PER_BLOCK // lm.window)
    for first in range(0, len(windows), size):
        block = pack.block(store, windows[first : first + size], lm.tokeniser, lm.window)
        holds = _held(block, masks)
        counted = torch.zeros_like(holds)
        counted[:, :-1] = block.is_text[:, 1:] & (block.documents[:, :-1] == block.documents[:, 1:])
        after = torch.zeros_like(holds)
        after[:, :-1] = holds[:, 1:]
        made.blocks.append(block)
        made.counted.append(counted)
        made.of_concept.append(counted & (holds | after))
    return made


def _held(block: TokenBlock, masks: Mapping[int, Bool[np.ndarray, " n"]]) -> Bool[Tensor, "windows context"]:
    """On which tokens of a block the concept holds."""
    holds = torch.zeros_like(block.is_text)
    for i, row in enumerate(block.documents.numpy()):
        text = row >= 0
        if text.any():
            document = int(row[text][0])
            holds[i, torch.from_numpy(text)] = torch.from_numpy(masks[document][block.positions[i].numpy()[text]])
    return holds


@torch.no_grad()
def losses(
    lm: LanguageModel,
    asked: Exam,
    write: Mapping[Site | str, Write] = NO_WRITES,
    progress: Progress = lambda tokens: None,
) -> dict[str, Float[np.ndarray, " n_documents"]]:
    """Sums over each document: ``concept`` and ``rest`` in nats, ``concept_n`` and ``rest_n`` of predictions."""
    sums = {name: np.zeros(len(asked.documents)) for name in ("concept", "rest", "concept_n", "rest_n")}
    for i, (block, counted, of_concept) in enumerate(zip(asked.blocks, asked.counted, asked.of_concept, strict=True)):
        logits = lm.run(block, read=["logits"], write=write)["logits"][counted].float()
        targets = block.tokens.roll(-1, 1)[counted].to(logits.device)
        loss = cross_entropy(logits, targets, reduction="none").cpu().double().numpy()
        slots, held = asked.slots(i)[counted].numpy(), of_concept[counted].numpy()
        for name, kept in (("concept", held), ("rest", ~held)):
            sums[name] += np.bincount(slots[kept], loss[kept], len(asked.documents))
            sums[f"{name}_n"] += np.bincount(slots[kept], minlength=len(asked.documents))
        progress(int(counted.sum()))
    return sums


@dataclass(frozen=True)
class Change:
    """What a removal did, with 95 % intervals over documents.

    ``forgotten`` and ``kept`` are losses in nats a token, ``gain`` and ``harm`` what they are above the untouched
    model's, ``relative`` is the harm as a share of the untouched loss.
    """

    forgotten: Estimate
    gain: Estimate
    kept: Estimate
    harm: Estimate
    relative: Estimate

    def to_json(self) -> dict[str, dict[str, float | None]]:
        """Every estimate."""
        return {name: getattr(self, name).to_json() for name in self.__dataclass_fields__}


def compare(plain: Totals, changed: Totals, seed: int = 0) -> Change:
    """The change from one model's sums to another's, on the same exam (or the same part of its documents)."""
    both = {**{f"plain_{name}": v for name, v in plain.items()}, **changed}

    def values(totals: Totals) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore"):
            forgotten, kept = totals["concept"] / totals["concept_n"], totals["rest"] / totals["rest_n"]
            before, other = totals["plain_concept"] / totals["concept_n"], totals["plain_rest"] / totals["rest_n"]
            harm = kept - other
            return {
                "forgotten": forgotten, "gain": forgotten - before, "kept": kept, "harm": harm,
                "relative": harm / other,
            }  # fmt: skip

    return Change(**{name: found.estimate() for name, found in sample(both, values, seed).items()})


# --- bringing it back -------------------------------------------------------------------------------------------------


def windows_of(asked: Exam) -> Iterator[tuple[Int[Tensor, " context"], Bool[Tensor, " context"]]]:
    """The windows that are mostly of the concept, as tokens and which of them are text."""
    for block, counted, of_concept in zip(asked.blocks, asked.counted, asked.of_concept, strict=True):
        for i in range(len(block.tokens)):
            if 2 * int(of_concept[i].sum()) > int(counted[i].sum()):
                yield block.tokens[i], block.documents[i] != PADDING


def relearn(
    lm: LanguageModel, asked: Exam, tokens: int, *, rate: float = 3e-4, batch: int = 8, seed: int = 0
) -> tuple[LanguageModel, int]:
    """A copy of a model, trained on text of the concept: all weights, AdamW, ``batch`` windows a step.

    Returns:
        The model, and how many tokens it was trained on: ``tokens`` or what one step more makes of them; windows are
        read again when there are too few.

    Raises:
        MonoscopeError: there is no window that is mostly of the concept.
    """
    held = list(windows_of(asked))
    if not held:
        raise MonoscopeError("no window of the text is mostly of the concept", fix="give more text of it")
    model = copy.deepcopy(lm.model).train().requires_grad_(True)
    optimiser = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.0)
    generator, seen = torch.Generator().manual_seed(seed), 0
    waiting: list[int] = []
    while seen < tokens:
        if len(waiting) < batch:
            waiting += torch.randperm(len(held), generator=generator).tolist()
        drawn, waiting = [held[i] for i in waiting[:batch]], waiting[batch:]
        given, text = (torch.nn.utils.rnn.pad_sequence([d[j] for d in drawn], batch_first=True) for j in (0, 1))
        with torch.enable_grad():
            logits = model(input_ids=given.to(lm.device)).logits[:, :-1].float()
            wanted = given[:, 1:].masked_fill(~text[:, 1:], -100).to(logits.device)
            cross_entropy(logits.flatten(0, 1), wanted.flatten()).backward()
        optimiser.step()
        optimiser.zero_grad()
        seen += int(text.sum())
    return LanguageModel(model.eval().requires_grad_(False), lm.tokeniser, name=f"{lm.name} (tuned)"), seen


@torch.no_grad()
def probe(lm: LanguageModel, site: Site | str, fit: Exam, test: Exam, seed: int = 0) -> Estimate:
    """The AUROC of a linear probe for the concept at a site: fitted on some documents, judged on others.

    What it is asked at a token is whether the prediction made there belongs to the concept; undefined where all do.
    """
    x, holds, _ = _rows(lm, site, fit, seed, balanced=True)
    x_test, holds_test, slots = _rows(lm, site, test, seed, balanced=False)
    if any(len(np.unique(held)) < 2 for held in (holds, holds_test)):
        return Estimate()
    found = logistic.fit(x, torch.from_numpy(holds))
    n = int(slots.max()) + 1
    weights = np.concatenate([np.ones((1, n)), *Resamples(n, seed, RESAMPLES).weights()])
    areas = auroc(found.scores(x_test)[:, 0].numpy(), holds_test[:, 0], weights, slots)
    return Sampled(float(areas[0]), areas[1:], n).estimate()


def _rows(
    lm: LanguageModel, site: Site | str, asked: Exam, seed: int, balanced: bool
) -> tuple[Float[Tensor, "n d"], Bool[np.ndarray, "n 1"], Int[np.ndarray, " n"]]:
    """Rows of a site at counted predictions, whether they are of the concept, and their documents' slots."""
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for i, (block, counted, of_concept) in enumerate(zip(asked.blocks, asked.counted, asked.of_concept, strict=True)):
        h = lm.run(block, read=[site])[str(Site.parse(site))]
        parts.append((h[counted].float().cpu(), of_concept[counted], asked.slots(i)[counted]))
    x, holds, slots = (torch.cat([p[j] for p in parts]) for j in range(3))
    generator = torch.Generator().manual_seed(seed)
    sides = [found.nonzero()[:, 0] for found in (holds, ~holds)]
    sides = [side[torch.randperm(len(side), generator=generator)] for side in sides]
    each = min(PROBED // 2, *map(len, sides)) if balanced else 2 * PROBED
    rows = torch.cat([side[:each] for side in sides]).sort().values
    return x[rows], holds[rows].numpy()[:, None], slots[rows].numpy()
