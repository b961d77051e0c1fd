"""What a feature does for every token of a passage: the loss of predicting it without the feature, less with it.

Unlike ``loss_effect``, which removes a feature at one place and looks at the token after it, this removes the feature
wherever it fires in the passage's windows, and looks at every token: the picture of Bricken et al. 2023 ("Towards
Monosemanticity"), where tokens are underlined by what ablating the feature does to their probability.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.catalogue.loss_effect import lm_room
from monoscope.catalogue.readout import Readout
from monoscope.catalogue.store import Catalogue
from monoscope.errors import MonoscopeError
from monoscope.models import LanguageModel
from monoscope.text.pack import block

WINDOWS = 64  # that run at once

Place = tuple[int, int, int]  # document, first token, token after the last


@torch.no_grad()
def token_effects(
    lm: LanguageModel, catalogue: Catalogue, direction: Float[Tensor, " d"], feature: int, places: Sequence[Place]
) -> list[Float[np.ndarray, " n_tokens"]]:
    """The effect on each token of some passages, in nats.

    Windows are those of the harvest, so that activations are those in the catalogue.

    Args:
        lm: the model.
        catalogue: its catalogue, with the feature's values.
        direction: what the feature writes per unit of its value, at the catalogue's target.
        feature: its number.
        places: the passages: (document, first token, token after the last).

    Returns:
        For each passage, a number for each of its tokens: above 0 where the feature helped to predict it. NaN for the
        first token of a document, which nothing predicts.

    Raises:
        MonoscopeError: the model has no head, or a passage is not in its document.
    """
    if not lm.has_head:
        raise MonoscopeError(f"{lm.name} has no language head, so nothing is predicted", fix="use a language model")
    for document, first, last in places:
        if not 0 <= document < len(catalogue.store) or not 0 <= first < last <= catalogue.store.length(document):
            raise MonoscopeError(
                f"there is no passage {first} to {last} in document {document}", fix="ask for tokens that it has"
            )
    room = lm_room(lm)
    wanted = {(d, w) for d, first, last in places for w in range(max(0, first - 1) // room, (last - 2) // room + 1)}
    windows = np.array(
        [[d, w * room, min(room, catalogue.store.length(d) - w * room)] for d, w in sorted(wanted)], np.int64
    ).reshape(-1, 3)
    found: dict[int, np.ndarray] = {d: np.full(catalogue.store.length(d), np.nan) for d, *_ in places}
    readout, site = Readout(lm), catalogue.facts["target"]
    for start in range(0, len(windows), WINDOWS):
        chosen = windows[start : start + WINDOWS]
        for (document, first, _), effects in zip(
            chosen.tolist(), _effects(readout, lm, catalogue, site, direction, feature, chosen), strict=True
        ):
            found[document][first + 1 : first + 1 + len(effects)] = effects
    return [found[document][first:last] for document, first, last in places]


def _effects(
    readout: Readout,
    lm: LanguageModel,
    catalogue: Catalogue,
    site: str,
    direction: Float[Tensor, " d"],
    feature: int,
    windows: Int[np.ndarray, "n 3"],
) -> list[Float[np.ndarray, " n_predicted"]]:
    """For each window, the effect on the token after each of its own; the document's last token predicts nothing."""
    store, before = catalogue.store, len(lm.tokeniser.prefix)
    tokens = block(store, windows, lm.tokeniser, lm.window)
    values = torch.zeros(tokens.tokens.shape)
    rows, columns, targets = [], [], []
    for i, (document, first, length) in enumerate(windows.tolist()):
        values[i, before : before + length] = torch.from_numpy(_values(catalogue, feature, document, first, length))
        n = min(length, store.length(document) - 1 - first)
        rows.append(torch.full((n,), i))
        columns.append(torch.arange(before, before + n))
        at = int(store.token_offsets[document]) + first + 1
        targets.append(torch.from_numpy(store.tokens[at : at + n].astype(np.int64)))
    at_rows, at_columns, wanted = torch.cat(rows), torch.cat(columns), torch.cat(targets)

    def without(held: Tensor) -> Tensor:
        return held - (values[..., None] * direction.detach().float().cpu()).to(held)

    clean = readout.losses(tokens, at_rows, at_columns, wanted, {})
    effects = readout.losses(tokens, at_rows, at_columns, wanted, {site: without}) - clean
    return [part.numpy() for part in effects.split([len(r) for r in rows])]


def _values(catalogue: Catalogue, feature: int, document: int, first: int, length: int) -> Float[np.ndarray, " length"]:
    """The feature's values on a window; a document that was not catalogued has none."""
    slot = np.flatnonzero(catalogue.rows.documents == document)
    if not len(slot):
        return np.zeros(length, np.float32)
    row = int(catalogue.rows.offsets[slot[0]]) + first
    return catalogue.index.dense(feature, row, row + length)
