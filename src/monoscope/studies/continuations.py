"""Letting a model go on with texts, and judging how it did: likelihood under the model itself, and repetition."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.concepts import Expression
from monoscope.errors import MonoscopeError
from monoscope.intervene.edit import Recipe
from monoscope.intervene.steering import steer
from monoscope.models.language_model import LanguageModel
from monoscope.text.store import TokenStore

GRAM = 4


@dataclass(frozen=True)
class Sampling:
    """How a model goes on: so many new tokens, drawn at a temperature (0: always the likeliest) with a seed."""

    new: int = 48
    temperature: float = 1.0
    seed: int = 0
    batch: int = 32


def prompts(
    store: TokenStore, documents: Sequence[int], number: int, longest: int = 48, shortest: int = 16, seed: int = 0
) -> list[list[int]]:
    """The beginnings of ``number`` documents, as tokens; each between ``shortest`` and ``longest`` long.

    Raises:
        MonoscopeError: not enough documents are longer than ``longest`` tokens.
    """
    generator = torch.Generator().manual_seed(seed)
    able = [d for d in documents if store.length(d) > longest]
    if len(able) < number:
        raise MonoscopeError(
            f"{len(able)} documents are longer than {longest} tokens, {number} prompts are wanted",
            fix="ask for fewer or shorter prompts",
        )
    chosen = torch.randperm(len(able), generator=generator)[:number].tolist()
    lengths = torch.randint(shortest, longest + 1, (number,), generator=generator).tolist()
    first = store.token_offsets
    return [
        store.tokens[int(first[able[i]]) : int(first[able[i]]) + n].tolist()
        for i, n in zip(chosen, lengths, strict=True)
    ]


def beginnings(
    store: TokenStore, documents: Sequence[int], begins: Expression, number: int, longest: int = 48, shortest: int = 16,
    seed: int = 0,
) -> list[list[int]]:  # fmt: skip
    """``number`` passages that begin where a concept holds, as tokens; the same arguments give the same passages.

    Documents are taken in turn, so that as many as possible are in it. Passages are between ``shortest`` and
    ``longest`` tokens long, drawn evenly, and lie in one document.

    Raises:
        MonoscopeError: there are fewer such places.
    """
    generator = torch.Generator().manual_seed(seed)
    queues = []
    for i in torch.randperm(len(documents), generator=generator).tolist():
        document, room = int(documents[i]), store.length(int(documents[i])) - longest
        places = np.flatnonzero(begins.mask(store.document(document))[: max(0, room)])
        if len(places):
            order = torch.randperm(len(places), generator=generator).numpy()
            queues.append((int(store.token_offsets[document]), places[order].tolist()))
        if sum(len(found) for _, found in queues) >= number and len(queues) >= number:
            break
    starts = [first + found[turn] for turn in range(number) for first, found in queues if turn < len(found)][:number]
    if len(starts) < number:
        raise MonoscopeError(
            f"{begins.text} holds at {len(starts)} places where a prompt could begin, {number} prompts are wanted",
            fix="ask for fewer prompts, or say with another expression where they begin",
        )
    lengths = torch.randint(shortest, longest + 1, (number,), generator=generator).tolist()
    return [store.tokens[start : start + n].tolist() for start, n in zip(starts, lengths, strict=True)]


def go_on(
    lm: LanguageModel, given: Sequence[Sequence[int]], sampling: Sampling, recipe: Recipe | None = None
) -> list[list[int]]:
    """What the model says after each prompt, steered by a recipe or not; new tokens only, up to an end of text.

    The same prompts, sampling and recipe give the same tokens. Prompts are padded on the left, so that a batch says
    what each of them would say alone.

    Raises:
        MonoscopeError: the model predicts no tokens, or a prompt and its continuation are longer than its context.
    """
    if not lm.has_head:
        raise MonoscopeError(f"{lm.name} predicts no tokens, so it cannot go on with a text", fix="use another model")
    framed = [[*lm.tokeniser.prefix, *prompt] for prompt in given]
    longest = max(map(len, framed), default=0)
    if longest + sampling.new > lm.context:
        raise MonoscopeError(
            f"{longest} tokens of prompt and {sampling.new} new ones do not fit the {lm.context} that {lm.name} reads",
            fix="shorten the prompt, or ask for fewer new tokens",
        )
    said: list[list[int]] = []
    with nullcontext() if recipe is None else steer(lm, recipe):
        for first in range(0, len(framed), sampling.batch):
            said += _batch(lm, framed[first : first + sampling.batch], sampling, sampling.seed + first)
    return said


def _batch(lm: LanguageModel, framed: list[list[int]], sampling: Sampling, seed: int) -> list[list[int]]:
    width = max(map(len, framed))
    padding = lm.tokeniser.padding
    tokens = torch.tensor([[padding] * (width - len(p)) + p for p in framed], device=lm.device)
    mask = torch.tensor([[0] * (width - len(p)) + [1] * len(p) for p in framed], device=lm.device)
    drawn = {"do_sample": True, "temperature": sampling.temperature, "top_k": 0, "top_p": 1.0}
    end = getattr(lm.model.config, "eos_token_id", None)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        made = lm.model.generate(
            tokens, attention_mask=mask, max_new_tokens=sampling.new, pad_token_id=padding,
            **(drawn if sampling.temperature > 0 else {"do_sample": False}),
        )[:, width:]  # fmt: skip
    ends = set(end) if isinstance(end, list) else {end}
    return [_until(row, ends) for row in made.tolist()]


def _until(tokens: list[int], ends: set[int | None]) -> list[int]:
    stop = next((i for i, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[:stop]


def surprise(
    lm: LanguageModel, given: Sequence[Sequence[int]], said: Sequence[Sequence[int]]
) -> Float[Tensor, " n_texts"]:
    """How unlikely the plain model finds each continuation: the sum over its tokens of −log p, in nats."""
    found = []
    for prompt, new in zip(given, said, strict=True):
        tokens = torch.tensor([[*lm.tokeniser.prefix, *prompt, *new]], device=lm.device)
        with torch.no_grad():
            logits: Float[Tensor, "tokens vocabulary"] = lm.model(input_ids=tokens).logits[0].float()
        loss = torch.nn.functional.cross_entropy(logits[:-1], tokens[0, 1:], reduction="none")
        found.append(loss[loss.shape[0] - len(new) :].sum() if new else loss.new_zeros(()))
    return torch.stack(found).cpu()


def repeated(said: Sequence[Sequence[int]]) -> Int[Tensor, "n_texts 2"]:
    """For each continuation: runs of ``GRAM`` tokens that it had said before, and all its runs."""
    counts = []
    for tokens in said:
        runs = [tuple(tokens[i : i + GRAM]) for i in range(len(tokens) - GRAM + 1)]
        counts.append([len(runs) - len(set(runs)), len(runs)])
    return torch.tensor(counts).reshape(-1, 2)
