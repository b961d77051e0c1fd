"""Two tokenisers of opposite kinds, trained on the spot: a byte-level BPE with BOS, a WordPiece with CLS and SEP."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from monoscope.text import store
from monoscope.text.store import TokenStore
from monoscope.text.tokenise import Tokeniser
from monoscope.types import Document

SAMPLE = [
    "def compute(values):\n    return [value + 1 for value in values]\n" * 4,
    "The quick brown fox jumps over the lazy dog. The dog sleeps; the fox does not.\n" * 4,
    "naïve café – Ελληνικά и українська 漢字 🙂\n" * 3,
]


def byte_level_bpe() -> Tokeniser:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(SAMPLE, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|endoftext|>", eos_token="<|endoftext|>")
    return Tokeniser(fast, "byte-level BPE")


def word_pieces() -> Tokeniser:
    backend = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    backend.normalizer = normalizers.BertNormalizer()
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False
    )
    backend.train_from_iterator(SAMPLE, trainer)
    backend.enable_truncation(8)  # as many published tokenizer files do
    backend.enable_padding(length=8)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=backend, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]"
    )
    return Tokeniser(fast, "WordPiece")


@pytest.fixture(scope="session")
def bpe() -> Tokeniser:
    return byte_level_bpe()


@pytest.fixture(scope="session")
def wordpiece() -> Tokeniser:
    return word_pieces()


@pytest.fixture(scope="session", params=["bpe", "wordpiece"])
def tokeniser(request: pytest.FixtureRequest) -> Tokeniser:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="session")
def text_store(bpe: Tokeniser, tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    """Seven documents of very different lengths in three splits."""
    lengths = [1, 40, 7, 8, 9, 200, 3]
    documents = [Document(f"d{i}", "fox and dog é🙂 " * n) for i, n in enumerate(lengths)]
    splits = ["fit", "test", "fit", "dictionary", "test", "fit", "test"]
    return store.build(zip(splits, documents, strict=True), bpe, tmp_path_factory.mktemp("store") / "text")
