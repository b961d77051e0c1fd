"""A tiny random model that generates, dictionaries of its residual stream, and rules over them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers as hf
from torch import Tensor

from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.signals.direction import Direction
from monoscope.watch.rules import Condition, Rule, Rules, Signal

D, FEATURES, VOCABULARY, SITE, END = 16, 24, 60, "resid_post.0", 59


@functools.cache
def model() -> Any:
    """A random model; shared between tests, which leave it as it is."""
    torch.manual_seed(1)
    config = hf.GPT2Config(vocab_size=VOCABULARY, n_embd=D, n_layer=2, n_head=2, n_positions=64)
    made = hf.AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    made.generation_config.pad_token_id, made.generation_config.eos_token_id = 0, END
    return made.eval().requires_grad_(False)


def tokens(n: int = 3, length: int = 10, seed: int = 0) -> Tensor:
    return torch.randint(1, END, (n, length), generator=torch.Generator().manual_seed(seed))


def dictionary(name: str = "l1", seed: int = 0, site: str = SITE, **options: Any) -> Dictionary:
    """A random dictionary whose features fire on many tokens."""
    if "k" in architecture(name).settings:
        options.setdefault("k", 4)
    made = architecture(name)(D, FEATURES, **options).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for tensor in made.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) / 4)
    for buffer in made.buffers():
        buffer.abs_()
    made.provenance = {"site": site}
    return made


def saved(path: Path, made: Dictionary) -> str:
    io.save(made, path)
    return str(path)


def some_rules(folder: Path, name: str = "l1", **more: Any) -> Rules:
    """Two features of one dictionary, one of another, and a probe; a rule over each, and a joint one."""
    one = saved(folder / "one", dictionary(name))
    two = saved(folder / "two", dictionary("batch_topk", 1, "resid_post.1"))
    np.save(folder / "probe.npy", np.linspace(-1, 1, D).astype(np.float32))
    signals = (
        Signal("three", Direction(one, 3)),
        Signal("five", Direction(one, 5)),
        Signal("other", Direction(two, 2)),
        Signal("probe", Direction(vector=str(folder / "probe.npy")), site="resid_mid.1", bias=0.25),
    )
    rules = (
        Rule("three", Condition("three", 0.1)),
        Rule("ema", Condition("five", 0.2, 0.1, aggregation="ema", options={"half_life": 2})),
        Rule("joint", Condition(any=(Condition("other", 0.3), Condition(none=(Condition("probe", -0.5),)))), lasting=2),
        Rule("probe", Condition("probe", 0.5, 0.0), keep=3),
    )
    return Rules(signals, rules, "tiny", **more)
