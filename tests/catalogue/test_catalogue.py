import dataclasses
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from catalogue_world import FEATURES, dictionary, language_model, store
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monoscope.catalogue.build import build
from monoscope.catalogue.records import Label
from monoscope.catalogue.store import Catalogue, open_catalogue
from monoscope.errors import MonoscopeError

HOSTILE = [
    '"',
    "' OR 1=1 --",
    "a*b",
    "NEAR(",
    "label:x",
    "AND",
    "OR NOT",
    "(",
    "^x",
    "\0",
    "a\0b",
    "%",
    "é\ud800",
    "-",
    "{}",
]


def label(feature: int, words: str, f1: float, kind: str = "context") -> Label:
    return Label(feature, kind, words.replace(" ", "_"), words, 0.1, f1, f1, f1, f1 - 0.1, f1 + 0.1, 0.2, 80, 14)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    text = store(path / "text")
    build(path, language_model(1), "mlp_act.0", dictionary(), text, effects=1).close()
    return path


@pytest.fixture
def catalogue(run: Path, tmp_path: Path) -> Catalogue:
    shutil.copytree(run, tmp_path / "run")
    return open_catalogue(tmp_path / "run")


def test_labels_are_written_replaced_and_searched(catalogue: Catalogue) -> None:
    catalogue.write_labels([label(5, "inside a docstring", 0.9), label(6, "a docstring's end", 0.4, "token")])
    assert catalogue[5].label == label(5, "inside a docstring", 0.9)
    assert catalogue.features["label"][5] == "inside a docstring" and catalogue.features["label_f1"][6] == 0.4
    assert [hit.id for hit in catalogue.search("docstrings inside")] == [5]
    hits = catalogue.search("docstring")
    assert [hit.id for hit in hits] == [5, 6] and hits[0].score > hits[1].score
    catalogue.write_labels([label(5, "a decorator", np.float64(0.7))])
    assert [hit.id for hit in catalogue.search("docstring")] == [6]
    assert [hit.id for hit in catalogue.search("decor")] == [5]  # the beginning of a word is enough
    assert catalogue.overview["labels"] == {"token": 1, "context": 1}


def test_labels_are_all_written_or_none(catalogue: Catalogue) -> None:
    with pytest.raises(MonoscopeError, match="feature 48"):
        catalogue.write_labels([label(1, "good", 0.5), label(48, "no such feature", 0.5)])
    assert catalogue[1].label is None


def test_an_empty_query_lists_the_best_tested_labels(catalogue: Catalogue) -> None:
    assert catalogue.search("") == []
    catalogue.write_labels([label(i, f"label {i}", i / 100) for i in range(20, 40)])
    assert [hit.id for hit in catalogue.search("  ", limit=3)] == [39, 38, 37]


def test_text_and_symbols_are_searched(catalogue: Catalogue) -> None:
    hits = catalogue.search("café")
    assert hits and catalogue.search("cafe")[0].id == hits[0].id
    assert np.isnan(hits[0].label_f1) and hits[0].label == ""
    around = catalogue[hits[0].id].examples["top"][:3]
    texts = ["".join(t.text for t in catalogue.excerpt(e.document, e.position, 10, 10)) for e in around]
    assert any("caf" in text for text in texts)
    for hit in catalogue.search("="):
        record = catalogue[hit.id]
        shown = record.top_tokens_by_mass + record.top_tokens_by_mean + record.promoted
        assert any("=" in token.text for token in shown)


@pytest.mark.parametrize("query", HOSTILE)
def test_hostile_queries_are_only_words(catalogue: Catalogue, query: str) -> None:
    assert isinstance(catalogue.search(query), list)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(query=st.text(max_size=30))
def test_no_query_is_an_error(run: Path, query: str) -> None:
    with Catalogue(run) as catalogue:
        assert len(catalogue.search(query, limit=5)) <= 5


def test_excerpts_carry_the_features_values(catalogue: Catalogue) -> None:
    for record in catalogue:
        for example in record.examples["top"][:2]:
            tokens = catalogue.excerpt(example.document, example.position, 7, 3, record.id)
            positions = [t.position for t in tokens]
            assert positions == list(range(positions[0], positions[-1] + 1))
            assert positions[0] == max(0, example.position - 7)
            here = next(t for t in tokens if t.position == example.position)
            assert here.value == pytest.approx(example.value, rel=1e-5)
            row = catalogue.rows.index(np.array([example.document]), np.array([positions[0]]))[0]
            expected = catalogue.index.dense(record.id, row, row + len(tokens))
            assert [t.value for t in tokens] == expected.tolist()


