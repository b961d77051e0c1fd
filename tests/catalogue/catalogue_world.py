"""A tiny world to catalogue: single-byte tokens, a random two-layer GPT-2, a random top-k dictionary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from monoscope.catalogue import index as indices
from monoscope.catalogue.index import FeatureIndex
from monoscope.catalogue.spool import Spool, SpoolWriter
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.models import LanguageModel
from monoscope.text import store as stores
from monoscope.text.store import TokenStore
from monoscope.text.tokenise import Tokeniser
from monoscope.types import Code, Document

VOCABULARY, CONTEXT, D, NEURONS, FEATURES, K = 300, 24, 16, 20, 48, 5
LINES = [
    "import os\n",
    "def f(x):\n    return x == 1\n",
    "café naïve – Ελλ 漢字 🙂\n",
    "class A:\n    pass\n",
    "for i in range(10):\n    print(i)\n",
    "x = {'a': 1, 'b': [2, 3]}\n",
]


def tokeniser() -> Tokeniser:
    vocabulary = {"<|endoftext|>": 0}
    vocabulary |= {c: i + 1 for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    backend = Tokenizer(models.BPE(vocabulary, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    return Tokeniser(fast, "single bytes")


def language_model(layers: int = 2) -> LanguageModel:
    torch.manual_seed(layers)
    config = GPT2Config(
        vocab_size=VOCABULARY, n_embd=D, n_inner=NEURONS, n_layer=layers, n_head=2, n_positions=CONTEXT,
        activation_function="relu", tie_word_embeddings=False,
    )  # fmt: skip
    model = GPT2LMHeadModel(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return LanguageModel(model.eval().requires_grad_(False), tokeniser(), name="tiny")


def dictionary(d: int = NEURONS, seed: int = 0) -> Dictionary:
    torch.manual_seed(seed)
    made = architecture("topk")(d, FEATURES, k=K)
    with torch.no_grad():
        made.w_enc.copy_(torch.randn(FEATURES, d))
        made.w_dec.copy_(torch.randn(FEATURES, d))
        made.b_enc[:3] = -1e6  # dead
    return made


def store(path: Path, n_documents: int = 24) -> TokenStore:
    rng = np.random.default_rng(0)
    made = [
        ("fit" if i % 2 else "test", Document(f"d{i}", "".join(rng.choice(LINES, size=int(rng.integers(1, 6))))))
        for i in range(n_documents)
    ]
    return stores.build([("model", Document("unused", "nothing to see")), *made], tokeniser(), path)


def code(dense: np.ndarray) -> Code:
    return Code.from_dense(torch.from_numpy(dense))


def random_dense(n: int, n_features: int, seed: int, density: float = 0.2) -> np.ndarray:
    """Dense codes whose features have different densities; feature 0 never fires. Half-precision values."""
    rng = np.random.default_rng(seed)
    share = density * rng.uniform(0.1, 2, n_features)
    share[0] = 0
    on = rng.random((n, n_features)) < share
    values = rng.gamma(2.0, 1.0, (n, n_features)).astype(np.float16).astype(np.float32) + np.float32(0.125)
    return np.where(on, values, 0).astype(np.float16).astype(np.float32)


def spooled(dense: np.ndarray, path: Path, block: int = 37) -> Spool:
    with SpoolWriter(path / "spool", dense.shape[1]) as writer:
        for first in range(0, len(dense), block):
            writer.add(code(dense[first : first + block]))
        writer.seal({"key": "test"})
    return Spool(path / "spool")


def indexed(dense: np.ndarray, path: Path) -> tuple[FeatureIndex, Spool]:
    spool = spooled(dense, path)
    return indices.build(spool, path / "index", {"key": "test"}), spool
