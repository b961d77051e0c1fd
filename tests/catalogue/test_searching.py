"""Searching by words, and filters, against brute force."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from searched import VOCABULARY, Spelled, age, label, make

from monoscope.catalogue import schema
from monoscope.catalogue.explanations import Explanation
from monoscope.catalogue.searches import ways
from monoscope.catalogue.searches import words as by_words
from monoscope.catalogue.searching import Filters, Query
from monoscope.catalogue.store import Catalogue
from monoscope.errors import MonoscopeError

N = 40
RANGES = st.tuples(st.floats(-1, 5), st.floats(-1, 5)).map(lambda pair: (min(pair), max(pair)))
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        **{name: RANGES for name in ("max", "median", "loss_effect", "f1", "f1_low")},
        "density": st.sampled_from([(0.0, 0.1), (0.1, 1.0), (0.05, 0.2)]),
        "kind": st.sampled_from(["", "token", "context", "none"]),
        "living": st.booleans(),
    },
)
QUERIES = st.lists(st.sampled_from([*VOCABULARY, "ca", "do", "fis"]), min_size=1, max_size=3)
HOSTILE = [
    '"', "' OR 1=1 --", "a*b", "NEAR(", "label:x", "{label} : cat", "AND", "OR NOT", "(", "^x", "\0", "a\0b", "%", "🙂",
    "é\ud800", "-", "{}", "cat" * 4000, "cat " * 4000, "(" * 10_000, "=" * 10_000, "🙂 漢字 ﷽", "_", "__ -", "\x1f",
    "cat\n",
]  # fmt: skip


def labelled(run: Path) -> tuple[Catalogue, list[Spelled], dict[int, list[str]]]:
    catalogue, spelled, _ = make(run, N)
    rng = np.random.default_rng(1)
    named = {int(i): rng.choice(VOCABULARY, size=2).tolist() for i in rng.choice(N, 20, replace=False)}
    catalogue.write_labels(
        label(i, " ".join(w), round(float(rng.random()), 2), str(rng.choice(["token", "context"])))
        for i, w in named.items()
    )
    explained = {int(i): rng.choice(VOCABULARY, size=2).tolist() for i in rng.choice(N, 10, replace=False)}
    catalogue.write_explanations(Explanation(i, "someone", w[0], w[1]) for i, w in explained.items())
    return catalogue, spelled, {i: named.get(i, []) + explained.get(i, []) for i in range(N)}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalogue, list[Spelled], dict[int, list[str]]]:
    return labelled(tmp_path_factory.mktemp("searched"))


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalogue, list[Spelled], dict[int, list[str]]]:
    run = tmp_path_factory.mktemp("old")
    catalogue, *rest = labelled(run)
    catalogue.close()
    age(run / schema.NAME)
    return Catalogue(run), *rest


@pytest.fixture
def writable(world: tuple, tmp_path: Path) -> Catalogue:
    shutil.copytree(world[0].run, tmp_path / "run")
    return Catalogue(tmp_path / "run")


def passes(catalogue: Catalogue, filters: dict) -> set[int]:
    """Feature by feature, as the filters' words say."""
    columns, out = catalogue.features, set()
    for i in range(N):
        kind = columns["label_kind"][i]
        if filters.get("kind") and filters["kind"] != (kind or "none"):
            continue
        if filters.get("living") and not columns["density"][i] > 0:
            continue
        ranges = {k: v for k, v in filters.items() if k not in ("kind", "living")}
        values = {k: columns[f"label_{k}" if k.startswith("f1") else k][i] for k in ranges}
        if all(low <= values[k] <= high for k, (low, high) in ranges.items()):
            out.add(i)
    return out


def found(catalogue: Catalogue) -> dict[str, list[tuple[int, float]]]:
    return {q: [(hit.id, hit.score) for hit in catalogue.find(q, limit=N)] for q in VOCABULARY}


def plain(word: str) -> str:
    return word.replace("é", "e")


