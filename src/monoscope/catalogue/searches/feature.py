"""By likeness to a feature: the others whose directions have the largest cosine with its own, exactly."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from monoscope.catalogue.searching import Found, Query
from monoscope.errors import MonoscopeError

if TYPE_CHECKING:
    from monoscope.catalogue.store import Catalogue


def search(query: Query, catalogue: Catalogue, kept: Bool[np.ndarray, " n_features"] | None) -> Found:
    """``query.what`` is its number, which may be text: ``12``, ``#12``."""
    feature = _number(query.what, len(catalogue))
    others = np.ones(len(catalogue), bool) if kept is None else kept.copy()
    others[feature] = False
    return catalogue.directions.best(catalogue.directions.rows[feature], query.limit, others)


def _number(what: object, n: int) -> int:
    text = str(what).strip().removeprefix("#")
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise MonoscopeError(f"{str(what)[:80]!r} is no feature's number", fix="give one, such as 12")
    if int(text) >= n:
        raise MonoscopeError(f"there is no feature {text}", fix=f"choose one from 0 to {n - 1}")
    return int(text)
