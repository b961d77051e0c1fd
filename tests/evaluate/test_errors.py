"""Measures of the error and of the decoder: closed forms, brute force, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from evaluate_stand_ins import Function

from monoscope.evaluate import chance, evaluate
from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.controls import Neurons
from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.measure import Facts, Once, SumsByDocument
from monoscope.evaluate.measures import cosine, decoder_geometry, density, linear_error
from monoscope.evaluate.splice import replace_rows
from monoscope.text import pack
from monoscope.types import Code

SITE = "mlp_act.0"


class Planted:
    """A reconstructor that leaves out a chosen error."""

    n_features = 12

    def __init__(self, error):
        self.error = error

    def encode(self, x):
        self.x = x
        return Code.from_dense(x)

    def decode(self, code, x):
        return self.x - self.error(self.x)


def judge(lm, store, **known):
    names = ["linear_error", "fvu"]
    return evaluate(lm, SITE, known, store, store.documents(), measures=names, n_loss_tokens=0)


def test_a_linear_error_is_found_linear(lm, store):
    g = torch.Generator().manual_seed(0)
    matrix = 0.2 * torch.randn(12, 12, generator=g, dtype=torch.float64)
    found = judge(lm, store, linear=Planted(lambda x: x @ matrix + 0.3))
    assert found.metrics["error_linear"].value == pytest.approx(1, abs=1e-4)
    assert found.metrics["fvu_nonlinear"].value < 1e-4 < found.metrics["fvu"].value
    assert found.metrics["error_norm_linear"].value < 0.99  # a square is not linear


def test_noise_is_found_non_linear_and_no_better_than_chance(lm, store):
    def noise(x):
        keys = (x * 1e6).sum(1).long() % 2**31
        return chance.unit_directions(keys, 12, 5).double()

    found = judge(lm, store, noise=Planted(noise))
    e = found.metrics["error_linear"]
    assert e.value < 0.1 and e.low < 0.05
    assert found.metrics["fvu_nonlinear"].value > 0.85 * found.metrics["fvu"].value


def test_half_and_half(lm, store):
    """A linear part and an independent one: the share of the first."""
    g = torch.Generator().manual_seed(1)
    matrix = 0.3 * torch.randn(12, 12, generator=g, dtype=torch.float64)

    def error(x):
        return x @ matrix + chance.unit_directions((x * 1e6).sum(1).long() % 2**31, 12, 9).double()

    rows = torch.cat(
        [lm.run(b, read=[SITE])[SITE][b.is_text] for b in pack.blocks(store, store.documents(), lm.tokeniser, 16)]
    )
    share = float((rows @ matrix).var(0).sum() / error(rows).var(0).sum())
    e = judge(lm, store, both=Planted(error)).metrics["error_linear"]
    assert e.low - 0.05 < share < e.high + 0.05


def test_regression_equals_brute_force_on_the_drawn_tokens(lm, store):
    """Ordinary least squares by numpy on the same halves of the documents."""
    rng = np.random.default_rng(0)
    x, slots = torch.from_numpy(rng.normal(3, 1, (4000, 5))), torch.from_numpy(rng.integers(0, 40, 4000))
    matrix = torch.from_numpy(rng.normal(size=(5, 5)))
    e = torch.tanh(x) @ matrix

    def reconstruct(rows):
        return rows - torch.tanh(rows) @ matrix

    tally = linear_error.start(Facts(40, 5, 3, SumsByDocument(40), n_tokens=4000, reconstruct=reconstruct))
    for some in torch.arange(4000).split(1500):
        tally.add(Reconstructed(x[some], reconstruct(x[some]), None, slots[some], some))
    judged = tally.drawn.judged[slots].numpy()
    known = np.concatenate([x.numpy(), np.ones((4000, 1))], 1)
    solution = np.linalg.lstsq(known[~judged], e.numpy()[~judged], rcond=None)[0]
    left = np.square(e.numpy()[judged] - known[judged] @ solution).sum()
    total = np.square(e.numpy()[judged] - e.numpy()[judged].mean(0)).sum()
    found = tally.estimates()
    assert found["error_linear"].value == pytest.approx(1 - left / total, abs=2e-5)
    assert found["fvu_nonlinear"].value == pytest.approx(left / about_mean(x.numpy()[judged]), abs=2e-5)
    length = np.square(e.numpy()).sum(1, keepdims=True)
    solution = np.linalg.lstsq(known[~judged], length[~judged], rcond=None)[0]
    left = np.square(length[judged] - known[judged] @ solution).sum()
    assert found["error_norm_linear"].value == pytest.approx(1 - left / about_mean(length[judged]), abs=2e-5)


def about_mean(rows):
    return np.square(rows - rows.mean(0)).sum()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_regression_on_a_single_row_is_no_error(dtype):
    """Of two documents of a token each one is fitted on, and the other judges alone: nothing is known."""
    x = torch.randn(2, 30, generator=torch.Generator().manual_seed(0)).to(dtype)
    tally = linear_error.start(Facts(2, 5, 0, SumsByDocument(2), n_tokens=2, reconstruct=torch.zeros_like))
    tally.add(Reconstructed(x, torch.zeros_like(x), None, torch.arange(2), torch.arange(2)))
    assert set(tally.estimates().values()) == {Estimate()}


def test_rows_and_random_directions_are_held_once_and_change_no_number(lm, store):
    """Beside others a reconstructor has the numbers that it has alone."""
    names = ["linear_error", "mixing"]
    others = {"a": Neurons(12, 4), "b": Neurons(12, 6), "c": Neurons(12, 2)}

    def judged(**some):
        return evaluate(lm, SITE, some, store, store.documents(), n_loss_tokens=0, seed=2, measures=names)

    together = judged(**others).controls
    assert together["b"] == judged(b=others["b"]).metrics and together["c"] == judged(c=others["c"]).metrics
    once = Once()
    first, second = (linear_error.start(Facts(4, 3, 0, SumsByDocument(4), once=once)) for _ in range(2))
    assert first.drawn is second.drawn
    with pytest.raises(TypeError, match="reconstruct"):
        first.reconstruct(torch.zeros(1, 3))


def test_the_random_error_is_as_long_and_the_damage_is_brute_force(lm, store):
    found = evaluate(
        lm, SITE, {"d": Neurons(12, 4)}, store, store.documents(), n_loss_tokens=10**6, seed=2,
        measures=["same_norm_error", "kl"],
    )  # fmt: skip
    kl, n = 0.0, 0
    for window in pack.windows(store, store.documents(), lm.tokeniser, lm.context):
        block = pack.block(store, window[None], lm.tokeniser, lm.context)
        seen = lm.run(block, read=[SITE, "logits"])
        x = seen[SITE][block.is_text]
        keys = torch.from_numpy(
            store.rows_of(block.documents[block.is_text].numpy(), block.positions[block.is_text].numpy())
        )
        d = Neurons(12, 4)
        length = (x.float() - d.decode(d.encode(x.float()))).double().norm(dim=1, keepdim=True)
        other = x + length * chance.unit_directions(keys, 12, 2).double()
        log_q = lm.run(block, read=["logits"], write={SITE: replace_rows(block.is_text, other)})["logits"][
            0
        ].log_softmax(-1)
        log_p = seen["logits"][0].log_softmax(-1)
        kl += float((log_p.exp() * (log_p - log_q)).sum(-1)[1:-1].sum())
        n += len(log_p) - 2
    assert found.metrics["kl_same_norm"].value == pytest.approx(kl / n, rel=1e-4)
    expected = found.metrics["kl"].value / found.metrics["kl_same_norm"].value
    assert found.metrics["kl_over_same_norm"].value == pytest.approx(expected)


def test_an_error_that_is_random_harms_as_random_ones_do(lm, store):
    """Planted noise in place of an error: the ratio is 1 within its interval."""

    def noise(x):
        return 0.5 * chance.unit_directions((x * 1e6).sum(1).long() % 2**31, 12, 77).double()

    found = evaluate(
        lm, SITE, {"d": Planted(noise)}, store, store.documents(), measures=["same_norm_error"], n_loss_tokens=10**6
    )
    e = found.metrics["kl_over_same_norm"]
    assert e.low < 1 < e.high and 0.7 < e.value < 1.4


def test_chance_is_a_token_s_own():
    keys = torch.tensor([5, 900, 17])
    whole = chance.unit_directions(keys, 64, 1)
    assert torch.equal(chance.unit_directions(keys[1:], 64, 1), whole[1:])
    assert not torch.equal(chance.unit_directions(keys, 64, 2), whole)
    torch.testing.assert_close(whole.norm(dim=1), torch.ones(3))
    many = chance.unit_directions(torch.arange(4000), 16, 0)
    assert float(many.mean(0).abs().max()) < 5 * 0.25 / math.sqrt(4000)
    u = chance.uniform(torch.arange(20_000), 3).numpy()
    assert np.all((u >= 0) & (u < 1))
    assert np.histogram(u, 10, (0, 1))[0] == pytest.approx(2000, rel=0.1)
    assert abs(np.corrcoef(u, chance.uniform(torch.arange(20_000), 4).numpy())[0, 1]) < 0.03


def test_cosines_equal_brute_force_and_closed_forms():
    directions = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    nearest, magnitude = decoder_geometry.cosines(directions)
    table = torch.nn.functional.normalize(directions.double(), dim=1)
    table = table @ table.T
    off = table[~torch.eye(40, dtype=torch.bool)].view(40, 39)
    np.testing.assert_allclose(nearest, off.max(1).values)
    np.testing.assert_allclose(magnitude, off.abs().mean(1))
    nearest, magnitude = decoder_geometry.cosines(3 * torch.eye(5))
    assert nearest.tolist() == [0] * 5 and magnitude.tolist() == [0] * 5
    _, magnitude = decoder_geometry.cosines(torch.randn(3000, 64, generator=torch.Generator().manual_seed(1)))
    assert magnitude.mean() == pytest.approx(math.sqrt(2 / (math.pi * 64)), rel=0.01)


def test_geometry_leaves_dead_features_out_and_is_null_without_directions(lm, store):
    class Twins:
        n_features = 4
        directions = torch.tensor([[1.0, 0, 0], [2.0, 0, 0], [0, 1.0, 0], [5.0, 5.0, 5.0]])

        def encode(self, x):
            return Code.from_dense(torch.tensor([[1.0, 1, 1, 0]]).expand(len(x), 4))

        def decode(self, code, x):
            return torch.zeros(len(code), 12, dtype=torch.float64)

    found = evaluate(
        lm, SITE, {"d": Twins(), "f": Function(lambda x: x)}, store, store.documents(), measures=["decoder_geometry"]
    )
    assert found.metrics["decoder_nearest_cosine"].value == pytest.approx(2 / 3)
    assert found.metrics["decoder_pairwise_cosine"].value == pytest.approx(1 / 3)
    assert found.metrics["decoder_norm"].value == pytest.approx(4 / 3)
    assert found.controls["f"]["decoder_norm"].value is None
    assert found.differences["f"]["decoder_norm"].value is None


@pytest.mark.parametrize(("n", "point"), [(3, 4.3027), (200, 1.9720)])
def test_geometry_s_interval_is_student_s_of_as_many_features(n, point):
    lengths = 1 + torch.rand(n, generator=torch.Generator().manual_seed(0))
    directions = lengths[:, None] * torch.nn.functional.normalize(torch.randn(n, 8), dim=1)
    tally = decoder_geometry.start(Facts(2, n, 0, SumsByDocument(2), 2, directions))
    code, x = Code.from_dense(torch.ones(2, n)), torch.zeros(2, 8)
    tally.add(Reconstructed(x, x, code, torch.arange(2), torch.arange(2)))
    e = tally.estimates()["decoder_norm"]  # asked before anything else
    assert (e.high - e.low) / 2 == pytest.approx(point * float(lengths.std()) / math.sqrt(n), rel=1e-3)


def test_geometry_s_intervals_are_as_wide_as_other_features_would_differ():
    """Directions about one axis, some nearer to it than others: the mean over pairs, and the gap of two samples."""
    g = torch.Generator().manual_seed(0)
    axis = torch.tensor([1.0, 0, 0, 0])

    def drawn(n):
        directions = axis + 1.5 * torch.rand(n, 1, generator=g) * torch.randn(n, 4, generator=g)
        tally = decoder_geometry.start(Facts(2, n, 0, SumsByDocument(2), 2, directions))
        code, x = Code.from_dense(torch.ones(2, n)), torch.zeros(2, 4)
        tally.add(Reconstructed(x, x, code, torch.arange(2), torch.arange(2)))
        return tally

    pairs = [(drawn(60), drawn(30)) for _ in range(200)]
    whole = [a.estimates()["decoder_pairwise_cosine"] for a, _ in pairs]
    gaps = [a.differences(b)["decoder_pairwise_cosine"] for a, b in pairs]
    for found in (whole, gaps):
        reach = np.mean([(e.high - e.low) / 2 for e in found])
        assert reach == pytest.approx(1.96 * np.std([e.value for e in found]), rel=0.15)


def test_shrinkage_of_a_half(lm, store):
    found = evaluate(
        lm, SITE, {"d": Function(lambda x: 0.5 * x)}, store, store.documents(), measures=["shrinkage"], n_loss_tokens=0
    ).metrics
    assert found["norm_ratio"].value == pytest.approx(0.5) and found["reconstruction_bias"].value == pytest.approx(0.5)
    assert found["norm_out"].value == pytest.approx(0.5 * found["norm_in"].value)


class Signed:
    """A reconstructor of 12 numbers, some negative, which makes nothing of rows that begin with 0."""

    n_features = 12

    def encode(self, x):
        signed = torch.where(torch.arange(12) % 3 == 0, -0.7 * x, 1.3 * x)
        return Code.from_dense(torch.where(x[:, :1] > 0, signed, 0))

    def decode(self, code, x):
        return code.to_dense() + torch.where(x[:, :1] > 0, 0.1, 0)


def test_measures_of_rows_equal_numpy(lm, store, rows):
    """Sums over all tokens, not over documents or blocks; a row of which nothing is made has a cosine of 0."""
    names = ["fvu", "cosine", "shrinkage", "l0"]
    found = evaluate(lm, SITE, {"d": Signed()}, store, store.documents(), n_loss_tokens=0, measures=names).metrics
    x, code = rows.numpy(), Signed().encode(rows).to_dense().numpy()
    x_hat = Signed().decode(Signed().encode(rows), rows).numpy()
    length, length_hat, product = np.linalg.norm(x, axis=1), np.linalg.norm(x_hat, axis=1), (x * x_hat).sum(1)
    assert 0 < (length_hat == 0).mean() < 1 and (length > 0).all()
    error = np.square(x - x_hat).sum(1)
    expected = {
        "fvu": error.sum() / np.square(x - x.mean(0)).sum(),
        "mse": error.mean(),
        "cosine": np.divide(product, length * length_hat, where=length_hat > 0, out=np.zeros(len(x))).mean(),
        "norm_in": length.mean(),
        "norm_out": length_hat.mean(),
        "norm_ratio": (length_hat / length).mean(),
        "reconstruction_bias": np.square(x_hat).sum() / product.sum(),
        "l0": (code != 0).sum(1).mean(),
        "l1": np.abs(code).sum(1).mean(),
    }
    assert {name: e.value for name, e in found.items()} == pytest.approx(expected)


def test_the_cosine_of_rows_of_zeros():
    """1 where nothing was to be made and nothing was, 0 where only one of both is nothing."""
    one, none = torch.ones(1, 3), torch.zeros(1, 3)
    pairs = ((none, none, 1.0), (one, none, 0.0), (none, one, 0.0), (one, -2 * one, -1.0))
    for x, x_hat, expected in pairs:
        found = cosine.terms(Reconstructed(x, x_hat, Code.from_dense(x), torch.zeros(1), torch.zeros(1)))
        assert float(found["cosine"]) == pytest.approx(expected)


def densities(tokens_each: int, fires_on: list[tuple[int, int]], n_features: int = 10) -> density.Density:
    """Of 20 documents; each feature is active on so many tokens from a document on: (document, tokens)."""
    tally = density.start(Facts(20, n_features, 0, SumsByDocument(20)))
    active = torch.zeros(20 * tokens_each, n_features, dtype=torch.bool)
    for feature, (document, tokens) in enumerate(fires_on):
        active[document * tokens_each :][:tokens, feature] = True
    slots = torch.arange(20).repeat_interleave(tokens_each)
    x = torch.zeros(len(slots), 1)
    tally.add(Reconstructed(x, x, Code.from_dense(active.float()), slots, slots))
    return tally


def test_shares_of_rare_and_dense_features_by_hand():
    """Of 220,000 tokens up to 2 are ultra-rare, and over 22,000 dense."""
    fires_on = [(0, 1), (1, 2), (2, 3), (3, 10_999), (0, 22_000), (0, 22_001)]
    tally = densities(11_000, fires_on)
    found, often = tally.estimates(), tally.details()["frequent"]["0.1"]
    assert (found["dead_fraction"].value, found["ultra_rare_fraction"].value) == (0.4, 0.2)
    assert found["dense_fraction"].value == often["features"] == 0.1
    assert often["activations"] == pytest.approx(22_001 / sum(tokens for _, tokens in fires_on))
    assert found["ultra_rare_fraction"].low < 0.2 < found["ultra_rare_fraction"].high


def test_ultra_rare_is_not_told_where_no_feature_could_be_without_a_group():
    """On 1 of 102,000 tokens is ultra-rare; on 1 of the 96,900 that are left without a document nothing is."""
    fires_on = [(document, 1) for document in range(6)]
    assert densities(5_100, fires_on).estimates()["ultra_rare_fraction"] == Estimate()
    e = densities(5_300, fires_on).estimates()["ultra_rare_fraction"]
    assert e.value == 0.6 and e.low < 0.6 < e.high