def by_hand(world: tuple, query: list[str], kept: set[int]) -> list[tuple[int, float]]:
    """Ids and scores of a search by words over kept features."""
    catalogue, spelled, names = world
    low, alive = catalogue.features["label_f1_low"], catalogue.features["n_active"]
    found = []
    for i in kept:
        s = spelled[i]
        everything = names[i] + s.tokens + s.promoted + s.context
        rank = -1
        for step, place in enumerate((names[i], s.tokens, s.promoted, everything)):
            held = {plain(w) for w in place}
            if not {plain(w) for w in query[:-1]} <= held:
                continue
            if plain(query[-1]) in held:
                rank = max(rank, 8 - 2 * step)
            elif any(w.startswith(plain(query[-1])) for w in held):
                rank = max(rank, 7 - 2 * step)
        held = {plain(w) for w in everything}
        some = {plain(w) for w in query[:-1]} & held or any(w.startswith(plain(query[-1])) for w in held)
        if rank < 0 and some:
            rank = 0
        if rank >= 0:
            level = 1001 if np.isnan(low[i]) else 1000 - int(1000 * min(1, max(0, low[i])))
            found.append((i, rank, level + (np.isnan(low[i]) and alive[i] == 0)))
    if any(rank > 0 for _, rank, _ in found):
        found = [hit for hit in found if hit[1] > 0]
    found.sort(key=lambda hit: (-hit[1], hit[2], hit[0]))
    return [(i, rank + min(0.9995, max(0, 1000 - level) / 1000)) for i, rank, level in found]


@settings(max_examples=150, deadline=None)
@given(query=QUERIES, filters=FILTERS, limit=st.sampled_from([1, 3, 100]))
def test_words_and_filters_as_brute_force_finds_them(world: tuple, query: list[str], filters: dict, limit: int) -> None:
    expected = by_hand(world, query, passes(world[0], filters))[:limit]
    hits = world[0].find(" ".join(query), limit=limit, **filters)
    assert [hit.id for hit in hits] == [i for i, _ in expected]
    assert [hit.score for hit in hits] == pytest.approx([score for _, score in expected])
    assert all(a.score >= b.score for a, b in pairwise(hits))


@settings(max_examples=150, deadline=None)
@given(
    query=QUERIES,
    filters=FILTERS,
    limit=st.sampled_from([1, 3, 100]),
    batch=st.integers(1, 6),
    copy=st.sampled_from([0, 0.3, 1, 4]),
)
def test_copying_the_kept_rows_at_any_moment_changes_no_answer(
    world: tuple, query: list[str], filters: dict, limit: int, batch: int, copy: float
) -> None:
    def ask() -> list[tuple[int, float]]:
        return [(hit.id, hit.score) for hit in world[0].find(" ".join(query), limit=limit, **filters)]

    with patch.object(by_words, "BATCH", batch):
        with patch.object(by_words, "COPY", math.inf):
            expected = ask()
        with patch.object(by_words, "COPY", copy):
            assert ask() == expected


def walked(catalogue: Catalogue, kept: np.ndarray, copy: float) -> list[int]:
    """The rows that a search for a common word looks at, one at a time."""
    seen, fetch = [], by_words._rows

    def noted(*asked: Any) -> Iterator[np.ndarray]:
        for rows in fetch(*asked):
            seen.extend(rows.tolist())
            yield rows

    with patch.multiple(by_words, BATCH=1, COPY=copy, _rows=noted):
        by_words.search(Query("cat", limit=N), catalogue, kept)
    return seen


def test_few_rows_are_walked_where_few_features_pass(world: tuple) -> None:
    kept = np.isin(np.arange(N), [3, 30])
    assert len(walked(world[0], kept, math.inf)) > 20
    assert (
        len(walked(world[0], kept, 1)) <= 3 + 8 * 2
    )  # until the copy is made; then both features, eight times at most


def test_the_walk_skips_levels_that_no_kept_feature_has(world: tuple) -> None:
    kept = Filters(kind="none").kept(world[0].features)
    rows = walked(world[0], kept, math.inf)
    assert rows and kept[np.array(rows) % N].all()


@settings(max_examples=50, deadline=None)
@given(query=QUERIES, filters=FILTERS)
def test_a_catalogue_of_version_1_is_searched_alike(old: tuple, query: list[str], filters: dict) -> None:
    expected = by_hand(old, query, passes(old[0], filters))
    assert [hit.id for hit in old[0].find(" ".join(query), limit=N, **filters)] == [i for i, _ in expected]
    assert schema.version(old[0]._connection) == 1


def test_a_catalogue_of_version_1_becomes_one_of_version_2_when_it_is_written_to(world: tuple, tmp_path: Path) -> None:
    shutil.copytree(world[0].run, tmp_path / "run")
    age(tmp_path / "run" / schema.NAME)
    catalogue = Catalogue(tmp_path / "run")
    before = found(catalogue)
    columns = {name: np.array(catalogue.features[name]) for name in catalogue.features}
    assert all(before.values())
    catalogue.write_labels([])
    assert schema.version(catalogue._connection) == 2
    assert found(catalogue) == before == found(world[0])
    for name, column in columns.items():
        np.testing.assert_array_equal(catalogue.features[name], column)


