"""Tiny random models of several kinds, an engine to ask, and what ``generate`` says."""

from __future__ import annotations

import functools
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from torch import Tensor

from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.intervene.edit import Edit
from monoscope.models import LanguageModel, load_model
from monoscope.models.sites import sites_of
from monoscope.serve.engine import Engine
from monoscope.serve.wanted import Piece, Said, Wanted
from monoscope.signals.direction import Direction
from monoscope.text.tokenise import Tokeniser
from monoscope.watch.acting import Acting
from monoscope.watch.live import Watching
from monoscope.watch.recorder import Recorder
from monoscope.watch.rules import Condition, Rule, Rules, Signal

VOCABULARY = 4096  # that of the packaged models, whose tokeniser these use
COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 64, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
CONFIGS: dict[str, Any] = {
    "gpt2": lambda: hf.GPT2Config(
        vocab_size=VOCABULARY, n_embd=16, n_layer=2, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0
    ),
    "llama": lambda: hf.LlamaConfig(**COMMON),
    "neox": lambda: hf.GPTNeoXConfig(**COMMON),
    "mistral": lambda: hf.MistralConfig(**COMMON, num_key_value_heads=1, sliding_window=6),
    "gemma2": lambda: hf.Gemma2Config(**COMMON, num_key_value_heads=1, head_dim=8, sliding_window=6),
    "qwen2": lambda: hf.Qwen2Config(**COMMON, num_key_value_heads=1),
}
TOLERANCE = 1e-4  # of logits that differ only by what shares the batch


@functools.cache
def reference() -> LanguageModel:
    return load_model("reference-a")


@functools.cache
def random_model(family: str) -> LanguageModel:
    torch.manual_seed(1)
    made = hf.AutoModelForCausalLM.from_config(CONFIGS[family]())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    made.generation_config.pad_token_id, made.generation_config.eos_token_id = 0, 0
    fast = reference().tokeniser.fast
    return LanguageModel(made.eval().requires_grad_(False), Tokeniser(fast, "random"), name=f"random-{family}")


def prompts(n: int, longest: int = 12, seed: int = 0) -> list[tuple[int, ...]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, longest + 1, (n,), generator=generator).tolist()
    return [tuple(torch.randint(1, VOCABULARY, (k,), generator=generator).tolist()) for k in lengths]


class Heard:
    """What an engine told of one request."""

    def __init__(self, wanted: Wanted) -> None:
        self.wanted, self.pieces, self.over = wanted, list[Piece](), threading.Event()
        self._left = wanted.choices

    def __call__(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self._left -= piece.finish is not None
        if not self._left:
            self.over.set()

    def wait(self) -> Heard:
        assert self.over.wait(30), "the engine tells nothing"
        return self

    def said(self, choice: int = 0) -> list[Said]:
        return [s for p in self.pieces if p.choice == choice for s in p.said]

    def tokens(self, choice: int = 0) -> list[int]:
        return [s.token for s in self.said(choice)]

    def text(self, choice: int = 0) -> str:
        return "".join(s.text for s in self.said(choice))

    def finish(self, choice: int = 0) -> str | None:
        (found,) = [p.finish for p in self.pieces if p.choice == choice and p.finish]
        return found


def ask(engine: Engine, *wanted: Wanted) -> list[Heard]:
    """Submit all, then wait for all."""
    heard = [Heard(w) for w in wanted]
    for one in heard:
        engine.submit(one.wanted, one)
    return [one.wait() for one in heard]


def generated(lm: LanguageModel, tokens: Sequence[int], most: int) -> tuple[list[int], list[Tensor]]:
    """Greedy ``generate`` alone: its new tokens, the end left out, and the logits that each was chosen from."""
    given = torch.tensor([list(tokens)])
    with torch.no_grad():
        out = lm.model.generate(
            given, attention_mask=torch.ones_like(given), max_new_tokens=most, do_sample=False, pad_token_id=0,
            return_dict_in_generate=True, output_logits=True,
        )  # fmt: skip
    new = out.sequences[0, len(tokens) :].tolist()
    return (new[:-1] if new and new[-1] == 0 else new), [row[0].float() for row in out.logits]


def agree(said: list[int], wanted: list[int], logits: list[Tensor]) -> bool:
    """Whether two greedy continuations are the same up to where the two likeliest tokens are as good as one."""
    for i, (a, b) in enumerate(zip(said, wanted, strict=False)):
        if a != b:
            top = logits[i].topk(2).values
            return bool(top[0] - top[1] <= TOLERANCE)
    return len(said) == len(wanted)


SITE, WIDTH, FEATURES = "mlp_act.0", 512, 64


def dictionary(name: str = "topk", seed: int = 0) -> Dictionary:
    """A random dictionary of reference A's neurons."""
    made = architecture(name)(WIDTH, FEATURES, **({"k": 12} if "k" in architecture(name).settings else {}))
    generator = torch.Generator().manual_seed(seed)
    for tensor in made.requires_grad_(False).state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) / 16)
    made.provenance = {"site": SITE}
    return made


def saved(path: Path, made: Dictionary) -> str:
    io.save(made, path)
    return str(path)


def edit(where: str, feature: int, operation: str, dose: float | None, **more: Any) -> Edit:
    return Edit(operation, Direction(where, feature), dose, **more)


def some_rules(folder: Path) -> Rules:
    """Two features and a probe, and rules over them that are raised and cleared often."""
    where = saved(folder / "watched", dictionary())
    np.save(folder / "probe.npy", np.linspace(-1, 1, 128).astype(np.float32))
    signals = (
        Signal("three", Direction(where, 3)),
        Signal("five", Direction(where, 5)),
        Signal("probe", Direction(vector=str(folder / "probe.npy")), site="resid_post.0"),
    )
    rules = (
        Rule("three", Condition("three", 0.1)),
        Rule("five", Condition("five", 0.2, 0.1, aggregation="ema", options={"half_life": 2})),
        Rule("probe", Condition("probe", 0.0), keep=2),
    )
    return Rules(signals, rules)


def watching_of(lm: LanguageModel, rules: Rules, recorder: Recorder | None = None) -> Watching:
    """The rules, compiled for a model; an engine holds them."""
    return Watching(lm.model, sites_of(lm.model, lm.name), rules, Acting(rules, {}), ends=(), recorder=recorder)
