"""By a token that features promote: those whose direction raises its logit most, per unit of the feature's value.

The path is the direct one: direction → residual stream → final norm's gain → unembedding, relative to the mean over the
vocabulary (``directions.logit_weights``). With the run's model at hand all features are compared, exactly. Without it
those are found in whose stored list of promoted tokens the token is.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool

from monoscope.catalogue.searching import Found, Query, best, one_text
from monoscope.errors import MonoscopeError

if TYPE_CHECKING:
    from monoscope.catalogue.store import Catalogue


def search(query: Query, catalogue: Catalogue, kept: Bool[np.ndarray, " n_features"] | None) -> Found:
    """``query.what`` is the token's text, a space before it included."""
    token = one_text(query, "one token's text")
    if not token:
        raise MonoscopeError("an empty text is no token", fix="give a token's text, such as ' the'")
    if catalogue.at_hand.pull is None:
        return _stored(token, catalogue, query.limit, kept)
    pull = catalogue.at_hand.pull(token)
    if pull is None:
        raise MonoscopeError(
            "no linear path leads from this dictionary's site to the logits, so it is not known what features promote",
            fix="search in another way",
        )
    return catalogue.directions.best(pull, query.limit, kept, lengths=True)


def _stored(token: str, catalogue: Catalogue, limit: int, kept: Bool[np.ndarray, " n_features"] | None) -> Found:
    """The features in whose list the token is."""
    scores = np.full(len(catalogue), np.nan)
    spelled = json.dumps(token, ensure_ascii=False)
    for feature, promoted in catalogue.select("SELECT id, promoted FROM features WHERE instr(promoted, ?)", (spelled,)):
        scores[feature] = max([w for _, text, w, _ in json.loads(promoted) if text == token], default=np.nan)
    return best(scores, kept, limit)
