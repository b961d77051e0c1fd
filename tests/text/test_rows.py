"""Row numbers: a bijection between 0 … n - 1 and the (document, position) pairs of the chosen documents."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monoscope.errors import MonoscopeError
from monoscope.text.rows import Rows
from monoscope.text.store import TokenStore

ORDER = st.permutations(range(7)).flatmap(lambda p: st.integers(0, 7).map(lambda n: list(p[:n])))


@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(chosen=ORDER)
def test_numbering_agrees_with_counting(text_store: TokenStore, chosen: list[int]) -> None:
    rows = Rows(text_store, chosen)
    pairs = [(d, p) for d in chosen for p in range(text_store.length(d))]
    assert len(rows) == len(pairs)
    if not pairs:
        return
    documents, positions = rows.locate(np.arange(len(rows)))
    assert list(zip(documents.tolist(), positions.tolist())) == pairs
    assert np.array_equal(rows.index(documents, positions), np.arange(len(rows)))
    assert rows.tokens().tolist() == [int(text_store.document(d).tokens[p]) for d, p in pairs]
    assert [chosen[s] for s in rows.slots()] == [d for d, _ in pairs]
    assert rows.in_split("test").tolist() == [text_store.splits[d] == "test" for d, _ in pairs]


def test_a_document_outside_is_refused(text_store: TokenStore) -> None:
    with pytest.raises(MonoscopeError, match="do not cover"):
        Rows(text_store, [1, 2]).index(np.array([3]), np.array([0]))
