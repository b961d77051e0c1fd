"""Searching by meaning: with a model of sentences where one is installed, and by geometry without."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from catalogue_world import FEATURES, dictionary, language_model, store
from searched import label

from monoscope.catalogue import sentences
from monoscope.catalogue.build import build
from monoscope.catalogue.explanations import Explanation
from monoscope.catalogue.searches import meaning
from monoscope.catalogue.searching import AtHand
from monoscope.catalogue.store import Catalogue
from monoscope.errors import MonoscopeError

SAYINGS = {3: "names of fruit such as apples", 4: "words for sadness and grief", 5: "a sorting algorithm in Python"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("meaning")
    with build(path, language_model(1), "mlp_act.0", dictionary(), store(path / "text"), effects=0) as made:
        made.write_labels(label(i, words, 0.9 - i / 10) for i, words in SAYINGS.items())
    return path


@pytest.fixture
def catalogue(run: Path, tmp_path: Path) -> Catalogue:
    shutil.copytree(run, tmp_path / "run")
    return Catalogue(tmp_path / "run")


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(sentences.VARIABLE, raising=False)
    monkeypatch.setattr(sentences, "PACKAGES", {})


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv(sentences.VARIABLE, raising=False)
    found = sentences.embedder()
    if found is None:
        pytest.skip("no package with a model of sentences is installed")
    return found


@pytest.mark.parametrize("filters", [{}, {"density": (0.0, 0.1)}, {"f1": (0.0, 1.0)}])
@pytest.mark.parametrize("limit", [1, 5, FEATURES])
def test_words_point_to_others_by_geometry(catalogue: Catalogue, without: None, filters: dict, limit: int) -> None:
    rows = dictionary().directions.double().numpy()
    rows /= np.sqrt((rows**2).sum(1))[:, None]
    quality = {3: 0.5, 4: 0.4, 5: 0.3}  # the lower end of each F1
    seeds = [4, 5]
    expected = np.full(FEATURES, -np.inf)
    for seed in seeds:
        together = dict(catalogue[seed].cofiring)
        for i in range(FEATURES):
            like = max(rows[i] @ rows[seed], together.get(i, 0.0))
            expected[i] = max(expected[i], (1 + quality[seed]) / 2 * like)
    kept = (catalogue.features["density"] >= 0) if "density" not in filters else catalogue.features["density"] <= 0.1
    if "f1" in filters:
        kept = ~np.isnan(catalogue.features["label_f1"])
    order = [i for i in sorted(range(FEATURES), key=lambda i: (-expected[i], i)) if kept[i]][:limit]
    hits = catalogue.find("grief sorting", "meaning", limit=limit, **filters)
    shared = len(hits)  # features that no seed points to among its best are not asked for beyond the limit
    assert [hit.id for hit in hits] == order[:shared] and shared == min(limit, len(order))
    assert [hit.score for hit in hits] == pytest.approx(expected[order].tolist(), abs=1e-5)


def test_words_that_are_nowhere_point_nowhere(catalogue: Catalogue, without: None) -> None:
    assert catalogue.find("xylophone", "meaning") == []
    assert [hit.id for hit in catalogue.find(" ", "meaning")] == [3, 4, 5]


def test_labels_are_found_by_what_they_mean(catalogue: Catalogue, installed: Path) -> None:
    assert catalogue.find("mourning", "meaning", limit=1)[0].id == 4
    assert catalogue.find("bananas and pears", "meaning", limit=1)[0].id == 3
    assert catalogue.find("bananas and pears", "meaning", limit=1, f1=(0.0, 0.45))[0].id == 5
    assert len(catalogue.find("quicksort", "meaning", limit=FEATURES)) == FEATURES
    catalogue.write_explanations([Explanation(7, "someone", "the weather: rain, snow and wind")])
    assert catalogue.find("a storm is coming", "meaning", limit=1)[0].id == 7


def test_vectors_are_kept_and_added_to(catalogue: Catalogue, installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    embed = sentences.embed
    monkeypatch.setattr(sentences, "embed", lambda path, texts: made.extend(texts) or embed(path, texts))
    first = [(hit.id, hit.score) for hit in catalogue.find("mourning", "meaning", limit=FEATURES)]
    different = set(meaning.texts_of(catalogue))
    assert set(made) == different | {"mourning"} and len(made) == len(different) + 1
    made.clear()
    again = Catalogue(catalogue.run)
    assert [(hit.id, hit.score) for hit in again.find("mourning", "meaning", limit=FEATURES)] == first
    assert made == ["mourning"]
    again.write_labels([label(9, "a dog", 0.5)])
    made.clear()
    again.find("pets", "meaning")
    assert sorted(made) == ["a dog", "pets"]
    (catalogue.run / "catalogue" / meaning.KEPT).write_bytes(b"no archive")
    with pytest.raises(MonoscopeError, match="damaged"):
        Catalogue(catalogue.run).find("pets", "meaning")


def test_vectors_are_the_mean_of_the_last_layer(installed: Path) -> None:
    texts = ["one", "a longer sentence, about nothing", "", "x " * 1000]
    together = sentences.embed(installed, texts)
    np.testing.assert_allclose((together**2).sum(1), 1, rtol=1e-5)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(sentences.embed(installed, [text])[0], vector, atol=1e-5)  # padding changes nothing


def test_a_folder_without_a_model_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    catalogue.at_hand = AtHand(embedder=str(tmp_path))
    with pytest.raises(MonoscopeError, match="holds no model"):
        catalogue.find("words", "meaning")
    for name in ("config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    with pytest.raises(MonoscopeError, match="cannot be loaded"):
        catalogue.find("words", "meaning")
