"""Two tiny random models that generate, and dictionaries of their residual streams."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import transformers as hf
from torch import Tensor

from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.intervene.edit import Direction, Edit

D, FEATURES, VOCABULARY, SITE = 16, 24, 60, "resid_post.0"
CONFIGS: dict[str, Any] = {
    "gpt2": lambda: hf.GPT2Config(
        vocab_size=VOCABULARY, n_embd=D, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0
    ),
    "llama": lambda: hf.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=D, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=32,
    ),
}  # fmt: skip


def model(family: str = "gpt2") -> Any:
    """A random model; shared between tests, which leave it as it is."""
    return _model(family)


@functools.cache
def _model(family: str) -> Any:
    torch.manual_seed(1)
    made = hf.AutoModelForCausalLM.from_config(CONFIGS[family]())
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    made.generation_config.pad_token_id, made.generation_config.eos_token_id = 0, None
    return made.eval().requires_grad_(False)


def tokens(n: int = 3, length: int = 10, seed: int = 0) -> Tensor:
    return torch.randint(1, VOCABULARY, (n, length), generator=torch.Generator().manual_seed(seed))


def dictionary(name: str = "l1", seed: int = 0, n_features: int = FEATURES, **options: Any) -> Dictionary:
    """A random dictionary of the residual stream whose features fire on many tokens."""
    if "k" in architecture(name).settings:
        options.setdefault("k", 4)
    made = architecture(name)(D, n_features, **options).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for tensor in made.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) / 4)
    for buffer in made.buffers():
        buffer.abs_()
    made.provenance = {"site": SITE}
    return made


def saved(path: Path, made: Dictionary) -> str:
    io.save(made, path)
    return str(path)


def edit(where: str, feature: int = 3, operation: str = "clamp", dose: float | None = 2.0, **more: Any) -> Edit:
    of = {name: more.pop(name) for name in ("max", "sha256") if name in more}
    return Edit(operation, Direction(where, feature, **of), dose, **more)
