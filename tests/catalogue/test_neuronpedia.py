"""Neuronpedia's layout: what is written, what is read back, and what hostile files get."""

from __future__ import annotations

import gzip
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from catalogue_world import FEATURES, dictionary, language_model, store
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope import folder
from monoscope.app import cli
from monoscope.catalogue.build import build
from monoscope.catalogue.explanations import Explanation
from monoscope.catalogue.neuronpedia import reading, rows, writing
from monoscope.catalogue.records import Label
from monoscope.catalogue.statistics import groups
from monoscope.catalogue.store import Catalogue
from monoscope.errors import MonoscopeError

WORDS = '<img src=x onerror="alert(1)"> – "quoted" 漢字'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("run")
    build(path, language_model(1), "mlp_act.0", dictionary(), store(path / "text"), effects=1).close()
    with Catalogue(path) as catalogue:
        fact = (0.1, 0.9, 0.8, 0.85, 0.8, 0.9, 0.2, 80, 14)
        catalogue.write_labels([Label(5, "context", "docstring", WORDS, *fact), Label(7, "token", "t", "the x", *fact)])
        catalogue.write_explanations([Explanation(5, "model a", "words", "more"), Explanation(9, "b", "", "endings")])
    return path


@pytest.fixture
def catalogue(run: Path, tmp_path: Path) -> Catalogue:
    shutil.copytree(run, tmp_path / "copy")
    return Catalogue(tmp_path / "copy")


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with Catalogue(run) as catalogue, pytest.MonkeyPatch.context() as patch:
        patch.setattr(writing, "BATCH", 20)
        return writing.export(catalogue, tmp_path_factory.mktemp("out") / "exports")


def lines(path: Path) -> list[dict[str, Any]]:
    found = sorted(path.glob("batch-*.jsonl.gz"), key=lambda p: int(p.name.split("-")[1].split(".")[0]))
    return [json.loads(line) for p in found for line in gzip.decompress(p.read_bytes()).splitlines()]


def test_the_layout(exported: Path) -> None:
    assert exported.parts[-2:] == ("tiny", "0-mlp-act-monoscope-48")
    (source,) = [json.loads(line) for line in (exported / "source.jsonl").read_text().splitlines()]
    assert source["id"] == "0-mlp-act-monoscope-48" and source["modelId"] == "tiny"
    assert json.loads((exported / "sourceset.jsonl").read_text())["name"] == source["setName"]
    assert json.loads((exported / "model.jsonl").read_text())["id"] == "tiny"
    assert json.loads((exported / "release.jsonl").read_text())["name"] == source["setName"]
    assert sorted(p.name for p in (exported / "features").iterdir()) == [f"batch-{i}.jsonl.gz" for i in range(3)]
    assert folder.verify(exported.parents[1]) == []
    for name in ("features", "activations", "explanations"):
        found = lines(exported / name)
        assert len({tuple(row) for row in found}) == 1  # the importer takes columns from the first line
        assert all(row["modelId"] == "tiny" and row["layer"] == source["id"] for row in found)
    ids = [row["id"] for row in lines(exported / "activations")]
    assert len(set(ids)) == len(ids)


def test_features_are_those_of_the_catalogue(exported: Path, run: Path) -> None:
    found = lines(exported / "features")
    assert [row["index"] for row in found] == [str(i) for i in range(FEATURES)]
    with Catalogue(run) as catalogue:
        for row, record in zip(found, catalogue, strict=True):
            assert row["frac_nonzero"] == record.density and row["maxActApprox"] == pytest.approx(record.max, rel=1e-4)
            assert sum(row["freq_hist_data_bar_heights"]) == record.n_active
            assert len(row["freq_hist_data_bar_values"]) == len(row["freq_hist_data_bar_heights"])
            assert row["pos_str"] == [t.text for t in record.promoted]