@settings(max_examples=50, deadline=None)
@given(filters=FILTERS)
def test_filters_alone_list_what_passes_best_tested_first(world: tuple, filters: dict) -> None:
    catalogue = world[0]
    hits = catalogue.find("", limit=N, **filters)
    levels = catalogue.features.levels
    kept = passes(catalogue, filters)
    if Filters.of(filters).kept(catalogue.features) is None:
        kept &= set(np.flatnonzero(levels <= 1000).tolist())
    assert [hit.id for hit in hits] == sorted(kept, key=lambda i: (levels[i], i))
    assert [hit.id for hit in catalogue.find(" ", limit=3, **filters)] == [hit.id for hit in hits[:3]]


def test_the_order_follows_labels_and_explanations(writable: Catalogue) -> None:
    writable.write_labels([label(3, "zebra", 0.5), label(1, "zebra", 0.9), label(2, "zebra", 0.7)])
    assert [hit.id for hit in writable.find("zebra")] == [1, 2, 3]
    writable.write_labels([label(3, "zebra", 1.0)])
    assert [hit.id for hit in writable.find("zebras")] == [3, 1, 2]
    writable.write_explanations([Explanation(7, "someone", "stripes", "zebra"), Explanation(2, "other", "stripes")])
    assert [hit.id for hit in writable.find("stripes")] == [2, 7]
    assert {hit.id for hit in writable.find("zebra stripes")} == {2, 7}
    writable.write_explanations([Explanation(7, "someone", "spots")])
    assert [hit.id for hit in writable.find("spots")] == [7] and [hit.id for hit in writable.find("stripes")] == [2]
    writable.write_labels(
        [label(i, "quagga", 0.9, low=i / 50) for i in range(N)]
    )  # so many that the index is written anew
    assert [hit.id for hit in writable.find("quagga", limit=N)] == list(range(N))[::-1]
    assert writable.find("zebra") == [] and [hit.id for hit in writable.find("spots")] == [7]


def test_signs_are_found_in_labels_first(writable: Catalogue) -> None:
    writable.write_labels([label(4, "`·==` or `->`", 0.3), label(9, "a sign, one of two", 0.9)])
    assert [hit.id for hit in writable.find("==")] == [4] == [hit.id for hit in writable.find("=")]
    assert [hit.id for hit in writable.find("-> ==")] == [4] and writable.find(",") == []


@pytest.mark.parametrize("query", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_queries_are_only_words(world: tuple, old: tuple, query: str) -> None:
    for catalogue in (world[0], old[0]):
        assert len(catalogue.find(query, limit=5, density=(0, 1))) <= 5


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=30))
def test_no_text_is_an_error(world: tuple, query: str) -> None:
    assert len(world[0].find(query, limit=5)) <= 5


def test_what_is_wrong_is_said(world: tuple) -> None:
    catalogue = world[0]
    for arguments, message in (
        ({"by": "wards"}, "unknown way to search 'wards'"),
        ({"dense": (0, 1)}, "unknown filter 'dense'"),
        ({"density": (1, 0)}, "no density lies between 1 and 0"),
        ({"density": (0, float("nan"))}, "no density lies between"),
        ({"density": 0.5}, "filtered by two numbers"),
        ({"kind": "prose"}, "unknown kind of label"),
        ({"density": (None, 1)}, "filtered by two numbers"),
        ({"limit": -1}, "a search for -1 features"),
        ({"limit": 1.5}, "a search for 1.5 features"),
        ({"limit": "a"}, "a search for a features"),
        ({"unlike": "text"}, "takes no texts to tell apart from"),
    ):
        with pytest.raises(MonoscopeError, match=message):
            catalogue.find("cat", **arguments)
    with pytest.raises(MonoscopeError, match="takes words, not int"):
        catalogue.find(3)
    assert "words" in ways()


def test_many_threads_search_while_labels_are_written(writable: Catalogue) -> None:
    def ask(i: int) -> bool:
        hits = writable.find(VOCABULARY[i % len(VOCABULARY)], limit=N, living=bool(i % 2))
        return len({hit.id for hit in hits}) == len(hits) > 0

    with ThreadPoolExecutor(4) as pool:
        writes = [pool.submit(writable.write_labels, [label(i, "owl", 0.5)]) for i in range(6)]
        assert all(pool.map(ask, range(60)))
        assert all(write.result() is None for write in writes)
    assert {hit.id for hit in writable.find("owl", limit=N)} >= set(range(6))
