"""Different surroundings, counted by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.interpret.surroundings import AFTER, BEFORE, distinct, surroundings

TEXTS = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=30), min_size=1, max_size=6)


def by_hand(texts: list[list[int]]) -> list[tuple]:
    """What stands around every token, with None beyond its document."""
    return [
        tuple(text[j] if 0 <= j < len(text) else None for j in range(i - BEFORE, i + AFTER + 1))
        for text in texts
        for i in range(len(text))
    ]


@settings(deadline=None)
@given(TEXTS)
def test_tokens_share_a_number_if_all_around_them_is_the_same(texts):
    documents = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    found, true = surroundings(np.concatenate(texts), documents).tolist(), by_hand(texts)
    pairs = set(zip(found, true, strict=True))
    assert len(pairs) == len(set(found)) == len(set(true))


@settings(deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.integers(0, 19), st.sampled_from([0, 3, 9, 255])), max_size=20), max_size=5),
    st.integers(1, 6),
)
def test_they_are_counted_at_the_threshold_and_up_to_enough(entries, enough):
    around, least = np.arange(20, dtype=np.uint64) % 7, np.arange(len(entries)) * 3 % 10
    offsets = np.concatenate([[0], np.cumsum([len(e) for e in entries])]).astype(np.int64)
    rows = np.array([row for e in entries for row, _ in e], np.int64)
    buckets = np.array([bucket for e in entries for _, bucket in e], np.uint8)
    wanted = [
        min(enough, len({row % 7 for row, bucket in e if least[i] <= bucket != 255})) for i, e in enumerate(entries)
    ]
    assert distinct(around, offsets, rows, buckets, least, enough).tolist() == wanted
