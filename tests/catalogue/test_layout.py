"""A layout keeps neighbours together, and depends on the directions and the seed alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monoscope.catalogue import layout as layouts
from monoscope.catalogue.layout import layout
from monoscope.errors import MonoscopeError


def clusters(n: int = 60, d: int = 12, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    which = np.arange(n) % 3
    return rng.normal(size=(3, d))[which] * 4 + rng.normal(size=(n, d)) * 0.3, which


def purity(places: np.ndarray, which: np.ndarray) -> float:
    """The share of points whose nearest neighbour is of their own cluster."""
    far = np.linalg.norm(places[:, None] - places[None], axis=2)
    np.fill_diagonal(far, np.inf)
    return float((which[far.argmin(1)] == which).mean())


@pytest.mark.parametrize("by", ["pca", pytest.param("umap", marks=pytest.mark.slow)])
def test_what_points_the_same_way_lies_together(by: str) -> None:
    if by == "umap":
        pytest.importorskip("umap", reason="the extra map is not installed")
    directions, which = clusters()
    places = layout(directions, by=by, seed=1)
    assert places.shape == (60, 2) and places.dtype == np.float32 and np.abs(places).max() == pytest.approx(1)
    assert purity(places, which) > 0.95
    assert np.array_equal(places, layout(directions, by=by, seed=1))


@given(n=st.integers(3, 30), d=st.integers(1, 8), seed=st.integers(0, 99))
def test_principal_components_are_those_of_the_unit_directions(n: int, d: int, seed: int) -> None:
    directions = np.random.default_rng(seed).normal(size=(n, d))
    places = layout(directions, by="pca").astype(np.float64)
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    singular = np.linalg.svd(unit - unit.mean(0), compute_uv=False)
    spread = np.linalg.norm(places - places.mean(0), axis=0)
    if d > 1:  # the axes are scaled alike
        assert spread[1] * singular[0] == pytest.approx(spread[0] * singular[1], rel=1e-3, abs=1e-4)
    np.testing.assert_allclose(places, layout(3 * directions, by="pca"), atol=1e-3)


def test_without_the_extra_the_map_says_that_it_is_pca(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "find_spec", lambda name: None)
    assert layouts.method() == "pca"
    directions, _ = clusters()
    np.testing.assert_array_equal(layout(directions), layout(directions, by="pca"))
    with pytest.raises(MonoscopeError, match="umap-learn is not installed"):
        layout(directions, by="umap")


def test_two_features_make_no_map() -> None:
    with pytest.raises(MonoscopeError, match="2 features make no map"):
        layout(np.eye(2))
