import sqlite3
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from catalogue_world import FEATURES, K, dictionary, language_model, store

import monoscope.catalogue.build as building
from monoscope.catalogue.build import build
from monoscope.catalogue.records import Label
from monoscope.catalogue.store import Catalogue
from monoscope.errors import MonoscopeError
from monoscope.harvest.stream import stream
from monoscope.models import LanguageModel
from monoscope.text.store import TokenStore
from monoscope.types import Activations

LABEL = Label(7, "context", "docstring()", "inside a docstring", 0.2, 0.9, 0.8, 0.85, 0.8, 0.9, 0.3, 60, 12)


@pytest.fixture(scope="module")
def lm() -> LanguageModel:
    return language_model(2)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return store(tmp_path_factory.mktemp("text") / "text")


@pytest.fixture(scope="module")
def built(lm: LanguageModel, text: TokenStore, tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return build(tmp_path_factory.mktemp("run"), lm, "mlp_act.1", dictionary(), text)


@pytest.fixture(scope="module")
def dense(lm: LanguageModel, text: TokenStore, built: Catalogue) -> np.ndarray:
    blocks = stream(lm, text, built.rows.documents, ["mlp_act.1"])
    return torch.cat([dictionary().encode(b.values["mlp_act.1"]).to_dense() for b in blocks]).numpy()


def test_the_index_is_the_dictionarys_code(built: Catalogue, dense: np.ndarray) -> None:
    splits = [built.store.splits[d] for d in built.rows.documents]
    assert splits == sorted(splits) and set(splits) == {"fit", "test"}  # fit first, then test, nothing else
    assert dense.shape == (len(built.rows), FEATURES)
    found = np.stack([built.index.dense(f, 0, len(dense)) for f in range(FEATURES)], 1)
    np.testing.assert_allclose(found, dense, rtol=2**-11, atol=1e-6)


def test_columns_and_records_against_dense_codes(built: Catalogue, dense: np.ndarray) -> None:
    columns = built.features
    assert all(len(column) == FEATURES for column in columns.values())
    np.testing.assert_array_equal(columns["id"], np.arange(FEATURES))
    np.testing.assert_allclose(columns["density"], (dense > 0).mean(0))
    np.testing.assert_allclose(columns["max"], dense.max(0), rtol=1e-3)
    assert columns["label"].tolist() == [""] * FEATURES and np.isnan(columns["label_f1"]).all()
    tokens = built.rows.tokens()
    for record in built:
        column = dense[:, record.id]
        active = column[column > 0]
        assert (record.n_active, sum(record.histogram.counts)) == (len(active), len(active))
        if not len(active):
            assert (record.max, record.mean, record.loss_effect, record.cofiring) == (0, 0, None, [])
            continue
        assert record.mean == pytest.approx(active.mean(), rel=1e-3)
        assert sum(t.weight for t in record.top_tokens_by_mass) <= 1 + 1e-6
        for token in record.top_tokens_by_mean:
            assert token.weight == pytest.approx(column[tokens == token.token_id].mean(), rel=1e-3)
        for name, examples in record.examples.items():
            for example in examples:
                row = built.rows.index(np.array([example.document]), np.array([example.position]))[0]
                assert example.value == pytest.approx(column[row], rel=1e-3)
                if name != "top":
                    low, high = record.intervals[name]
                    assert low * (1 - 1e-5) <= example.value <= high * (1 + 1e-5)
        assert record.examples["top"][0].value == pytest.approx(record.max, rel=1e-5)
        assert len(record.neighbours) == len(record.promoted) == len(record.suppressed) == 10
        assert len(record.neurons) == 5


def test_loss_effects_are_the_mean_over_the_strongest_examples(built: Catalogue) -> None:
    measured = [record for record in built if record.loss_effect is not None]
    assert len(measured) > FEATURES / 2
    for record in measured:
        effects = [e.loss_effect for e in record.examples["top"] if e.loss_effect is not None]
        assert 1 <= len(effects) <= 8
        assert record.loss_effect == pytest.approx(np.mean(effects), rel=1e-4, abs=1e-6)
    assert np.isnan(built.features["loss_effect"]).sum() == FEATURES - len(measured)


def test_progress_and_leftovers(lm: LanguageModel, text: TokenStore, tmp_path: Path) -> None:
    told: dict[str, list[tuple[int, int]]] = {}
    build(tmp_path, lm, "mlp_act.1", dictionary(), text, progress=lambda s, d, t: told.setdefault(s, []).append((d, t)))
    assert list(told) == ["read", "sort", "fold", "effects"]
    assert all(steps[-1][0] == steps[-1][1] for steps in told.values())
    assert sorted(p.name for p in tmp_path.rglob("*") if p.is_file()) == [
        "catalogue.sqlite", "manifest.json", "manifest.json", "numbers.f32", "offsets.i64", "rows.f32", "rows.u32",
        "units.i8", "values.f16",
    ]  # fmt: skip


def test_a_model_without_a_head_has_a_catalogue(lm: LanguageModel, text: TokenStore, tmp_path: Path) -> None:
    bare = LanguageModel(lm.model.transformer, lm.tokeniser, name="bare")
    catalogue = build(tmp_path, bare, "resid_post.0", dictionary(16), text)
    assert np.isnan(catalogue.features["loss_effect"]).all()
    assert all(r.promoted == r.suppressed == [] and r.loss_effect is None for r in catalogue)
    active = len(catalogue.index.rows) / len(catalogue.rows)  # densities add up to the mean number of active features
    assert 0 < active <= K
    assert catalogue.features["density"].sum() == pytest.approx(active, rel=1e-6)


def test_nan_activations_are_named(
    lm: LanguageModel, text: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def poisoned(*arguments: object) -> Iterator[Activations]:
        for block in stream(*arguments):  # type: ignore[arg-type]
            values = {site: x.clone() for site, x in block.values.items()}
            row = int(((block.documents == 4) & (block.positions == 3)).nonzero()[0, 0])
            values["mlp_act.1"][row, 5] = torch.nan
            yield Activations(values, block.documents, block.positions)

    monkeypatch.setattr(building, "stream", poisoned)
    with pytest.raises(MonoscopeError, match=r"NaN or infinite \(document 4 \(d3\), position 3\)"):
        build(tmp_path, lm, "mlp_act.1", dictionary(), text)
    with pytest.raises(MonoscopeError, match="no finished catalogue"):
        Catalogue(tmp_path)


@pytest.mark.parametrize("step", ["gather", "Folder", "loss_effects"])
def test_an_interrupted_build_is_refused_and_goes_on(
    lm: LanguageModel, text: TokenStore, tmp_path: Path, built: Catalogue, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Killed(BaseException):
        pass

    def killed(*arguments: object, **named: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(building, step, killed)
        with pytest.raises(Killed):
            build(tmp_path, lm, "mlp_act.1", dictionary(), text)
    with pytest.raises(MonoscopeError, match="no finished catalogue"):
        Catalogue(tmp_path)
    passes = []
    monkeypatch.setattr(building, "stream", lambda *a: passes.append(1) or stream(*a))
    resumed = build(tmp_path, lm, "mlp_act.1", dictionary(), text)
    assert len(passes) == (step == "gather")  # what was sealed is not done again
    assert all(a == b for a, b in zip(resumed, built, strict=True))


def test_a_finished_catalogue_is_kept_and_another_dictionarys_replaced(
    lm: LanguageModel, text: TokenStore, tmp_path: Path
) -> None:
    first = build(tmp_path, lm, "mlp_act.1", dictionary(), text)
    first.write_labels([LABEL])
    assert build(tmp_path, lm, "mlp_act.1", dictionary(), text)[7].label == LABEL
    other = build(tmp_path, lm, "mlp_act.1", dictionary(seed=1), text)
    assert other[7].label is None
    assert not np.array_equal(first.index.rows[:50], other.index.rows[:50])


def test_wrong_pairings_are_refused(lm: LanguageModel, text: TokenStore, tmp_path: Path) -> None:
    with pytest.raises(MonoscopeError, match=r"reads vectors of 20; resid_post\.0 of tiny holds 16"):
        build(tmp_path, lm, "resid_post.0", dictionary(), text)
    foreign = dictionary()
    foreign.provenance = {"model": "another", "fingerprint": "0" * 64}
    with pytest.raises(MonoscopeError, match=r"trained on another model \(another"):
        build(tmp_path, lm, "mlp_act.1", foreign, text)
    with pytest.raises(MonoscopeError, match="no split 'tset'"):
        build(tmp_path, lm, "mlp_act.1", dictionary(), text, splits=["tset"])


def test_a_full_disk_is_an_error(
    lm: LanguageModel, text: TokenStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(building.Writer, "feature", full)
    with pytest.raises(MonoscopeError, match=r"cannot write catalogue\.sqlite: database or disk is full"):
        build(tmp_path, lm, "mlp_act.1", dictionary(), text)