def test_bins_are_true_quantiles(exported: Path, run: Path) -> None:
    found = lines(exported / "activations")
    with Catalogue(run) as catalogue:
        for feature in range(FEATURES):
            own = [row for row in found if row["index"] == str(feature)]
            values = np.sort(catalogue.index.of(feature)[1])
            assert bool(own) == bool(len(values))
            shares = {}
            for row in own:
                value = row["values"][row["qualifyingTokenIndex"]]
                assert value > 0 and len(row["values"]) == len(row["tokens"])
                assert row["maxValue"] == max(row["values"]) == row["values"][row["maxValueTokenIndex"]]
                if row["binContains"] == -1:
                    assert row["binMin"] == -1 and row["binMax"] == pytest.approx(values[-1], rel=1e-4)
                    continue
                assert row["binMin"] <= value <= row["binMax"]
                shares[row["binMin"], row["binMax"]] = row["binContains"]
            sizes = [(values[a:b], b - a) for a, b in groups(len(values)).values() if b > a]
            for (low, high), share in shares.items():
                fits = [n for part, n in sizes if np.allclose([part[0], part[-1]], [low, high], rtol=1e-4)]
                assert any(share == n / catalogue.facts["n_tokens"] for n in fits)


def test_what_is_written_comes_back(exported: Path, catalogue: Catalogue) -> None:
    assert reading.import_explanations(catalogue, exported.parents[1]) == 4
    found = {(e.feature, e.explainer): e for e in catalogue.explanations() if e.explainer.startswith("neuronpedia")}
    assert {key: e.fires_on for key, e in found.items()} == {
        (5, "neuronpedia"): WORDS,
        (5, "neuronpedia 2"): "words; promotes more",
        (7, "neuronpedia"): "the x",
        (9, "neuronpedia"): "promotes endings",
    }
    assert "F1 0.850" in found[5, "neuronpedia"].detail["notes"]
    assert [e.explainer for e in catalogue.explanations(5)] == ["model a", "neuronpedia", "neuronpedia 2"]
    before = catalogue.explanations()
    reading.import_explanations(catalogue, exported)  # again: replaced, not doubled
    assert catalogue.explanations() == before


def test_the_same_catalogue_gives_the_same_bytes(run: Path, tmp_path: Path) -> None:
    with Catalogue(run) as catalogue:
        for name in ("a", "b"):
            writing.export(catalogue, tmp_path / name)
        assert (tmp_path / "a" / "manifest.json").read_bytes() == (tmp_path / "b" / "manifest.json").read_bytes()
        (tmp_path / "c").mkdir()
        (tmp_path / "c" / "mine.txt").write_text("x")
        with pytest.raises(MonoscopeError, match="no Neuronpedia export that monoscope wrote"):
            writing.export(catalogue, tmp_path / "c")


def packed(base: Path, features: bytes | None = None, explanations: bytes | None = None) -> Path:
    """An export whose files are these bytes."""
    plain = b"".join(b'{"index":"%d"}\n' % i for i in range(FEATURES))
    for name, data in (("features", features or gzip.compress(plain)), ("explanations", explanations)):
        (base / name).mkdir(parents=True)
        if data is not None:
            (base / name / "batch-0.jsonl.gz").write_bytes(data)
    return base


def said(**row: Any) -> bytes:
    return gzip.compress(json.dumps({"index": "3", "description": "words", **row}).encode() + b"\n")


