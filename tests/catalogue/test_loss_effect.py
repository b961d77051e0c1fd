import numpy as np
import pytest
import torch
from catalogue_world import CONTEXT, NEURONS, D, dictionary, language_model, store

from monoscope.catalogue import loss_effect
from monoscope.catalogue.loss_effect import loss_effects
from monoscope.models import LanguageModel
from monoscope.text.store import TokenStore


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> TokenStore:
    return store(tmp_path_factory.mktemp("text") / "text")


def places(text: TokenStore, n: int = 60) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    documents = rng.choice(text.documents("fit"), n)
    positions = np.array([rng.integers(0, text.length(int(d)) - 1) for d in documents])
    return rng.integers(0, 40, n), documents, positions, rng.uniform(0.5, 3, n).astype(np.float32)


def recomputed(
    lm: LanguageModel, text: TokenStore, module: torch.nn.Module, where: tuple, directions: torch.Tensor
) -> np.ndarray:
    """Each effect by two whole forward passes of the bare model over the whole window, with a hook of our own."""
    room, out = CONTEXT - 1, []
    for feature, document, position, value in zip(*(a.tolist() for a in where), strict=True):
        tokens = text.tokens[text.token_offsets[document] : text.token_offsets[document + 1]].astype(int).tolist()
        first = position // room * room
        window = torch.tensor([[0, *tokens[first : first + room]]])
        at = position - first + 1

        def losses(
            patch: torch.Tensor, window: torch.Tensor = window, at: int = at, target: int = tokens[position + 1]
        ):
            def hook(module: torch.nn.Module, inputs: tuple, output: torch.Tensor) -> torch.Tensor:
                output = output.clone()
                output[0, at] -= patch
                return output

            handle = module.register_forward_hook(hook)
            logits = lm.model(window).logits[0, at].double()
            handle.remove()
            return float(-torch.log_softmax(logits, 0)[target])

        out.append(losses(value * directions[feature]) - losses(torch.zeros(directions.shape[1])))
    return np.array(out)


@pytest.mark.parametrize(
    ("site", "module", "width", "direct"),
    [
        ("mlp_act.1", "transformer.h.1.mlp.act", NEURONS, True),
        ("mlp_out.1", "transformer.h.1.mlp.c_proj", D, True),
        ("mlp_act.0", "transformer.h.0.mlp.act", NEURONS, False),
        ("attn_out.1", "transformer.h.1.attn.c_proj", D, False),
    ],
)
def test_the_effect_is_what_a_full_recomputation_gives(
    text: TokenStore, monkeypatch: pytest.MonkeyPatch, site: str, module: str, width: int, direct: bool
) -> None:
    lm, where = language_model(2), places(text)
    directions = dictionary(width).directions
    ways = []
    original = loss_effect.patched
    monkeypatch.setattr(loss_effect, "patched", lambda *a: ways.append(len(a[4])) or original(*a))
    monkeypatch.setattr(loss_effect, "TOKENS", 100)  # several batches
    effects = loss_effects(lm, text, site, directions, *where)
    assert (ways == [48]) == direct
    expected = recomputed(lm, text, lm.model.get_submodule(module), where, directions)
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(effects, expected, atol=2e-4)


def test_a_soft_cap_on_the_logits_is_kept(text: TokenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where logits are not the head's output, whole logits are read."""
    lm, where = language_model(1), places(text, 10)
    handle = lm.model.register_forward_hook(lambda m, i, o: type(o)(logits=torch.tanh(o.logits)))
    directions = dictionary().directions
    effects = loss_effects(lm, text, "mlp_act.0", directions, *where)
    expected = recomputed(lm, text, lm.model.transformer.h[0].mlp.act, where, directions)
    handle.remove()
    np.testing.assert_allclose(effects, expected, atol=2e-4)
    plain = loss_effects(lm, text, "mlp_act.0", directions, *where)
    assert np.abs(plain - effects).max() > 1e-2


def test_the_last_token_of_a_document_has_no_effect(text: TokenStore) -> None:
    features, documents, positions, values = places(text, 6)
    positions[2] = text.length(int(documents[2])) - 1
    effects = loss_effects(
        language_model(1), text, "mlp_act.0", dictionary().directions, features, documents, positions, values
    )
    assert np.isnan(effects).tolist() == [i == 2 for i in range(6)]


def test_a_model_without_a_head_has_no_effects(text: TokenStore) -> None:
    lm = language_model(1)
    bare = LanguageModel(lm.model.transformer, lm.tokeniser, name="bare")
    assert np.isnan(loss_effects(bare, text, "mlp_act.0", dictionary().directions, *places(text, 4))).all()


def test_patched_passes_stop_at_their_budget(text: TokenStore) -> None:
    lm, where = language_model(2), places(text)
    directions = dictionary().directions
    lengths = where[2] % (CONTEXT - 1) + 1
    effects = loss_effects(lm, text, "mlp_act.0", directions, *where, budget=int(lengths.sum() // 2))
    known = np.isfinite(effects)
    assert 0 < lengths[known].sum() <= lengths.sum() // 2
    for feature in np.unique(where[0][~known]):  # a feature's later places go first
        mine = known[where[0] == feature]
        assert mine.tolist() == sorted(mine.tolist(), reverse=True)
    whole = loss_effects(lm, text, "mlp_act.0", directions, *where)
    np.testing.assert_allclose(effects[known], whole[known], atol=2e-5)


def test_no_places_no_effects(text: TokenStore) -> None:
    none = np.zeros(0, np.int64)
    assert len(loss_effects(language_model(1), text, "mlp_act.0", dictionary().directions, none, none, none, none)) == 0
