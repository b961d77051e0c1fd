"""Tiny random models of every family, built on the spot, and what tests ask of them."""

from __future__ import annotations

import functools
from typing import Any

import torch
import transformers as hf
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from monoscope.models.language_model import LanguageModel
from monoscope.text.tokenise import Tokeniser
from monoscope.types import PADDING, TokenBlock

D, MLP, LAYERS, VOCABULARY, CONTEXT = 16, 24, 3, 300, 32

_SHAPE: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": D,
    "intermediate_size": MLP,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 2,
    "max_position_embeddings": CONTEXT,
    "pad_token_id": 0,
}
_GQA = {**_SHAPE, "num_key_value_heads": 1, "head_dim": 8}
_GPT2 = {"vocab_size": VOCABULARY, "n_embd": D, "n_inner": MLP, "n_layer": LAYERS, "n_head": 2, "n_positions": CONTEXT}

# name → (configuration, has resid_mid, has mlp_act)
CONFIGS: dict[str, Any] = {
    "gpt2": lambda: hf.GPT2Config(**_GPT2, activation_function="relu", tie_word_embeddings=False),
    "gpt2-tied-padded": lambda: hf.GPT2Config(**_GPT2, pad_token_id=0),
    "gpt-neo": lambda: hf.GPTNeoConfig(
        vocab_size=VOCABULARY,
        hidden_size=D,
        intermediate_size=MLP,
        num_layers=2,
        num_heads=2,
        attention_types=[[["global", "local"], 1]],
        window_size=8,
        max_position_embeddings=CONTEXT,
    ),
    "neox-parallel": lambda: hf.GPTNeoXConfig(**_SHAPE, use_parallel_residual=True),
    "neox-sequential": lambda: hf.GPTNeoXConfig(**_SHAPE, use_parallel_residual=False),
    "llama": lambda: hf.LlamaConfig(**_GQA),
    "mistral": lambda: hf.MistralConfig(**_GQA, sliding_window=8),
    "qwen2": lambda: hf.Qwen2Config(**_SHAPE, num_key_value_heads=2),
    "qwen3": lambda: hf.Qwen3Config(**_GQA),
    "gemma": lambda: hf.GemmaConfig(**_GQA),
    "gemma2": lambda: hf.Gemma2Config(**_GQA, final_logit_softcapping=2.0, sliding_window=8),
    "gemma3": lambda: hf.Gemma3TextConfig(**_GQA, sliding_window=8),
    "olmo2": lambda: hf.Olmo2Config(**_SHAPE),
    "cohere": lambda: hf.CohereConfig(**_SHAPE),
    "mixtral": lambda: hf.MixtralConfig(**_GQA, num_local_experts=2),
    "phi": lambda: hf.PhiConfig(**_SHAPE),
    "bert": lambda: hf.BertConfig(**_SHAPE),
    "roberta": lambda: hf.RobertaConfig(**{**_SHAPE, "max_position_embeddings": CONTEXT + 1}),
}
ENCODERS = ("bert", "roberta")
PARALLEL = ("neox-parallel", "cohere", "phi")
EXPERTS = ("mixtral",)


def transformer(config: Any, seed: int = 0) -> Any:
    """A random model of this configuration whose biases and gains are random too."""
    torch.manual_seed(seed)
    loader = hf.AutoModel if isinstance(config, hf.BertConfig | hf.RobertaConfig) else hf.AutoModelForCausalLM
    model = loader.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model.eval().requires_grad_(False)


@functools.cache
def tokeniser() -> Tokeniser:
    """A byte-level tokenizer of single bytes."""
    vocabulary = {"<|endoftext|>": 0}
    vocabulary |= {c: i + 1 for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|endoftext|>", model_max_length=CONTEXT
    )
    return Tokeniser(fast, "single bytes")


@functools.cache
def language_model(family: str) -> LanguageModel:
    """The tiny model of a family; shared between tests, which leave it as it is."""
    return LanguageModel(transformer(CONFIGS[family]()), tokeniser(), name=family)


def block(n: int = 3, context: int = 12, padding: int = 0, seed: int = 0) -> TokenBlock:
    """Random tokens; the last window ends in ``padding`` padding tokens."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, VOCABULARY, (n, context), generator=generator)
    documents = torch.zeros_like(tokens)
    if padding:
        tokens[-1, -padding:], documents[-1, -padding:] = 0, PADDING
    return TokenBlock(tokens, documents, torch.arange(context).expand(n, context))


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    """Equal to the rounding of float32 at the size of the numbers."""
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))
