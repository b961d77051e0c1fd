"""Searching by direction, token, text and concept, against brute force."""

from __future__ import annotations

import shutil
import sqlite3
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from catalogue_world import FEATURES, dictionary, language_model, store
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file
from searched import age, label

from monoscope.app.at_hand import pull_of
from monoscope.app.reading import Reader
from monoscope.catalogue import schema
from monoscope.catalogue.build import build
from monoscope.catalogue.nearest import BLOCK, Nearest, rounded, write
from monoscope.catalogue.searches.text import PRIOR, departure, departures
from monoscope.catalogue.searching import AtHand
from monoscope.catalogue.store import Catalogue
from monoscope.concepts import concept
from monoscope.errors import MonoscopeError
from monoscope.text.store import TokenStore

SITE = "mlp_act.0"
model = cache(lambda: language_model(1))
DIRECTIONS = dictionary().directions.numpy()


@cache
def read(catalogue: Catalogue, text: str) -> list[dict]:
    return Reader(model(), SITE, dictionary(), catalogue).read(text)["tokens"]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    run = tmp_path_factory.mktemp("ways")
    lm, made = model(), dictionary()
    found = build(run, lm, SITE, made, store(run / "text"), effects=0)
    rng = np.random.default_rng(0)
    found.write_labels(label(i, f"label {i}", float(rng.random())) for i in range(0, FEATURES, 2))
    reader = Reader(lm, SITE, made, found)
    found.at_hand = AtHand(reader.codes, lambda token: pull_of(lm, SITE, token))
    return found


def brute(scores: np.ndarray, asked: np.ndarray, limit: int) -> list[int]:
    """The best by sorting everything; a score that is NaN is not found."""
    ids = [i for i in range(len(scores)) if asked[i] and not np.isnan(scores[i])]
    return sorted(ids, key=lambda i: (-scores[i], i))[:limit]


def cosines(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    rows, query = rows.astype(np.float64), query.astype(np.float64)
    norms = np.sqrt((rows**2).sum(1)) * np.sqrt((query**2).sum())
    return (rows * query).sum(1) / np.where(norms > 0, norms, 1)


@settings(max_examples=60, deadline=None)
@given(
    n=st.integers(1, 4 * BLOCK),
    d=st.integers(1, 40),
    spread=st.sampled_from([0.0, 1e-3, 1.0]),
    limit=st.sampled_from([1, 7, 300, 5000]),
    share=st.sampled_from([None, 0.0, 0.02, 0.6]),
    lengths=st.booleans(),
    seed=st.integers(0, 99),
)
def test_the_scan_loses_nothing(
    n: int, d: int, spread: float, limit: int, share: float | None, lengths: bool, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=d) + spread * rng.normal(size=(n, d))).astype(np.float32)
    rows *= rng.choice([0.0, 1e-3, 1.0, 50.0], size=(n, 1)).astype(np.float32)
    rows[rng.random(n) < 0.1] = rows[0]  # ties
    kept = None if share is None else rng.random(n) < share
    query = rng.normal(size=d)
    scores = cosines(rows, query)
    if lengths:
        scores = (rows.astype(np.float64) * query).sum(1)
    found = Nearest.of(rows).best(query, limit, kept, lengths=lengths)
    expected = np.sort(scores[np.ones(n, bool) if kept is None else kept])[::-1][:limit]
    tolerance = 1e-12 * max(1.0, float(np.abs(scores).max()))
    np.testing.assert_allclose(found.scores, expected, atol=tolerance, rtol=0)
    np.testing.assert_allclose(scores[found.ids], found.scores, atol=tolerance, rtol=0)
    assert len(set(found.ids.tolist())) == len(found.ids) and (kept is None or kept[found.ids].all())
    for a, b in zip(range(len(found.ids) - 1), range(1, len(found.ids)), strict=True):
        assert found.scores[a] > found.scores[b] or found.ids[a] < found.ids[b]


