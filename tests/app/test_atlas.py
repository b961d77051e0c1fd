"""A map of several dictionaries: places kept, columns in order, points and searches that find the right feature."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from app_demo import DemoCatalogue

from monoscope.app import atlas as atlases
from monoscope.app.atlas import Atlas, Part, _family
from monoscope.catalogue import layout as layouts
from monoscope.errors import MonoscopeError


@pytest.fixture(autouse=True)
def _by_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "find_spec", lambda name: None)


@pytest.fixture(scope="module")
def parts(catalogue: DemoCatalogue) -> list[Part]:
    rng = np.random.default_rng(0)
    other = DemoCatalogue(50, seed=2)
    return [Part("own", catalogue, rng.normal(size=(300, 8))), Part("other", other, rng.normal(size=(50, 8)))]


def test_places_are_computed_once_and_kept(parts: list[Part], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    atlas = Atlas(parts[:1], tmp_path)
    assert atlas.places() is None and atlas.state()["ready"] is False
    deadline = time.monotonic() + 10
    while not atlas.state()["ready"]:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["map.json", "map.npy"]
    monkeypatch.setattr(atlases, "layout", lambda *a, **k: pytest.fail("computed twice"))
    np.testing.assert_array_equal(Atlas(parts[:1], tmp_path).compute(), atlas.places())
    changed = Part("own", parts[0].catalogue, parts[0].directions + 1)
    assert Atlas([changed], tmp_path).places() is None  # the map of another dictionary is not taken for this one's


def test_columns_points_and_searches_agree(parts: list[Part], tmp_path: Path) -> None:
    atlas = Atlas(parts, tmp_path)
    atlas.compute()
    n = atlas.about["n"]
    assert n == sum(int((p.catalogue.features["density"] > 0).sum()) for p in parts)
    x, y, feature, density, f1, family = np.frombuffer(atlas.data(), "<f4").reshape(6, n)
    assert np.array_equal(np.column_stack([x, y]), atlas.places())
    for index in (0, 7, n - 1):
        point = atlas.point(index)
        catalogue = parts[point["set"]].catalogue
        assert point["id"] == feature[index] and point["label"] == catalogue.features["label"][point["id"]]
        assert density[index] == pytest.approx(np.log10(catalogue.features["density"][point["id"]]), rel=1e-5)
        assert (point["label_f1"] is None) == bool(np.isnan(f1[index]))
        assert 0 <= family[index] < len(atlas.about["families"])
    found = atlas.search("docstring")
    assert found and {atlas.point(i)["set"] for i in found} == {0, 1}
    assert all("docstring" in atlas.point(i)["label"] for i in found)
    for wrong in (-1, n):
        with pytest.raises(MonoscopeError, match="there is no point"):
            atlas.point(wrong)


class Counting:
    """A catalogue that counts how often its columns are asked for; each time looks at a file."""

    def __init__(self, catalogue: DemoCatalogue) -> None:
        self._catalogue, self.asked = catalogue, 0

    @property
    def features(self) -> dict[str, np.ndarray]:
        self.asked += 1
        return self._catalogue.features


def test_a_kept_map_is_prepared_before_it_is_asked_for(parts: list[Part], tmp_path: Path) -> None:
    counting = Counting(parts[0].catalogue)
    atlas = Atlas([Part("own", counting, parts[0].directions)], tmp_path)
    atlas.prepare()
    assert atlas._thread is None and not list(tmp_path.iterdir())  # nobody asked for it to be made
    atlas.compute()
    atlas.prepare()
    assert 0 < counting.asked < 10  # columns are looked up, not features one by one
    asked = counting.asked
    assert atlas.state()["ready"] and counting.asked == asked


def test_what_goes_wrong_in_the_background_is_told(parts: list[Part], tmp_path: Path) -> None:
    few = Part("few", DemoCatalogue(5), np.zeros((5, 8)))
    assert len(few.living) < 3
    atlas = Atlas([few], tmp_path)
    atlas.state()
    atlas._thread.join(10)
    with pytest.raises(MonoscopeError, match="make no map"):
        atlas.state()


def test_widths_that_differ_share_no_map(parts: list[Part], tmp_path: Path) -> None:
    with pytest.raises(MonoscopeError, match="8 and 9 numbers"):
        Atlas([parts[0], Part("wide", parts[1].catalogue, np.zeros((50, 9)))], tmp_path)


@pytest.mark.parametrize(
    ("concept", "kind", "family"),
    [
        ("", "", "no label"),
        ("token('in_comment')", "token", "tokens"),
        ("token('x') & in_comment", "context", "comments"),
        ("token('in_string') & unknown", "context", "other"),
    ],
)
def test_families(concept: str, kind: str, family: str) -> None:
    assert _family(concept, kind, {"in_comment": "comments", "in_string": "strings"}) == family
