"""Directions laid out in the plane, so that features that write alike lie together.

With the extra ``map`` the layout is UMAP (McInnes et al. 2018) by cosine, with the settings of Bricken et al. 2023
("Towards Monosemanticity"): 15 neighbours, least distance 0.05. Without it, it is the first two principal components of
the unit directions, and says so. Both depend on the directions and the seed alone.
"""

from __future__ import annotations

import warnings
from importlib.util import find_spec

import numpy as np
from jaxtyping import Float

from monoscope.errors import MonoscopeError

NEIGHBOURS, LEAST_DISTANCE = 15, 0.05
METHODS = ("umap", "pca")


def method() -> str:
    """The best method at hand."""
    return "umap" if find_spec("umap") is not None else "pca"


def layout(directions: Float[np.ndarray, "n d"], *, by: str | None = None, seed: int = 0) -> Float[np.ndarray, "n 2"]:
    """Lay directions out.

    Args:
        directions: what each feature writes; lengths do not count, nor does a direction that is 0.
        by: ``umap`` or ``pca``; the best at hand without.
        seed: of UMAP; the same gives the same layout.

    Returns:
        Places between −1 and 1 in float32, the centre at 0 and the longer side filled.

    Raises:
        MonoscopeError: there are fewer than three directions, or UMAP is asked for and not installed.
    """
    if len(directions) < 3:
        raise MonoscopeError(
            f"{len(directions)} features make no map", fix="name a catalogue with more living features"
        )
    by = method() if by is None else by
    if by == "umap" and method() != "umap":
        raise MonoscopeError("umap-learn is not installed", fix="pip install 'monoscope[map]', or lay out by pca")
    unit = directions / np.maximum(np.linalg.norm(directions, axis=1, keepdims=True), 1e-12)
    places = _umap(unit.astype(np.float32), seed) if by == "umap" and len(unit) > NEIGHBOURS else _pca(unit)
    low, high = places.min(0), places.max(0)
    return ((places - (low + high) / 2) * (2 / max(1e-12, float((high - low).max())))).astype(np.float32)


def _umap(unit: Float[np.ndarray, "n d"], seed: int) -> Float[np.ndarray, "n 2"]:
    import umap

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that a seed means one thread, and that a graph falls into parts
        made = umap.UMAP(n_neighbors=NEIGHBOURS, min_dist=LEAST_DISTANCE, metric="cosine", random_state=seed)
        return np.asarray(made.fit_transform(unit))


def _pca(unit: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n 2"]:
    """Each component's sign is such that its largest entry is positive."""
    centred = unit.astype(np.float64) - unit.mean(0, dtype=np.float64)
    axes = np.linalg.eigh(centred.T @ centred)[1][:, :-3:-1]
    axes = axes * np.sign(axes[np.abs(axes).argmax(0), np.arange(axes.shape[1])])
    places = centred @ axes
    return places if places.shape[1] == 2 else np.column_stack([places, np.zeros(len(places))])
