import numpy as np
import torch
from catalogue_world import FEATURES, NEURONS, D, code, dictionary, language_model, random_dense

from monoscope.catalogue import directions
from monoscope.catalogue.directions import coordinates, logit_effects, logit_weights, neighbours
from monoscope.catalogue.neurons import NeuronCorrelation


def test_neighbours_are_the_nearest_by_cosine(monkeypatch) -> None:
    monkeypatch.setattr(directions, "BLOCK", 7)
    w = torch.randn(30, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    w[4] = 2 * w[3]
    ids, cosines = neighbours(w, 6)
    expected = torch.nn.functional.cosine_similarity(w[:, None], w[None], dim=2).fill_diagonal_(-9)
    best = expected.topk(6, dim=1)
    torch.testing.assert_close(cosines.double(), best.values, atol=1e-6, rtol=0)
    assert int(ids[3, 0]) == 4 and int(ids[4, 0]) == 3


def test_promoted_tokens_are_what_a_step_along_the_direction_raises() -> None:
    """The residual stream after the last layer moves by a little along a direction: logits move as the lists say."""
    lm = language_model(2)
    made = dictionary()
    (ids, weights), (low_ids, low_weights) = logit_weights(
        made.directions, lm.to_residual("mlp_act.1"), lm.unembedding()
    )
    assert ids.shape == (FEATURES, 10)
    norm, head = lm.model.transformer.ln_f, lm.model.lm_head.weight.double()
    step = made.directions.double() @ lm.model.transformer.h[1].mlp.c_proj.weight.double()
    gained = (step - step.mean(1, keepdim=True)) * norm.weight.double()  # LayerNorm with its scale held at 1
    logits = gained @ head.T
    logits = logits - logits.mean(1, keepdim=True)
    torch.testing.assert_close(weights.double(), logits.gather(1, ids), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(weights.double(), logits.topk(10, dim=1).values, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(low_weights.double(), logits.topk(10, dim=1, largest=False).values, atol=1e-4, rtol=1e-4)
    assert (low_weights < 0).all() and not set(ids[0].tolist()) & set(low_ids[0].tolist())


def test_correlated_neurons_against_corrcoef() -> None:
    rng = np.random.default_rng(0)
    dense = random_dense(400, 12, 2)
    x = rng.normal(50, 1, (400, D)).astype(np.float32)  # a mean far from 0
    x[:, 3] += 4 * dense[:, 5]
    x[:, 4] -= 4 * dense[:, 5]
    x[:, 7] = 1.0  # never varies
    sums = NeuronCorrelation(12, D)
    for first in range(0, 400, 90):
        rows = slice(first, first + 90)
        sums.add(torch.from_numpy(x[rows]), code(dense[rows]))
    r = sums.pearson()
    assert np.isnan(r[0]).all() and np.isnan(r[:, 7]).all()
    alive, varying = slice(1, 12), [i for i in range(D) if i != 7]
    expected = np.corrcoef(dense[:, alive].T.astype(float), x[:, varying].T.astype(float))[:11, 11:]
    np.testing.assert_allclose(r[alive][:, varying], expected, atol=2e-4)
    ids, found = sums.strongest(3)
    assert set(ids[5, :2].tolist()) == {3, 4} and {bool(v > 0) for v in found[5, :2]} == {True, False}
    assert ids[0].tolist() == [-1, -1, -1]


def test_nothing_seen_is_no_correlation() -> None:
    ids, _ = NeuronCorrelation(4, NEURONS).strongest()
    assert (ids == -1).all()


def test_the_effect_on_all_logits_holds_the_lists_of_promoted_tokens() -> None:
    lm, made = language_model(2), dictionary()
    path = lm.to_residual("mlp_act.1"), lm.unembedding()
    (ids, weights), (low_ids, low_weights) = logit_weights(made.directions, *path)
    for feature in (0, 7, FEATURES - 1):
        effects = logit_effects(made.directions[feature], *path)
        torch.testing.assert_close(effects[ids[feature]], weights[feature], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(effects[low_ids[feature]], low_weights[feature], atol=1e-5, rtol=1e-4)
        assert abs(float(effects.mean())) < 1e-5


def test_coordinates_of_a_single_neuron() -> None:
    direction = torch.zeros(NEURONS)
    direction[7] = -2.0
    ids, values, shares = coordinates(direction, 3)
    assert (int(ids[0]), float(values[0]), float(shares[0])) == (7, -2.0, 1.0)
    assert coordinates(torch.zeros(4))[2].tolist() == [0.0] * 4
    even = coordinates(torch.tensor([1.0, -1.0, 1.0, -1.0]))
    assert even[2].tolist() == [0.25] * 4
