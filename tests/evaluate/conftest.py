"""A tiny text, tokenised byte by byte, and the activations of a tiny model on it."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from evaluate_stand_ins import CONTEXT, TinyModel
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from monoscope.text import pack
from monoscope.text import store as stores
from monoscope.text.tokenise import Tokeniser
from monoscope.types import Document


@pytest.fixture(scope="session")
def tokeniser() -> Tokeniser:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE({"<|endoftext|>": 0, **{c: i + 1 for i, c in enumerate(alphabet)}}, []))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens(["<|endoftext|>"])
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    return Tokeniser(fast, "bytes")


@pytest.fixture(scope="session")
def store(tokeniser: Tokeniser, tmp_path_factory: pytest.TempPathFactory) -> stores.TokenStore:
    rng = random.Random(0)
    letters = "abcdefgh \n"
    texts = ["".join(rng.choices(letters, k=rng.randrange(5, 60))) for _ in range(30)]
    folder: Path = tmp_path_factory.mktemp("store")
    return stores.build((("test", Document(f"d{i}", t)) for i, t in enumerate(texts)), tokeniser, folder)


@pytest.fixture(scope="session")
def lm(tokeniser: Tokeniser) -> TinyModel:
    return TinyModel(tokeniser)


@pytest.fixture(scope="session")
def rows(lm: TinyModel, store: stores.TokenStore) -> Tensor:
    """The site's rows of every text token, computed without the code under test."""
    found = []
    for block in pack.blocks(store, store.documents(), lm.tokeniser, CONTEXT):
        found.append(lm.run(block, read=["mlp_act.0"])["mlp_act.0"][block.documents >= 0])
    return torch.cat(found)
