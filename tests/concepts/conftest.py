"""A small tokeniser for concepts: words with the space before them, marks alone, and bytes beyond ASCII one by one."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from monoscope.types import TokenisedDocument

_TOKEN = re.compile(rb" ?[A-Za-z]+| ?[0-9]+|[\x80-\xff]| ?[^\sA-Za-z0-9\x80-\xff]|\n *|\s")


def cut(text: str) -> TokenisedDocument:
    spans = [m.span() for m in _TOKEN.finditer(text.encode())]
    starts, ends = np.array(spans, dtype=np.int64).reshape(-1, 2).T
    return TokenisedDocument("snippet", text, np.arange(len(spans)), starts.copy(), ends.copy())


@pytest.fixture
def tokenised() -> Callable[[str], TokenisedDocument]:
    return cut


@pytest.fixture
def marked() -> Callable[[str, str], list[str]]:
    """The tokens of a text on which an expression holds, in order."""
    from monoscope.concepts import concept

    def find(expression: str, text: str) -> list[str]:
        document = cut(text)
        mask = concept(expression).mask(document)
        return [t.decode(errors="backslashreplace") for t, m in zip(document.token_bytes(), mask, strict=True) if m]

    return find
