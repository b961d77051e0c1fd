from collections import Counter

import numpy as np
import pytest

from monoscope.catalogue.examples import PER_DOCUMENT, REACH, Chooser, _walk
from monoscope.catalogue.statistics import PERCENTILES, ascending, groups


def context(tokens: np.ndarray, offsets: np.ndarray, row: int) -> tuple[int, ...]:
    document = np.searchsorted(offsets, row, side="right") - 1
    span = range(row - REACH, row + REACH + 1)
    return tuple(int(tokens[r]) if offsets[document] <= r < offsets[document + 1] else -1 for r in span)


@pytest.fixture
def text() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 3, 4000).astype(np.uint32)  # few tokens: many contexts occur again
    tokens[1000:1500] = 1
    return tokens, np.array([0, 500, 1000, 1500, 2200, 2210, 3000, 4000])


@pytest.mark.parametrize("n_active", [1, 5, 120, 3500])
def test_examples_belong_to_their_group_and_no_two_are_alike(
    text: tuple[np.ndarray, np.ndarray], n_active: int
) -> None:
    tokens, offsets = text
    rng = np.random.default_rng(n_active)
    rows = np.sort(rng.choice(4000, n_active, replace=False)).astype(np.uint32)
    values = rng.gamma(2, 1, n_active).astype(np.float16)
    order = ascending(values)
    chosen = Chooser(tokens, offsets, seed=0, n_top=15, n_group=4).choose(3, rows, order)
    assert list(chosen) == ["top", *PERCENTILES]
    rank = np.argsort(order)
    for name, entries in chosen.items():
        assert len(entries) <= (15 if name == "top" else 4)
        assert np.all(np.diff(values[entries].astype(float)) <= 0)
        places = rows[entries].astype(int).tolist()
        assert len({context(tokens, offsets, p) for p in places}) == len(places)
        documents = Counter(np.searchsorted(offsets, places, side="right").tolist())
        assert max(documents.values(), default=0) <= PER_DOCUMENT
        if name != "top":
            first, last = groups(n_active)[name]
            assert np.all((rank[entries] >= first) & (rank[entries] < last))
            assert len(entries) >= min(1, last - first)


def test_the_top_is_greedy_in_falling_order(text: tuple[np.ndarray, np.ndarray]) -> None:
    tokens, offsets = text
    rows = np.arange(4000, dtype=np.uint32)
    values = np.random.default_rng(1).permutation(4000).astype(np.float32)
    order = ascending(values)
    chosen = Chooser(tokens, offsets, seed=0).choose(0, rows, order)["top"]
    expected: list[int] = []
    seen: set[tuple[int, ...]] = set()
    documents: Counter[int] = Counter()
    for entry in order[::-1].tolist():
        document = int(np.searchsorted(offsets, entry, side="right"))
        if context(tokens, offsets, entry) not in seen and documents[document] < PER_DOCUMENT and len(expected) < 20:
            expected.append(entry)
            seen.add(context(tokens, offsets, entry))
            documents[document] += 1
    assert chosen.tolist() == expected


def test_the_seed_decides(text: tuple[np.ndarray, np.ndarray]) -> None:
    tokens, offsets = text
    rows = np.arange(0, 4000, 2, dtype=np.uint32)
    order = ascending(np.random.default_rng(2).random(2000).astype(np.float32))
    first, again, other = (Chooser(tokens, offsets, seed=s).choose(5, rows, order) for s in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert np.array_equal(first["top"], other["top"])
    assert not np.array_equal(first["0-25"], other["0-25"])


@pytest.mark.parametrize("length", [1, 2, 3, 10, 97, 1000])
def test_a_walk_visits_every_place_once(length: int) -> None:
    for random in (0, 12345678901234567890, 2**64 - 1):
        start, stride = _walk(random, length)
        assert sorted((start + i * stride) % length for i in range(length)) == list(range(length))