def test_excerpts_show_many_byte_text(catalogue: Catalogue) -> None:
    document = next(d for d in catalogue.rows.documents.tolist() if "🙂".encode() in catalogue.store.text(d))
    data = catalogue.store.text(document)
    tokens = catalogue.excerpt(document, len(data) // 2, 10**6, 10**6)
    assert len(tokens) == catalogue.store.length(document)
    assert "".join(t.text for t in tokens if not t.text.startswith("\\x")) == data.decode()
    assert all(t.text and t.value == 0 for t in tokens)
    assert [t.text for t in catalogue.excerpt(document, 5, 2, 2)] == [t.text for t in tokens[3:8]]


def test_documents_outside_the_catalogue_can_be_shown(catalogue: Catalogue) -> None:
    assert "".join(t.text for t in catalogue.excerpt(0, 0, 0, 99, 3)) == "nothing to see"


def test_what_does_not_exist_is_an_error(catalogue: Catalogue) -> None:
    for wrong in (-1, FEATURES, 1.5, "a", None, slice(0, 2)):
        with pytest.raises(MonoscopeError, match="no feature"):
            catalogue[wrong]
    with pytest.raises(MonoscopeError, match="no document 99"):
        catalogue.excerpt(99, 0)
    with pytest.raises(MonoscopeError, match="no position 10000"):
        catalogue.excerpt(1, 10000)
    with pytest.raises(MonoscopeError, match="no feature 48"):
        catalogue.excerpt(1, 0, feature=48)


def test_many_threads_read_while_labels_are_written(catalogue: Catalogue) -> None:
    expected = list(catalogue)

    def read(i: int) -> bool:
        f = i % FEATURES
        record = dataclasses.replace(catalogue[f], label=None)
        shown = catalogue.excerpt(1, 0, 0, 5, f)
        return record == expected[f] and len(shown) == 6 and len(catalogue.features["id"]) == FEATURES

    with ThreadPoolExecutor(6) as pool:
        writes = [pool.submit(catalogue.write_labels, [label(i, f"label {i}", 0.5)]) for i in range(5)]
        assert all(pool.map(read, range(120)))
        assert all(write.result() is None for write in writes)
    assert catalogue.features["label"][4] == "label 4"


def test_overview(catalogue: Catalogue) -> None:
    overview = catalogue.overview
    assert (overview["model"], overview["site"], overview["architecture"]) == ("tiny", "mlp_act.0", "topk")
    assert overview["alive"] + overview["dead"] == overview["n_features"] == len(catalogue) == FEATURES
    assert overview["dead"] == int((catalogue.features["density"] == 0).sum()) >= 3
    assert sum(overview["density_histogram"]["counts"]) == overview["alive"]
    assert (overview["n_tokens"], overview["n_documents"]) == (len(catalogue.rows), len(catalogue.rows.documents))
    assert overview["evaluation"] == {}
    (catalogue.run / "evaluation.json").write_text('{"metrics": {"l0": 5}}')
    assert catalogue.overview["evaluation"] == {"metrics": {"l0": 5}}


def test_a_moved_run_opens(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run, tmp_path / "elsewhere")
    assert len(Catalogue(tmp_path / "elsewhere").rows) > 0


def test_opening_does_not_write(run: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.rglob("*")}
    with Catalogue(run) as catalogue:
        catalogue.search("x")
        catalogue[3]
    assert {p: p.stat().st_mtime_ns for p in run.rglob("*")} == before


def test_files_of_other_versions_and_kinds_are_refused(catalogue: Catalogue) -> None:
    with sqlite3.connect(catalogue.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(MonoscopeError, match="format 99; this Monoscope reads up to 2"):
        Catalogue(catalogue.run)
    catalogue.path.write_bytes(b"no database at all" * 100)
    with pytest.raises(MonoscopeError, match="damaged"):
        Catalogue(catalogue.run)
    catalogue.path.unlink()
    with sqlite3.connect(catalogue.path) as connection:
        connection.execute("CREATE TABLE other (x)")
    connection.close()
    with pytest.raises(MonoscopeError, match="is no catalogue"):
        Catalogue(catalogue.run)
    catalogue.path.unlink()
    with pytest.raises(MonoscopeError, match="no finished catalogue"):
        Catalogue(catalogue.run)


def test_another_text_or_index_is_refused(catalogue: Catalogue, tmp_path: Path) -> None:
    shutil.rmtree(catalogue.run / "text")
    store(catalogue.run / "text", n_documents=5)
    with pytest.raises(MonoscopeError, match="not the one that was catalogued"):
        Catalogue(catalogue.run).excerpt(1, 0)
    manifest = catalogue.run / "catalogue" / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"key": "', '"key": "0'))
    with pytest.raises(MonoscopeError, match="index is of another build"):
        Catalogue(catalogue.run)