BOMB = gzip.compress(b" " * (40 << 20), 9)
DAMAGED = {
    "truncated": (said()[:-9], "not a whole gzip file"),
    "no gzip": (b"index,description\n", "not a whole gzip file"),
    "flipped": (said()[:12] + b"\xff\xff\xff\xff" + said()[16:], "not a whole gzip file|no JSON"),
    "no JSON": (gzip.compress(b'{"index": 3,\n'), "line 1.*no JSON|no JSON"),
    "deep": (gzip.compress(b"[" * 100_000 + b"\n"), "no JSON"),
    "no object": (gzip.compress(b"[1]\n"), "no JSON object"),
    "no index": (gzip.compress(b'{"description": "x"}\n'), "index is 'None'"),
    "index of wrong type": (said(index=True), "index is 'True'"),
    "negative": (said(index=-1), "index is '-1'"),
    "float": (said(index=1.5), "index is '1.5'"),
    "no words": (said(description=None), "description is no text"),
    "endless words": (said(description="x" * 20_000), "description is no text of at most 10,000"),
    "too large a number": (said(index=FEATURES), "an explanation names feature 48"),
    "many": (gzip.compress(b'{"index":1,"description":"x"}\n' * 101), "more than 100 explanations"),
    "bomb": (BOMB, "longer than 8 MiB"),
    "bomb of lines": (gzip.compress((b" " * 1000 + b"\n") * 40_000, 9), "more than 100 times"),
    "bomb of zeros": (gzip.compress(bytes(40 << 20), 9), "longer than 8 MiB"),
    "nothing": (None, "holds no explanations"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_said(catalogue: Catalogue, tmp_path: Path, case: str) -> None:
    data, words = DAMAGED[case]
    with pytest.raises(MonoscopeError, match=words):
        reading.import_explanations(catalogue, packed(tmp_path / "theirs", explanations=data))
    assert [e.explainer for e in catalogue.explanations()] == ["model a", "b"]  # nothing was written


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_no_bytes_at_all_are_a_crash(tmp_path_factory: pytest.TempPathFactory, data: bytes, zipped: bool) -> None:
    base = packed(tmp_path_factory.mktemp("any"), explanations=gzip.compress(data) if zipped else data)
    try:
        assert all(isinstance(e, Explanation) for e in reading.read_explanations(base))
    except MonoscopeError as error:
        assert "no Neuronpedia export" in error.what


@pytest.mark.parametrize(
    ("indices", "words"),
    [(range(FEATURES - 1), "47 features, the catalogue 48"), (range(1, FEATURES + 1), "48 features"),
     (range(FEATURES + 1), "49 features"), ([0, *range(FEATURES - 1)], "feature 0 comes twice")],
)  # fmt: skip
def test_another_dictionary_is_refused(catalogue: Catalogue, tmp_path: Path, indices: Any, words: str) -> None:
    features = gzip.compress(b"".join(b'{"index":"%d"}\n' % i for i in indices))
    with pytest.raises(MonoscopeError, match=words):
        reading.import_explanations(catalogue, packed(tmp_path / "theirs", features, said()))


def test_which_folder_is_meant(tmp_path: Path) -> None:
    with pytest.raises(MonoscopeError, match="no folder features/"):
        reading.source_folder(tmp_path)
    for name in ("a", "b"):
        packed(tmp_path / "model" / name)
    with pytest.raises(MonoscopeError, match="2 sources: model/a, model/b"):
        reading.source_folder(tmp_path)
    assert reading.source_folder(tmp_path / "model" / "a") == tmp_path / "model" / "a"


@pytest.mark.parametrize(
    ("site", "model", "wanted"),
    [("resid_post.7", "google/gemma-2-2b", ("gemma-2-2b", "7-resid-post-monoscope-48")),
     ("embed", "./my model/", ("my-model", "0-embed-monoscope-48")),
     ("transformer.h.3.mlp:out", "x", ("x", "3-transformer.h.3.mlp-out-monoscope-48"))],
)  # fmt: skip
def test_names(catalogue: Catalogue, site: str, model: str, wanted: tuple[str, str]) -> None:
    catalogue.facts |= {"site": site, "model": model}
    source = rows.Source.of(catalogue)
    assert (source.model, source.id) == wanted


def test_the_verb(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(run, tmp_path / "run")
    with pytest.raises(SystemExit) as exit_:
        cli.main(["catalogue", str(tmp_path / "run"), "--neuronpedia", str(tmp_path / "exports")])
    assert exit_.value.code == 0 and "48 features" in capsys.readouterr().out
    with pytest.raises(SystemExit) as exit_:
        cli.main(["catalogue", str(tmp_path / "run"), "--import", str(tmp_path / "exports")])
    assert exit_.value.code == 0 and "4 explanations" in capsys.readouterr().out