@given(st.integers(0, 999))
@settings(max_examples=30, deadline=None)
def test_rounding_says_how_far_off_it_is(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = (rng.normal(size=(20, 9)) ** 3 * 10.0 ** rng.integers(-15, 15, (20, 1))).astype(np.float32)
    rows[3] = 0
    made = rounded(rows)
    wide = rows.astype(np.float64)
    unit = wide / np.where((wide != 0).any(1), np.sqrt((wide**2).sum(1)), 1)[:, None]
    off = np.sqrt(((unit - made.units * made.scale.astype(np.float64)[:, None]) ** 2).sum(1))
    assert (off <= made.slack).all() and made.slack.max() < 0.02
    assert not made.units[3].any() and made.length[3] == 0


def test_rows_are_written_and_opened(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(700, 11)).astype(np.float32)
    write(lambda a, b: rows[a:b], 700, tmp_path / "rows", {"key": "test"})
    opened, query = Nearest.open(tmp_path / "rows"), np.arange(11.0)
    np.testing.assert_array_equal(opened.rows, rows)
    assert opened.best(query, 30)[0].tolist() == Nearest.of(rows).best(query, 30)[0].tolist()
    (tmp_path / "rows" / "units.i8").write_bytes(b"")
    with pytest.raises(MonoscopeError, match="0 bytes long"):
        Nearest.open(tmp_path / "rows")


def asked(catalogue: Catalogue, filters: dict) -> np.ndarray:
    low, high = filters.get("density", (0, 1))
    density, f1 = catalogue.features["density"], np.nan_to_num(catalogue.features["label_f1"], nan=-1)
    return (density >= low) & (density <= high) & (f1 >= filters.get("f1", (-1, 1))[0])


FILTERS = st.fixed_dictionaries(
    {},
    optional={"density": st.sampled_from([(0.0, 0.1), (0.05, 1)]), "f1": st.sampled_from([(0.0, 1), (0.5, 1)])},
)
LIMITS = st.sampled_from([1, 4, 100])


@settings(max_examples=40, deadline=None)
@given(feature=st.integers(0, FEATURES - 1), filters=FILTERS, limit=LIMITS)
def test_by_feature(catalogue: Catalogue, feature: int, filters: dict, limit: int) -> None:
    others = asked(catalogue, filters)
    others[feature] = False
    expected = brute(cosines(DIRECTIONS, DIRECTIONS[feature]), others, limit)
    for what in (feature, f" #{feature} "):
        assert [hit.id for hit in catalogue.find(what, "feature", limit=limit, **filters)] == expected
    if not filters:
        stored = [i for i, _ in catalogue[feature].neighbours]
        assert [hit.id for hit in catalogue.find(feature, "feature", limit=len(stored))] == stored


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), filters=FILTERS, limit=LIMITS)
def test_by_vector(catalogue: Catalogue, seed: int, filters: dict, limit: int) -> None:
    vector = np.random.default_rng(seed).normal(size=20)
    expected = brute(cosines(DIRECTIONS, vector), asked(catalogue, filters), limit)
    for what in (vector, vector[None], torch.from_numpy(vector), vector.tolist(), 1e300 * vector):
        hits = catalogue.find(what, "vector", limit=limit, **filters)
        assert [hit.id for hit in hits] == expected or isinstance(what, torch.Tensor)
    assert [hit.id for hit in hits] == expected


def test_vectors_are_read_from_files(catalogue: Catalogue, tmp_path: Path) -> None:
    vector = np.random.default_rng(0).normal(size=20).astype(np.float32)
    expected = [hit.id for hit in catalogue.find(vector, "vector")]
    np.save(tmp_path / "v.npy", vector)
    save_file({"v": vector}, tmp_path / "one.safetensors")
    save_file({"v": vector, "w": -vector}, tmp_path / "two.safetensors")
    for name in ("v.npy", "one.safetensors", "one.safetensors:v", "two.safetensors:v"):
        assert [hit.id for hit in catalogue.find(str(tmp_path / name), "vector")] == expected
    np.savez(tmp_path / "v.npz", v=vector)
    np.save(tmp_path / "object.npy", np.array([{}], object))
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors")
    for name, message in (
        ("none.npy", "cannot be read as a vector"),
        ("none.safetensors", "cannot be read as a vector"),
        ("bad.safetensors", "cannot be read as a vector"),
        ("object.npy", "cannot be read as a vector"),
        ("v.npz", "several arrays"),
        ("two.safetensors", "no single vector"),
        ("two.safetensors:x", "holds no 'x'"),
    ):
        with pytest.raises(MonoscopeError, match=message):
            catalogue.find(str(tmp_path / name), "vector")


