"""By example: features that fire on some texts, and more than they do on others or as a rule.

For every feature the tokens are counted on which it fires. Its rate elsewhere is what the other texts show, drawn
towards its density in the catalogue as if ``PRIOR`` tokens of it had been seen beside them (the mean of a beta
posterior); without other texts it is that density. A text in which it fires on ``a`` of ``n`` tokens then departs from
the rate ``r`` by the signed root of the binomial deviance,

    z = ±√(2 (a ln(a / n r) + (n − a) ln((n − a) / n (1 − r)))),

about standard normal where the rate holds and tokens are independent. The score is ``Σ z / √m`` over the ``m`` texts
(Stouffer), so that a feature of all of them comes before one that fills a single text. Only features that fire in some
of the texts are found, and only with a score above 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.catalogue.searching import Found, Query, best, texts
from monoscope.errors import MonoscopeError

if TYPE_CHECKING:
    from monoscope.catalogue.store import Catalogue

PRIOR = 10.0  # tokens
LEAST = 0.5  # firings that a density of 0 is taken for, over all catalogued tokens


def search(query: Query, catalogue: Catalogue, kept: Bool[np.ndarray, " n_features"] | None) -> Found:
    """``query.what`` is a text or several; ``query.unlike`` are the others."""
    positive = texts(query.what)
    if not positive or not all(positive):
        raise MonoscopeError("a search by text needs a text that is not empty", fix="give the words to read")
    if catalogue.at_hand.read is None:
        raise MonoscopeError(
            "reading a text needs the run's model, and this catalogue was opened alone",
            fix="open it with monoscope.open_catalogue(RUN)",
        )
    here = [_fired(catalogue, text) for text in positive]
    there = [_fired(catalogue, text) for text in query.unlike]
    scores = departures(here, there, catalogue.features["density"], 1 / max(1, int(catalogue.facts["n_tokens"])))
    return best(scores, kept, query.limit)


def _fired(catalogue: Catalogue, text: str) -> tuple[Int[np.ndarray, " n_features"], int]:
    """On how many of a text's tokens each feature fires, and how many tokens there are."""
    assert catalogue.at_hand.read is not None
    counts, n = np.zeros(len(catalogue), np.int64), 0
    for code in catalogue.at_hand.read(text):
        counts += np.bincount(code.indices.cpu().numpy(), minlength=len(counts))
        n += len(code)
    return counts, n


def departures(
    here: list[tuple[Int[np.ndarray, " n_features"], int]],
    there: list[tuple[Int[np.ndarray, " n_features"], int]],
    density: Float[np.ndarray, " n_features"],
    token: float,
) -> Float[np.ndarray, " n_features"]:
    """Each feature's score; NaN where it is not found. ``token`` is the density of a feature that fired once."""
    usual = np.clip(density, LEAST * token, 1 - LEAST * token)
    others, seen = sum((a for a, _ in there), np.zeros(len(density))), sum(n for _, n in there)
    rate = (PRIOR * usual + others) / (PRIOR + seen)
    total = sum((departure(a, n, rate) for a, n in here), np.zeros(len(density))) / np.sqrt(len(here))
    fired = np.logical_or.reduce([a > 0 for a, _ in here])
    return np.where(fired & (total > 0), total, np.nan)


def departure(
    count: Int[np.ndarray, " n_features"], n: int, rate: Float[np.ndarray, " n_features"]
) -> Float[np.ndarray, " n_features"]:
    """The signed root of the deviance of ``count`` of ``n`` from a rate between 0 and 1."""
    expected = n * rate
    with np.errstate(divide="ignore", invalid="ignore"):
        fires = np.where(count > 0, count * np.log(count / expected), 0)
        silent = np.where(count < n, (n - count) * np.log((n - count) / (n - expected)), 0)
    return np.sign(count - expected) * np.sqrt(2 * np.maximum(fires + silent, 0))
