"""Fast tokenising: in batches, on every core, with the bytes that each token covers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int
from tokenizers import Tokenizer

from monoscope.errors import MonoscopeError
from monoscope.types import Document, TokenisedDocument


def _byte_of() -> dict[str, int]:
    """The byte-level alphabet: printable bytes stand for themselves, the others are shifted past 255."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {chr(b): b for b in printable} | {chr(256 + i): b for i, b in enumerate(others)}


class Tokeniser:
    """Cuts documents into tokens with a ``transformers`` fast tokenizer, and knows what frames a window.

    ``prefix`` and ``suffix`` are the ids that the model expects around a text (BOS; CLS and SEP).
    """

    def __init__(self, fast: Any, name: str) -> None:
        """``fast`` is a ``PreTrainedTokenizerFast``; ``name`` says in messages and manifests whose it is.

        Raises:
            MonoscopeError: the tokenizer is not a fast one, so offsets cannot be had.
        """
        if not getattr(fast, "is_fast", False):
            raise MonoscopeError(f"{name} has no fast tokenizer", fix="save one as tokenizer.json beside the model")
        self.name = name
        self.fast = fast
        self.backend = Tokenizer.from_str(fast.backend_tokenizer.to_str())
        self.backend.no_truncation()  # some tokenizer files cut every text at the length that their model was tuned on
        self.backend.no_padding()
        self.backend.encode_special_tokens = True  # a text that spells "<|endoftext|>" does not end there
        first = fast.cls_token_id if fast.cls_token_id is not None else fast.bos_token_id
        self.prefix: list[int] = [] if first is None else [first]
        self.suffix: list[int] = (
            [fast.sep_token_id] if fast.cls_token_id is not None and fast.sep_token_id is not None else []
        )
        self.padding = next(i for i in (fast.pad_token_id, fast.eos_token_id, 0) if i is not None)
        self.vocabulary_size = len(fast)
        self._lengths = self._byte_lengths()

    def _byte_lengths(self) -> Int[np.ndarray, " vocabulary"] | None:
        """Bytes per token for byte-level vocabularies, where a token's string spells its bytes; else None."""
        pipeline = json.loads(self.backend.to_str())
        parts = str(pipeline.get("pre_tokenizer")) + str(pipeline.get("decoder"))
        if "ByteLevel" not in parts:
            return None
        alphabet, added = _byte_of(), self.backend.get_added_tokens_decoder()
        vocabulary = self.backend.get_vocab(with_added_tokens=True)
        lengths = np.zeros(max(vocabulary.values()) + 1, dtype=np.int64)
        for token, index in vocabulary.items():
            spelt = index not in added and all(c in alphabet for c in token)
            lengths[index] = len(token) if spelt else len(token.encode())
        return lengths

    def documents(self, documents: Sequence[Document]) -> list[TokenisedDocument]:
        """Tokenise documents, in parallel, without special tokens."""
        encoded = self.backend.encode_batch_fast if self._lengths is not None else self.backend.encode_batch
        done = []
        for document, one in zip(
            documents, encoded([d.text for d in documents], add_special_tokens=False), strict=True
        ):
            tokens = np.array(one.ids, dtype=np.int64)
            starts, ends = self._spans(document.text, tokens, one)
            done.append(TokenisedDocument(document.name, document.text, tokens, starts, ends))
        return done

    def text(self, text: str, name: str = "text") -> TokenisedDocument:
        """Tokenise one text."""
        return self.documents([Document(name, text)])[0]

    def _spans(self, text: str, tokens: np.ndarray, encoding: Any) -> tuple[np.ndarray, np.ndarray]:
        if self._lengths is not None:
            ends = np.cumsum(self._lengths[tokens])
            if len(ends) == 0 or ends[-1] == len(text.encode()):
                return np.concatenate([ends[:0], [0], ends[:-1]])[: len(ends)], ends
            encoding = self.backend.encode(text, add_special_tokens=False)  # a normaliser changed the text
        offsets = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
        if text.isascii():
            return offsets[:, 0].copy(), offsets[:, 1].copy()
        bytes_before = np.concatenate([[0], np.cumsum([len(c.encode()) for c in text])])
        return bytes_before[offsets[:, 0]], bytes_before[offsets[:, 1]]


def load(model: str | Path, revision: str = "main") -> Tokeniser:
    """The tokeniser that belongs to a Hugging Face model id, at a revision of its repository, or to a folder.

    Raises:
        MonoscopeError: there is none, or it cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        return Tokeniser(AutoTokenizer.from_pretrained(str(model), revision=revision), str(model))
    except (OSError, ValueError) as error:
        raise MonoscopeError(
            f"no tokenizer can be loaded for {str(model)!r}: {error}",
            fix="name a model folder that holds tokenizer.json",
        ) from error