@settings(max_examples=30, deadline=None)
@given(token=st.sampled_from(list("abcdefg= \n(")), filters=FILTERS, limit=LIMITS)
def test_by_promoted_token(catalogue: Catalogue, token: str, filters: dict, limit: int) -> None:
    lm = model()
    into, out = lm.to_residual(SITE).double(), lm.unembedding().double()
    logits = dictionary().directions.double() @ into @ (out - out.mean(1, keepdim=True))
    column = int(lm.tokeniser.text(token).tokens[0])
    scores = logits[:, column].numpy()
    hits = catalogue.find(token, "promoted", limit=limit, **filters)
    expected = brute(scores, asked(catalogue, filters), limit)
    assert [hit.id for hit in hits] == expected
    assert [hit.score for hit in hits] == pytest.approx(scores[expected].tolist(), rel=1e-4, abs=1e-4)


def test_without_the_model_promoted_tokens_are_those_of_the_lists(catalogue: Catalogue) -> None:
    alone = Catalogue(catalogue.run)
    token = alone[5].promoted[0].text
    listed = {i: w.weight for i in range(FEATURES) for w in alone[i].promoted if w.text == token}
    hits = alone.find(token, "promoted", limit=FEATURES)
    assert [hit.id for hit in hits] == sorted(listed, key=lambda i: (-listed[i], i)) and 5 in listed
    assert [hit.score for hit in hits] == sorted(listed.values(), reverse=True)
    assert alone.find('no"such', "promoted") == []


@settings(max_examples=20, deadline=None)
@given(
    expression=st.sampled_from(["suffix('o')", "token('x') | token('=')", "~suffix('o') & prefix('p')", "token('§')"]),
    filters=FILTERS,
    limit=LIMITS,
)
def test_by_concept(catalogue: Catalogue, expression: str, filters: dict, limit: int) -> None:
    find = concept(expression)
    mask = np.concatenate([find.mask(catalogue.store.document(d)) for d in catalogue.rows.documents.tolist()])
    scores = np.full(FEATURES, np.nan)
    for feature in range(FEATURES):
        values = catalogue.index.dense(feature, 0, len(mask)).astype(np.float64)
        for t in range(10):
            on = values > t / 10 * values.max()
            if (on & mask).any():
                f1 = 2 * (on & mask).sum() / (on.sum() + mask.sum())
                scores[feature] = np.nanmax([scores[feature], f1])
    hits = catalogue.find(expression, "concept", limit=limit, **filters)
    expected = brute(scores, asked(catalogue, filters), limit)
    assert [hit.id for hit in hits] == expected
    assert [hit.score for hit in hits] == pytest.approx(scores[expected].tolist())


def test_a_departure_is_the_likelihood_ratio_test() -> None:
    count, n, rate = np.array([0, 1, 3, 8, 8]), 8, np.array([0.2, 0.01, 0.375, 0.5, 1e-6])
    p = count / n

    def likelihood(q: np.ndarray) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(count, count * np.log(q), 0) + np.where(n - count, (n - count) * np.log1p(-q), 0)

    ratio = 2 * (likelihood(p) - likelihood(rate))
    expected = np.sign(p - rate) * np.sqrt(np.maximum(ratio, 0))
    np.testing.assert_allclose(departure(count, n, rate), expected, atol=1e-7)
    assert departure(count, n, rate)[2] == 0


def test_departures_are_standard_normal_by_chance_and_weigh_texts_alike() -> None:
    rng = np.random.default_rng(0)
    rate = np.full(4000, 0.2)
    drawn = [(rng.binomial(400, 0.2, 4000), 400) for _ in range(3)]
    z = departures(drawn, [], rate, 1e-6)
    z = z[~np.isnan(z)]
    assert 0.45 < len(z) / 4000 < 0.55 and np.mean(z**2) == pytest.approx(1, abs=0.1)
    burst, spread = np.array([9, 3]), np.array([0, 3])
    found = departures([(burst, 20), (spread, 20), (spread, 20)], [], np.array([0.01, 0.01]), 1e-6)
    assert found[1] > found[0]
    none, seen = departures([(burst, 20)], [], np.full(2, 0.01), 1e-6), [(np.array([0, 20]), 20)]
    told = departures([(burst, 20)], seen, np.full(2, 0.01), 1e-6)
    assert told[0] > none[0] and np.isnan(told[1]) and PRIOR < 20


