"""Effects on every token, beside whole passes of the bare model with a hook of our own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from catalogue_world import CONTEXT, FEATURES, dictionary, language_model, store

from monoscope.catalogue.build import build
from monoscope.catalogue.store import Catalogue
from monoscope.catalogue.token_effects import token_effects
from monoscope.errors import MonoscopeError

LM, DICTIONARY, ROOM = language_model(2), dictionary(), CONTEXT - 1


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    run = tmp_path_factory.mktemp("run")
    return build(run, LM, "mlp_act.0", DICTIONARY, store(run / "text"), effects=0)


def by_hand(catalogue: Catalogue, feature: int, document: int) -> np.ndarray:
    """Loss of every token of a document without the feature, less with it, window after window."""
    text = catalogue.store
    tokens = text.tokens[text.token_offsets[document] : text.token_offsets[document + 1]].astype(int).tolist()
    values = np.array([t.value for t in catalogue.excerpt(document, 0, 0, len(tokens), feature)])
    out = np.full(len(tokens), np.nan)
    for first in range(0, len(tokens), ROOM):
        window = tokens[first : first + ROOM]
        patch = torch.zeros(1, len(window) + 1, 1)
        patch[0, 1:, 0] = torch.from_numpy(values[first : first + ROOM])

        def losses(size: float, window: list[int] = window, patch: torch.Tensor = patch) -> torch.Tensor:
            step = size * patch * DICTIONARY.directions[feature]
            handle = LM.model.transformer.h[0].mlp.act.register_forward_hook(lambda m, i, o: o - step)
            logits = LM.model(torch.tensor([[0, *window]])).logits[0, 1:].double()
            handle.remove()
            return -torch.log_softmax(logits, 1)

        change = losses(1.0) - losses(0.0)
        for i in range(len(window)):
            if first + i + 1 < len(tokens):
                out[first + i + 1] = float(change[i, tokens[first + i + 1]])
    return out


def test_effects_are_those_of_two_passes(catalogue: Catalogue) -> None:
    feature = int(np.argmax(catalogue.features["n_active"]))
    longest = sorted(catalogue.rows.documents.tolist(), key=catalogue.store.length)[-3:]
    places = [(d, first, catalogue.store.length(d) - cut) for d, first, cut in zip(longest, (0, 5, ROOM), (0, 3, 0))]
    found = token_effects(LM, catalogue, DICTIONARY.directions[feature], feature, places)
    for (document, first, last), effects in zip(places, found, strict=True):
        np.testing.assert_allclose(effects, by_hand(catalogue, feature, document)[first:last], atol=2e-5)
    assert np.isnan(found[0][0]) and np.isfinite(found[1]).all() and max(np.nanmax(abs(e)) for e in found) > 1e-2


def test_a_null_direction_and_a_silent_feature_change_nothing(catalogue: Catalogue) -> None:
    document = int(catalogue.rows.documents[0])
    feature = int(np.argmax(catalogue.features["n_active"]))
    nothing = torch.zeros_like(DICTIONARY.directions[0])
    assert np.all(token_effects(LM, catalogue, nothing, feature, [(document, 1, 5)])[0] == 0)
    dead = int(np.argmin(catalogue.features["n_active"]))
    assert np.all(token_effects(LM, catalogue, DICTIONARY.directions[dead], dead, [(document, 1, 5)])[0] == 0)
    alone = token_effects(LM, catalogue, nothing, feature, [(document, 0, 1)])[0]
    assert len(alone) == 1 and np.isnan(alone[0])


@pytest.mark.parametrize("place", [(999, 0, 1), (0, 5, 5), (0, 0, 10_000), (0, -1, 3)])
def test_passages_that_are_not_there_are_refused(catalogue: Catalogue, place: tuple[int, int, int]) -> None:
    with pytest.raises(MonoscopeError, match="there is no passage"):
        token_effects(LM, catalogue, DICTIONARY.directions[0], FEATURES - 1, [place])
