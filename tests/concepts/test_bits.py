"""The matrix of bits says what the concepts say."""

from __future__ import annotations

import numpy as np
import pytest

from monoscope.concepts import PLACES, Analysed, compile_bits, every
from monoscope.text.rows import Rows
from monoscope.text.store import TokenStore

TEXTS = ["import os\n\n\ndef f(x):\n    return os.path\n", "Ꭰ plain words\n", "class A:\n    '''Do.'''\n"]


class Store(TokenStore):
    """As much of a token store as rows need, in memory."""

    def __init__(self, documents):
        self._documents = documents
        self.token_offsets = np.concatenate([[0], np.cumsum([len(d) for d in documents])])
        self.splits = ["fit"] * len(documents)

    def __len__(self):
        return len(self._documents)

    def document(self, index):
        return self._documents[index]


@pytest.fixture
def rows(tokenised):
    return Rows(Store([tokenised(t) for t in TEXTS]), [2, 0, 1])


def test_every_bit(rows):
    bits = compile_bits(rows)
    documents = [Analysed(rows.store.document(d)) for d in (2, 0, 1)]
    for c, concept in enumerate(every()):
        expected = np.concatenate([concept.mask(d) for d in documents])
        assert np.array_equal(bits.mask(c), expected), concept
        assert bits.counts[c] == expected.sum()


def test_tokens_and_documents(rows):
    seen = []
    bits = compile_bits(rows, every()[:3], seen.append)
    spelled = [t for d in (2, 0, 1) for t in rows.store.document(d).token_bytes()]
    assert [bits.lexicon[s] for s in bits.spellings] == spelled
    assert bits.places.shape == (len(rows), len(PLACES))
    firsts = rows.offsets[:-1]
    before = [b"" if i in firsts else spelled[i - 1] for i in range(len(rows))]
    assert [bits.lexicon[s] if s >= 0 else b"" for s in bits.places[:, 1]] == before
    assert bits.slots.tolist() == rows.slots().tolist()
    assert sum(seen) == len(rows) == len(bits)
    assert bits.words.shape == (len(rows), 1)