@settings(max_examples=20, deadline=None)
@given(
    positive=st.lists(st.sampled_from(["def f(x):", "import os", "café", "x = {'a': 1}"]), min_size=1, max_size=3),
    negative=st.lists(st.sampled_from(["class A:", "print(i)", ""]), max_size=2),
    filters=FILTERS,
    limit=LIMITS,
)
def test_by_text(catalogue: Catalogue, positive: list[str], negative: list[str], filters: dict, limit: int) -> None:
    def counted(text: str) -> tuple[np.ndarray, int]:
        tokens = read(catalogue, text)
        counts = np.zeros(FEATURES, np.int64)
        for token in tokens:
            for feature in token["features"]:
                counts[feature["id"]] += 1
        return counts, len(tokens)

    token = 1 / len(catalogue.rows)
    density = catalogue.features["density"]
    scores = departures([counted(t) for t in positive], [counted(t) for t in negative], density, token)
    hits = catalogue.find(positive, "text", unlike=negative, limit=limit, **filters)
    assert [hit.id for hit in hits] == brute(scores, asked(catalogue, filters), limit)
    if len(positive) == 1:
        alone = catalogue.find(positive[0], "text", unlike=negative, limit=1, **filters)
        assert [hit.id for hit in alone] == [hit.id for hit in hits[:1]]


def test_what_cannot_be_asked_is_said(catalogue: Catalogue) -> None:
    alone = Catalogue(catalogue.run)
    for found, what, by, message in (
        (catalogue, 48, "feature", "no feature 48"),
        (catalogue, "-1", "feature", "is no feature's number"),
        (catalogue, "9" * 30, "feature", "is no feature's number"),
        (catalogue, [1.0, 2.0], "vector", r"shape \(2,\) among directions of 20"),
        (catalogue, np.zeros(20), "vector", "no direction"),
        (catalogue, np.full(20, np.nan), "vector", "no direction"),
        (catalogue, ["a", "b"], "vector", "takes numbers"),
        (catalogue, "", "promoted", "empty text is no token"),
        (catalogue, "two", "promoted", "not one token of tiny, but 3: 't', 'w', 'o'"),
        (catalogue, 3, "promoted", "takes one token's text, not int"),
        (catalogue, "", "text", "a text that is not empty"),
        (catalogue, ["x", 3], "text", "one text or several"),
        (catalogue, None, "text", "one text or several"),
        (catalogue, "\ud800", "text", "not valid Unicode"),
        (alone, "x", "text", "needs the run's model"),
        (catalogue, "no_such_concept", "concept", "unknown concept"),
        (catalogue, "import os", "concept", "no expression"),
    ):
        with pytest.raises(MonoscopeError, match=message):
            found.find(what, by)


def test_a_catalogue_without_directions_uses_the_runs_dictionary(catalogue: Catalogue, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(catalogue.run, run)
    shutil.rmtree(run / "catalogue" / "directions")
    with pytest.raises(MonoscopeError, match="dictionary"):
        Catalogue(run).find(3, "feature")
    dictionary().save(run / "dictionary")
    hits = Catalogue(run).find(3, "feature")
    assert [(hit.id, hit.score) for hit in hits] == [(hit.id, hit.score) for hit in catalogue.find(3, "feature")]


def test_a_build_goes_on_with_a_catalogue_of_version_1(catalogue: Catalogue, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(catalogue.run, run)
    age(run / schema.NAME)
    again = build(run, model(), SITE, dictionary(), TokenStore(run / "text"), effects=0)
    assert again[0].label is not None and schema.version(again.searched) == 2
    with sqlite3.connect(run / schema.NAME) as connection:
        assert schema.version(connection) == 1
    connection.close()
