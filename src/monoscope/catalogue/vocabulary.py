"""Vocabulary entries as shown, apart from any text."""

from __future__ import annotations

from tokenizers import decoders
from transformers.convert_slow_tokenizer import bytes_to_unicode

from monoscope.catalogue.rendering import show
from monoscope.text.tokenise import Tokeniser

BYTE_OF = {character: byte for byte, character in bytes_to_unicode().items()}


class Vocabulary:
    """Token id → text. Byte-level entries are shown as their bytes (hex where they are no whole character), others
    as the vocabulary spells them, with SentencePiece's ``▁`` as a space, and ids that the tokenizer lacks as ``<id>``.
    """  # fmt: skip

    def __init__(self, tokeniser: Tokeniser) -> None:
        self._backend = tokeniser.backend
        self._byte_level = isinstance(tokeniser.backend.decoder, decoders.ByteLevel)
        self._known: dict[int, str] = {}

    def __getitem__(self, token: int) -> str:
        if token not in self._known:
            self._known[token] = self._text(token)
        return self._known[token]

    def spelling(self, token: int) -> bytes | None:
        """The bytes that a token stands for in a text; None for an id that the tokenizer lacks."""
        entry = self._backend.id_to_token(token)
        if entry is None:
            return None
        if self._byte_level and all(c in BYTE_OF for c in entry):
            return bytes(BYTE_OF[c] for c in entry)
        return entry.replace("▁", " ").encode()

    def _text(self, token: int) -> str:
        spelling = self.spelling(token)
        if spelling is None:
            return f"<{token}>"
        return show(spelling) if self._byte_level else spelling.decode()
