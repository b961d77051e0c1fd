"""A causal ``transformers`` model on this machine, with its chat template or, without one, as plain text to go on with.

Answers are the most likely ones (temperature 0) or drawn: noise of each prompt's own seed is added to the logits
(Gumbel-max), so that what is drawn does not depend on which prompts share a batch, up to rounding.

Where the schema asks for one string, the answer's beginning (``{"name": "``) is given, and its end is the closing
quote: so a base model answers in the form that was asked for, too.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.interpret.chat import Answer, Prompt, Unanswered
from monoscope.models import LanguageModel, load_model

BATCH = 8


def reach(model: str | LanguageModel, *, batch: int = BATCH, device: str = "cpu") -> Local:
    """Load a model, or take a loaded one.

    Args:
        model: a packaged model, a folder, a Hugging Face id.
        batch: prompts that are answered together.
        device: where it runs.

    Raises:
        MonoscopeError: there is no such model, it predicts no tokens, or ``batch`` is below 1.
    """
    if batch < 1:
        raise MonoscopeError("a batch must hold a prompt", fix="give a number from 1")
    lm = model if isinstance(model, LanguageModel) else load_model(model, device=device)
    if not lm.has_head:
        raise MonoscopeError(f"{lm.name} predicts no tokens, so it cannot answer", fix="name a causal language model")
    return Local(lm, batch)


class Local:
    """A ``Sender`` of whole batches, one at a time."""

    workers = 1

    def __init__(self, lm: LanguageModel, batch: int) -> None:
        self.at_once = batch
        self._lm = lm
        self._fast = lm.tokeniser.fast
        self._ends = _ends(lm)
        here = lm.name.startswith("/")  # a folder's name alone does not say which weights it holds
        self.name = f"{lm.name.rsplit('/', 1)[-1]}@{lm.fingerprint[:8]}" if here else lm.name

    def tokens(self, prompt: Prompt) -> int:
        """The prompt's tokens, template included."""
        return len(self._ids(prompt))

    def most(self, prompt: Prompt) -> int:
        """The same: they are known."""
        return self.tokens(prompt)

    def send(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """Answer a batch; a prompt that the model cannot read whole is a failure, the others are answered.

        Raises:
            Unanswered: the device ran out of memory.
        """
        ids = [self._ids(prompt) for prompt in prompts]
        room = [self._lm.context - len(i) - p.max_tokens for i, p in zip(ids, prompts, strict=True)]
        fit = [i for i, left in enumerate(room) if left >= 0]
        done = {i: self._too_long(ids[i], prompts[i]) for i, left in enumerate(room) if left < 0}
        if fit:
            try:
                answers = self._generate([ids[i] for i in fit], [prompts[i] for i in fit])
            except torch.OutOfMemoryError as error:
                raise Unanswered(
                    "the device has too little memory for a batch: give a smaller --concurrency"
                ) from error
            done |= dict(zip(fit, answers, strict=True))
        return [done[i] for i in range(len(prompts))]

    def close(self) -> None:
        """Nothing is open."""

    def _too_long(self, ids: list[int], prompt: Prompt) -> Answer:
        why = f"the prompt's {len(ids)} tokens and an answer of {prompt.max_tokens} do not fit into {self._lm.context}"
        return Answer("", failure=why)

    def _ids(self, prompt: Prompt) -> list[int]:
        begun = _beginning(prompt)
        turns = [{"role": m.role, "content": m.content} for m in prompt.messages]
        if self._fast.chat_template is None:
            text = "\n\n".join(turn["content"] for turn in turns) + f"\n\n{begun}"
            return [*self._lm.tokeniser.prefix, *self._encode(text)]
        try:
            text = self._fast.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        except Exception:  # templates raise what they like where they know no system role: it becomes the user's
            merged = "\n\n".join(turn["content"] for turn in turns)
            turns = [{"role": "user", "content": merged}]
            text = self._fast.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        return self._encode(text + begun)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._fast(text, add_special_tokens=False)["input_ids"]
        return ids

    def _generate(self, ids: list[list[int]], prompts: Sequence[Prompt]) -> list[Answer]:
        width = max(map(len, ids))
        padding = self._lm.tokeniser.padding
        tokens = torch.tensor([[padding] * (width - len(i)) + i for i in ids], device=self._lm.device)
        mask = torch.tensor([[0] * (width - len(i)) + [1] * len(i) for i in ids], device=self._lm.device)
        stopping = _Stop(self, prompts, width)
        with torch.inference_mode():
            out = self._lm.model.generate(
                input_ids=tokens, attention_mask=mask, max_new_tokens=max(p.max_tokens for p in prompts),
                do_sample=False, num_beams=1, pad_token_id=padding, eos_token_id=None,
                logits_processor=[_Draw(prompts, self._lm.device)], stopping_criteria=[stopping],
            )  # fmt: skip
        answered = out[:, width:].tolist()
        return [self._answer(prompt, len(own), said) for prompt, own, said in zip(prompts, ids, answered, strict=True)]

    def _answer(self, prompt: Prompt, prompt_tokens: int, said: list[int]) -> Answer:
        """What a row says up to its end."""
        for n in range(1, min(len(said), prompt.max_tokens) + 1):
            if self.is_over(prompt, said[:n]):
                return Answer(self._text(prompt, said[:n]), prompt_tokens, n)
        n = min(len(said), prompt.max_tokens)
        return Answer(self._text(prompt, said[:n]), prompt_tokens, n, truncated=True)

    def is_over(self, prompt: Prompt, said: list[int]) -> bool:
        """Whether an answer is complete: a token that ends texts, or the quote that ends the one string asked for."""
        if said[-1] in self._ends:
            return True
        return bool(_beginning(prompt)) and _closing(self._fast.decode(said)) is not None

    def _text(self, prompt: Prompt, said: list[int]) -> str:
        text: str = self._fast.decode([t for t in said if t not in self._ends])
        begun = _beginning(prompt)
        if not begun:
            return text
        end = _closing(text)
        return f"{begun}{text}" if end is None else f'{begun}{text[:end]}"}}'


class _Draw:
    """Adds Gumbel noise to the logits of prompts with a temperature: the largest is then a draw from the softmax."""

    def __init__(self, prompts: Sequence[Prompt], device: torch.device) -> None:
        self._temperatures = [prompt.temperature for prompt in prompts]
        self._generators = [torch.Generator().manual_seed(prompt.seed) for prompt in prompts]
        self._device = device

    def __call__(self, input_ids: Int[Tensor, "n t"], scores: Float[Tensor, "n v"]) -> Float[Tensor, "n v"]:
        out = scores.float().clone()
        for row, (temperature, generator) in enumerate(zip(self._temperatures, self._generators, strict=True)):
            if temperature > 0:
                uniform = torch.rand(out.shape[1], generator=generator, dtype=torch.float64).clamp_min(1e-300)
                gumbel = -torch.log((-torch.log(uniform)).clamp_min(1e-300))
                out[row] = out[row] / temperature + gumbel.to(out.dtype).to(self._device)
        return out


class _Stop:
    """Ends a row when its answer is complete."""

    def __init__(self, local: Local, prompts: Sequence[Prompt], width: int) -> None:
        self._local, self._prompts, self._width = local, prompts, width
        self._done = [False] * len(prompts)

    def __call__(self, input_ids: Int[Tensor, "n t"], scores: Any, **_: Any) -> Bool[Tensor, " n"]:
        for row, said in enumerate(input_ids[:, self._width :].tolist()):
            prompt = self._prompts[row]
            self._done[row] |= len(said) >= prompt.max_tokens or self._local.is_over(prompt, said)
        return torch.tensor(self._done, device=input_ids.device)


def _ends(lm: LanguageModel) -> frozenset[int]:
    """The tokens that end an answer."""
    config = getattr(lm.model, "generation_config", None)
    named = [lm.tokeniser.fast.eos_token_id, getattr(config, "eos_token_id", None), lm.model.config.eos_token_id]
    listed = (n if isinstance(n, list) else [n] for n in named if n is not None)
    return frozenset(t for several in listed for t in several)


def _beginning(prompt: Prompt) -> str:
    """How the answer to a schema of one string begins; "" for any other."""
    schema = prompt.schema or {}
    properties = schema.get("properties", {})
    if schema.get("type") != "object" or len(properties) != 1:
        return ""
    ((name, kind),) = properties.items()
    return json.dumps({name: ""})[:-2] if kind.get("type") == "string" else ""


def _closing(text: str) -> int | None:
    """Where an open JSON string ends: its first quote that no backslash escapes."""
    i = 0
    while i < len(text):
        if text[i] == "\\":
            i += 1
        elif text[i] == '"':
            return i
        i += 1
    return None
