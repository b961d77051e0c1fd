import tempfile
from pathlib import Path

import numpy as np
import pytest
from catalogue_world import code, indexed, random_dense, spooled
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope import folder
from monoscope.catalogue import index as indices
from monoscope.catalogue.index import FeatureIndex
from monoscope.catalogue.spool import Spool, SpoolWriter
from monoscope.errors import MonoscopeError


@settings(max_examples=25, deadline=None)
@given(n=st.integers(0, 90), n_features=st.integers(1, 12), seed=st.integers(0, 999), block=st.integers(1, 50))
def test_the_index_holds_every_entry_of_the_codes(n: int, n_features: int, seed: int, block: int) -> None:
    dense = random_dense(n, n_features, seed)
    with tempfile.TemporaryDirectory() as path:
        spool = spooled(dense, Path(path), block)
        index = indices.build(spool, Path(path) / "index", {})
        assert (len(index), index.n_rows) == (n_features, n)
        assert index.counts().tolist() == (dense != 0).sum(0).tolist()
        for f in range(n_features):
            rows, values = index.of(f)
            assert rows.tolist() == np.flatnonzero(dense[:, f]).tolist()
            assert values.tolist() == dense[rows, f].tolist()
            assert index.dense(f, n // 3, n).tolist() == dense[n // 3 :, f].tolist()
            between, _ = index.between(f, n // 4, n // 2)
            assert between.tolist() == [r for r in rows.tolist() if n // 4 <= r < n // 2]


def test_sorting_in_many_blocks_equals_sorting_in_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = random_dense(200, 9, 1)
    index, spool = indexed(dense, tmp_path)
    monkeypatch.setattr(indices, "BLOCK", 7)
    again = indices.build(spool, tmp_path / "again", {})
    assert np.array_equal(index.rows, again.rows) and np.array_equal(index.values, again.values)


def test_values_are_half_precision_unless_they_overflow_or_vanish(tmp_path: Path) -> None:
    dense = random_dense(50, 4, 0)
    assert indexed(dense, tmp_path / "ordinary")[0].values.dtype == np.float16
    huge, small = dense * np.float32(1e6), dense * np.float32(1e-6)
    for name, values in (("huge", huge), ("small", small)):
        index, _ = indexed(values, tmp_path / name)
        assert index.values.dtype == np.float32
        np.testing.assert_array_equal(index.dense(2, 0, 50), values[:, 2])


def test_a_tiny_value_beside_large_ones_stays_above_zero(tmp_path: Path) -> None:
    dense = np.array([[1.0], [1e-9]], np.float32)
    index, _ = indexed(dense, tmp_path)
    assert index.values.dtype == np.float16
    assert (index.of(0)[1] > 0).all()


def test_what_is_not_finished_is_refused(tmp_path: Path) -> None:
    with SpoolWriter(tmp_path / "spool", 3) as writer:
        writer.add(code(random_dense(5, 3, 0)))
    with pytest.raises(MonoscopeError, match="not complete"):
        Spool(tmp_path / "spool")
    index, _ = indexed(random_dense(20, 3, 0), tmp_path)
    (index.path / "rows.u32").write_bytes(b"\0")
    with pytest.raises(MonoscopeError, match=r"rows\.u32 is 1 bytes long"):
        FeatureIndex(index.path)
    (index.path / folder.MANIFEST).unlink()
    with pytest.raises(MonoscopeError, match="not complete"):
        FeatureIndex(index.path)


def test_wrong_codes_and_features_are_refused(tmp_path: Path) -> None:
    with (
        SpoolWriter(tmp_path / "s", 3) as writer,
        pytest.raises(MonoscopeError, match="4 features in a catalogue of 3"),
    ):
        writer.add(code(random_dense(5, 4, 0)))
    index, _ = indexed(random_dense(20, 3, 0), tmp_path)
    with pytest.raises(MonoscopeError, match="no feature 3"):
        index.of(3)


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MonoscopeError, match="cannot write"):
        SpoolWriter(tmp_path / "file" / "spool", 3)
