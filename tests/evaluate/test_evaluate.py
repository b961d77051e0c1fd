"""The pass over the text: closed forms for every metric, by hand or by brute force."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from evaluate_stand_ins import Function, TinyModel

from monoscope.dictionary.base import architecture
from monoscope.errors import MonoscopeError
from monoscope.evaluate import Evaluation, evaluate, from_json
from monoscope.evaluate.controls import Neurons, fit_linear_map, fit_pca
from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.measures import decoder_geometry, linear_error, loss_recovered, mixing, same_norm_error
from monoscope.evaluate.splice import splice_with_error
from monoscope.text import pack
from monoscope.types import Code, Site, TokenBlock

SITE = "mlp_act.0"
UNDEFINED = {
    "ultra_rare_fraction",  # too few tokens to tell
    *decoder_geometry.NAMES, *mixing.NAMES,  # functions have no directions
    *same_norm_error.NAMES[2:], *linear_error.NAMES[:2],  # no error, so none to compare
    *loss_recovered.NAMES[:2],  # the model is random, and ablation helps it
    "reconstruction_bias",  # nothing is reconstructed
}  # fmt: skip


def value(evaluation: Evaluation, name: str, control: str | None = None) -> float:
    metrics = evaluation.metrics if control is None else evaluation.controls[control]
    found = metrics[name].value
    assert found is not None
    return found


@pytest.fixture(scope="module")
def evaluation(lm, store, rows) -> Evaluation:
    mean = rows.mean(0)
    known = {
        "half": Function(lambda x: 0.5 * x),
        "same": Function(lambda x: x),
        "mean": Function(lambda x: mean.expand_as(x)),
        "zero": Function(torch.zeros_like),
    }
    return evaluate(lm, SITE, known, store, store.documents(), n_loss_tokens=10**6)


def test_identity_is_perfect(evaluation):
    assert value(evaluation, "fvu", "same") == 0
    assert value(evaluation, "ce_spliced", "same") == value(evaluation, "ce", "same")
    assert value(evaluation, "kl", "same") == 0
    assert value(evaluation, "cosine", "same") == pytest.approx(1)


def test_the_mean_recovers_nothing(evaluation):
    assert value(evaluation, "fvu", "mean") == pytest.approx(1, abs=1e-12)
    assert value(evaluation, "ce_spliced", "mean") == pytest.approx(value(evaluation, "ce_mean"), rel=1e-12)
    assert value(evaluation, "ce_spliced", "zero") == pytest.approx(value(evaluation, "ce_zero"), rel=1e-12)


def test_loss_recovered_by_hand():
    """Untouched 2, spliced 3, ablated to the mean 6 and to zero 10 nats; then an ablation that helps."""
    totals = {"tokens": 4, "ce": 8, "ce_spliced": 12, "ce_mean": 24, "ce_zero": 40}
    found = loss_recovered.values({name: np.array([float(v)]) for name, v in totals.items()})
    assert (found["loss_recovered_mean"], found["loss_recovered_zero"]) == (0.75, 0.875)
    for spliced, recovered in ((8, 1), (24, 0)):
        some = {name: np.array([float(v)]) for name, v in {**totals, "ce_spliced": spliced}.items()}
        assert loss_recovered.values(some)["loss_recovered_mean"] == recovered
    helps = {name: np.array([float(v)]) for name, v in {**totals, "ce_mean": 7}.items()}
    assert np.isnan(loss_recovered.values(helps)["loss_recovered_mean"])


def test_where_ablation_helps_there_is_nothing_to_recover(evaluation):
    """The weights are random: the model is better without its neurons."""
    assert value(evaluation, "ce_mean") < value(evaluation, "ce")
    assert evaluation.metrics["loss_recovered_mean"] == evaluation.controls["same"]["loss_recovered_mean"] == Estimate()


def test_half_has_the_analytic_error(evaluation, rows):
    expected = 0.25 * rows.square().sum() / (rows - rows.mean(0)).square().sum()
    assert value(evaluation, "fvu") == pytest.approx(float(expected), rel=1e-12)
    assert value(evaluation, "cosine") == pytest.approx(1)
    assert value(evaluation, "l0") == pytest.approx(float((rows > 0).sum(1).double().mean()), rel=1e-12)


def test_losses_and_divergence_equal_torch(evaluation, lm, store):
    """Window by window: no batches, no padding, torch's own functions."""
    ce, spliced, kl, n = 0.0, 0.0, 0.0, 0
    for window in pack.windows(store, store.documents(), lm.tokeniser, lm.context):
        block = pack.block(store, window[None], lm.tokeniser, lm.context)
        logits = lm.run(block, read=["logits"])["logits"][0]

        def halve(x):
            return torch.cat([x[:, :1], 0.5 * x[:, 1:]], 1)

        other = lm.run(block, read=["logits"], write={SITE: halve})["logits"][0]
        target = block.tokens[0, 2:]
        ce += float(F.cross_entropy(logits[1:-1], target, reduction="sum"))
        spliced += float(F.cross_entropy(other[1:-1], target, reduction="sum"))
        kl += float(
            F.kl_div(other[1:-1].log_softmax(-1), logits[1:-1].log_softmax(-1), reduction="sum", log_target=True)
        )
        n += len(target)
    assert value(evaluation, "ce") == pytest.approx(ce / n, rel=1e-12)
    assert value(evaluation, "ce_spliced") == pytest.approx(spliced / n, rel=1e-12)
    assert value(evaluation, "kl") == pytest.approx(kl / n, rel=1e-12)


def test_every_value_lies_in_its_interval(evaluation):
    fair = {k: m for k, m in evaluation.controls.items() if k != "mean"}  # its mean was fitted to this very sample
    for metrics in (evaluation.metrics, *fair.values()):
        for name, e in metrics.items():
            if e.value is None:
                assert name in UNDEFINED, name
            else:
                assert e.low <= e.value <= e.high or math.isclose(e.low, e.high, rel_tol=1e-9, abs_tol=1e-12), name


@pytest.mark.parametrize("tokens_per_block", [1, 100, 10**6])
def test_block_size_changes_no_result(lm, store, tokens_per_block):
    def run(size: int) -> Evaluation:
        known = {"half": Function(lambda x: 0.5 * x), "neurons": Neurons(12, 3)}
        return evaluate(
            lm, SITE, known, store, store.documents(), n_tokens=500, n_loss_tokens=200, tokens_per_block=size, seed=3
        )

    one, other = run(tokens_per_block), run(333)
    for a, b in ((one.metrics, other.metrics), (one.controls["neurons"], other.controls["neurons"])):
        for name in a:
            if a[name].value is not None:
                assert [a[name].low, a[name].value, a[name].high] == pytest.approx(
                    [b[name].low, b[name].value, b[name].high], rel=1e-9, abs=1e-12
                )
    assert one.details == other.details


def test_same_seed_same_numbers_and_another_draws_other_windows(lm, store):
    def run(seed: int) -> dict:
        return evaluate(lm, SITE, {"d": Neurons(12, 2)}, store, store.documents(), n_tokens=300, seed=seed).to_json()

    assert run(1) == run(1)
    assert run(1)["metrics"]["fvu"] != run(2)["metrics"]["fvu"]
    assert run(2)["seed"] == 2


def test_pca_leaves_the_tail_of_the_spectrum(lm, store, rows):
    pca = fit_pca([rows[:100], rows[100:]], k=4)
    found = evaluate(lm, SITE, {"pca": pca}, store, store.documents(), measures=["fvu", "l0"])
    spectrum = torch.linalg.eigvalsh(torch.cov(rows.T))
    assert value(found, "fvu") == pytest.approx(float(spectrum[:-4].sum() / spectrum.sum()), rel=1e-5)
    assert value(found, "l0") == 4


IN = "mlp_in.0"


@pytest.fixture(scope="module")
def pairs(lm, store):
    """The rows of both sites, window by window."""
    found = [lm.run(b, read=[IN, SITE]) for b in pack.blocks(store, store.documents(), lm.tokeniser, lm.context)]
    texts = [b.documents >= 0 for b in pack.blocks(store, store.documents(), lm.tokeniser, lm.context)]
    return tuple(torch.cat([f[site][t] for f, t in zip(found, texts, strict=True)]) for site in (IN, SITE))


@pytest.fixture(scope="module")
def transcoded(lm, store, pairs) -> Evaluation:
    x, y = pairs
    known = {
        "half": Function(lambda x: 0.5 * lm.neurons(x), 8),
        "same": Function(lm.neurons, 8),
        "mean": Function(lambda x: y.mean(0).expand(len(x), -1), 8),
        "linear_map": fit_linear_map([(x[:100], y[:100]), (x[100:], y[100:])], 8),
    }
    return evaluate(lm, IN, known, store, store.documents(), target=SITE, n_loss_tokens=10**6)


def test_a_transcoder_is_judged_and_spliced_where_it_writes(transcoded, evaluation, pairs):
    """Half of what the neurons say is the same whether it is computed from them or from what they read."""
    assert value(transcoded, "fvu", "same") == 0 and value(transcoded, "kl", "same") == 0
    assert value(transcoded, "fvu", "mean") == pytest.approx(1, abs=1e-12)
    for name in ("fvu", "mse", "cosine", "ce_spliced", "ce_mean", "kl", "norm_out", "ce_same_norm"):
        assert value(transcoded, name) == pytest.approx(value(evaluation, name), rel=1e-9), name
    assert value(transcoded, "l0") == pytest.approx(float((pairs[0] != 0).sum(1).double().mean()))
    assert (transcoded.facts["site"], transcoded.facts["target"]) == (IN, SITE)


def test_a_transcoder_s_error_is_regressed_on_what_it_reads(lm, store, pairs):
    """What is left of the neurons by a transcoder that knows none of what is linear, is linear."""
    straight = torch.randn(8, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    known = {
        "without": Function(lambda x: lm.neurons(x) - x @ straight, 8),
        "zero": Function(lambda x: 0 * x @ straight),
    }
    found = evaluate(lm, IN, known, store, store.documents(), target=SITE, measures=["linear_error"])
    assert value(found, "error_linear") == pytest.approx(1, abs=1e-4)
    assert 0 < value(found, "error_linear", "zero") < 0.999  # the neurons themselves bend


def test_a_linear_map_is_least_squares_of_its_rank(transcoded, pairs):
    x, y = (rows - rows.mean(0) for rows in pairs)
    fitted = x @ torch.linalg.lstsq(x, y).solution
    total = float(y.square().sum())
    assert value(transcoded, "fvu", "linear_map") == pytest.approx(float((y - fitted).square().sum()) / total, rel=1e-4)
    spectrum = torch.linalg.svdvals(fitted).square()
    for k in (1, 3):
        made = fit_linear_map([pairs], k)
        left = pairs[1] - made.decode(made.encode(pairs[0]))
        expected = float((y - fitted).square().sum() + spectrum[k:].sum()) / total
        assert float(left.square().sum()) / total == pytest.approx(expected, rel=1e-4)


def test_a_linear_map_of_a_site_onto_itself_is_its_principal_components(rows):
    pca, made = fit_pca([rows], 3), fit_linear_map([(rows, rows)], 3)
    torch.testing.assert_close(made.decode(made.encode(rows)), pca.decode(pca.encode(rows)), rtol=1e-3, atol=1e-3)


def test_a_linear_map_needs_rows_and_no_more_numbers_than_are_written(pairs):
    x, y = pairs
    for blocks, k in (([], 1), ([(x[:3], y[:3])], 3), ([pairs], 13), ([pairs], 0)):
        with pytest.raises(MonoscopeError, match=f"a linear map through {k} numbers"):
            fit_linear_map(blocks, k)


def test_a_dictionary_of_another_width_than_the_target_is_refused(lm, store):
    with pytest.raises(MonoscopeError, match=f"reconstructs rows of 8, but {SITE} has 12"):
        evaluate(lm, IN, {"d": Neurons(8, 2)}, store, store.documents(), target=SITE)


def test_neurons_keep_the_largest(lm, store, rows):
    found = evaluate(lm, SITE, {"neurons": Neurons(12, 2)}, store, store.documents(), measures=["fvu", "l0"])
    ordered = rows.square().sort(1).values
    expected = ordered[:, :-2].sum() / (rows - rows.mean(0)).square().sum()
    assert value(found, "fvu") == pytest.approx(float(expected), rel=1e-9)
    assert value(found, "l0") == pytest.approx(float((rows != 0).sum(1).clamp(max=2).double().mean()))
    kept = Neurons(3, 2).encode(torch.tensor([[1.0, -3.0, 2.0]]))
    assert Neurons(3, 2).decode(kept).tolist() == [[0.0, -3.0, 2.0]]


def test_separators_and_padding_are_never_written(lm, store):
    """A reconstruction of rubbish changes text rows only: the separator's own prediction stays."""
    written: list[tuple[TokenBlock, torch.Tensor]] = []

    class Spy(TinyModel):
        def run(self, block, *, read, write=None):
            if write:
                written.append((block, write[SITE](super().run(block, read=[SITE])[SITE])))
                assert torch.equal(
                    written[-1][1][~block.is_text], super().run(block, read=[SITE])[SITE][~block.is_text]
                )
            return super().run(block, read=read, write=write)

    evaluate(Spy(lm.tokeniser), SITE, {"d": Function(lambda x: x + 1e3)}, store, store.documents())
    assert written and any((b.documents < 0).sum() > len(b.tokens) for b, _ in written)  # padding did occur


def test_explained_plus_error_is_the_original(lm, store):
    block = next(pack.blocks(store, store.documents(), lm.tokeniser, lm.context))
    logits, spliced = splice_with_error(lm, Site.parse(SITE), Neurons(12, 1), block)
    torch.testing.assert_close(spliced, logits, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["topk", "batch_topk"])
def test_a_dictionary_that_normalises_each_row_is_given_the_rows(lm, store, rows, name):
    made = architecture(name)(12, 30, k=4, row_norm=True).requires_grad_(False)
    for i, weights in enumerate((made.w_enc, made.b_enc, made.w_dec, made.b_dec)):
        weights.copy_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(i)) / 4)
    found = evaluate(lm, SITE, {"d": made}, store, store.documents(), n_loss_tokens=0, measures=["fvu", "mixing"])
    left = (rows - made(rows.float())).square().sum() / (rows - rows.mean(0)).square().sum()
    assert value(found, "fvu") == pytest.approx(float(left), rel=1e-5)
    code, unit = made.encode(rows.float()).to_dense(), F.normalize(made.directions).double()
    besides = (rows - (made(rows.float()) - code @ made.directions)).double()
    seen = ((F.normalize(besides) @ unit.T).square() * (code == 0)).sum(1) / (code == 0).sum(1).clamp(min=1)
    assert value(found, "inactive_projection") == pytest.approx(float(seen.mean().sqrt()), rel=1e-4)
    block = next(pack.blocks(store, store.documents(), lm.tokeniser, lm.context))
    logits, spliced = splice_with_error(lm, Site.parse(SITE), made, block)
    torch.testing.assert_close(spliced, logits, rtol=1e-12, atol=1e-12)


def test_every_measure_takes_a_dictionary_s_float32_beside_rows_of_float64(lm, store, rows):
    made = architecture("topk")(12, 30, k=4).requires_grad_(False)
    for i, weights in enumerate((made.w_enc, made.w_dec)):
        weights.copy_(torch.randn(weights.shape, generator=torch.Generator().manual_seed(i)) / 4)
    found = evaluate(lm, SITE, {"d": made}, store, store.documents(), n_loss_tokens=10**6)
    expected = F.cosine_similarity(rows, made(rows.float()).double()).mean()
    assert value(found, "cosine") == pytest.approx(float(expected), rel=1e-5)
    unknown = {"ultra_rare_fraction", "next_feature", *loss_recovered.NAMES[:2]}  # directions and model are random
    assert {name for name, e in found.metrics.items() if e.value is None} == unknown


@pytest.mark.parametrize("seed", range(12))
def test_documents_that_are_not_read_count_nowhere(lm, store, seed):
    """Few tokens of many documents: halves and groups are of those that were read, and none of them is empty."""
    known = {"d": Function(lambda x: x - 0.1 * x.square())}
    found = evaluate(lm, SITE, known, store, store.documents(), n_tokens=50, n_loss_tokens=0, seed=seed)
    n = found.facts["n_documents"]
    assert 2 <= n < 10
    e = found.metrics["error_linear"]
    assert (e.value is None) == (n < 4) and (e.value is None or e.low < e.high)


@pytest.mark.parametrize("told", [None, "unknown", "another array", "mlp_out.0"])
def test_a_transcoder_is_not_evaluated_where_it_reads(lm, store, told):
    made = architecture("topk")(12, 30, 12, k=3, skip=told is None)
    made.provenance = {} if told is None else {"target": told}
    with pytest.raises(MonoscopeError, match=f"d is a transcoder: it does not write {SITE}, which it reads"):
        evaluate(lm, SITE, {"d": made}, store, store.documents())


def test_a_transcoder_is_not_evaluated_where_it_does_not_write(lm, store):
    made = architecture("topk")(8, 30, 12, k=3)
    made.provenance = {"target": "mlp_out.0"}
    with pytest.raises(MonoscopeError, match=f"d writes mlp_out.0, not {SITE}"):
        evaluate(lm, IN, {"d": made}, store, store.documents(), target=SITE)


def test_without_a_head_losses_are_null(lm, store):
    class Headless(TinyModel):
        has_head = False

    found = evaluate(Headless(lm.tokeniser), SITE, {"d": Neurons(12, 2)}, store, store.documents()).to_json()
    assert found["metrics"]["loss_recovered_mean"] == {"value": None, "low": None, "high": None}
    assert found["metrics"]["kl"]["value"] is None
    assert found["metrics"]["fvu"]["value"] is not None
    assert found["n_loss_tokens"] == 0


def test_json_is_as_stated(lm, store):
    known = {"d": Neurons(12, 3), "pca": fit_pca([torch.randn(50, 12)], 3)}
    found = evaluate(lm, SITE, known, store, store.documents(), n_tokens=400, seed=5)
    other = evaluate(lm, SITE, {"x": Neurons(12, 1)}, store, store.documents(), n_tokens=400)
    merged = found.with_control("random_model", other)
    written = json.loads(json.dumps(merged.to_json(), allow_nan=False))
    needed = {"l0", "fvu", "loss_recovered_mean", "loss_recovered_zero", "dead_fraction"}
    assert needed <= set(written["metrics"])
    assert list(written["controls"]) == ["pca", "random_model"]
    for metrics in (written["metrics"], *written["controls"].values()):
        assert needed <= set(metrics)
        assert all(set(e) == {"value", "low", "high"} for e in metrics.values())
    assert written["controls"]["random_model"]["fvu"] == other.to_json()["metrics"]["fvu"]
    assert list(written["density"]) == ["dictionary", "pca", "random_model"]
    assert sum(written["density"]["dictionary"]["counts"]) + written["density"]["dictionary"]["dead"] == 12
    assert written["seed"] == 5 and 400 <= written["n_tokens"] < 420 and written["n_documents"] > 2
    assert from_json(written) == merged
    with pytest.raises(MonoscopeError, match="already"):
        merged.with_control("pca", other)


def test_dead_features_by_hand(lm, store, rows):
    """Codes of 40 features of which 12 ever fire, one of them always, one on a single token."""

    class Sparse:
        n_features = 40

        def encode(self, x):
            dense = torch.zeros(len(x), 40)
            dense[:, 7] = 1.0
            dense[:, 8:18] = (x[:, :10] > x[:, :10].mean()).float()
            dense[:, 39] = ((x - rows[17]).abs().max(1).values == 0).float()
            return Code.from_dense(dense)

        def decode(self, code, x):
            return torch.zeros(len(code), 12, dtype=torch.float64)

    found = evaluate(lm, SITE, {"d": Sparse()}, store, store.documents(), measures=["density"])
    assert value(found, "dead_fraction") == 28 / 40
    shown = found.details["density"]["dictionary"]
    assert shown["dead"] == 28 and sum(shown["counts"]) == 12 and shown["counts"][-1] >= 1
    assert len(shown["log10_edges"]) == len(shown["counts"]) + 1
    assert value(found, "dense_fraction") >= 1 / 40
    often, sums = shown["frequent"]["0.1"], shown["frequent"]["0.01"]
    assert often["features"] == value(found, "dense_fraction") <= sums["features"] <= 12 / 40
    assert 0 < often["activations"] <= sums["activations"] <= 1


def test_nan_names_document_and_position(lm, store):
    document = 4
    row = store.token_offsets[document] + 3

    class Poisoned(TinyModel):
        def run(self, block, *, read, write=None):
            found = super().run(block, read=read, write=write)
            found[SITE][(block.documents == document) & (block.positions == 3)] = float("nan")
            return found

    assert row > 0
    with pytest.raises(MonoscopeError, match="document 'd4' at position 3"):
        evaluate(Poisoned(lm.tokeniser), SITE, {"d": Neurons(12, 2)}, store, store.documents())
    bad = Function(lambda x: torch.where(x > 0, x, float("inf")))
    with pytest.raises(MonoscopeError, match="reconstructions by mine"):
        evaluate(lm, SITE, {"mine": bad}, store, store.documents())


def test_what_cannot_be_evaluated_is_refused(lm, store):
    with pytest.raises(MonoscopeError, match="nothing to evaluate"):
        evaluate(lm, SITE, {}, store, store.documents())
    with pytest.raises(MonoscopeError, match="two documents"):
        evaluate(lm, SITE, {"d": Neurons(12, 2)}, store, store.documents()[:1])
    with pytest.raises(MonoscopeError, match="did you mean 'fvu'"):
        evaluate(lm, SITE, {"d": Neurons(12, 2)}, store, store.documents(), measures=["fvi"])
    narrow = Function(lambda x: x[:, :5])
    with pytest.raises(MonoscopeError, match=r"rows of 5, but mlp_act\.0 has 12"):
        evaluate(lm, SITE, {"d": narrow}, store, store.documents())


def test_progress_counts_every_token(lm, store):
    told: list[int] = []
    found = evaluate(lm, SITE, {"d": Neurons(12, 2)}, store, store.documents(), n_loss_tokens=100, progress=told.append)
    assert sum(told) == found.facts["n_tokens"] == store.n_tokens
    assert np.all(np.array(told) > 0)


def test_pca_needs_enough_rows():
    with pytest.raises(MonoscopeError, match="cannot be fitted"):
        fit_pca([torch.randn(3, 8)], 4)
    with pytest.raises(MonoscopeError, match="of 8 neurons 9"):
        Neurons(8, 9)


def test_differences_are_paired(evaluation, lm, store):
    """Each is the two values' difference; against itself it is nothing, with no width."""
    for name, metrics in evaluation.differences.items():
        for metric, e in metrics.items():
            own, other = evaluation.metrics[metric].value, evaluation.controls[name][metric].value
            assert (e.value is None) if own is None or other is None else e.value == pytest.approx(own - other)
    twin = evaluate(lm, SITE, {"a": Neurons(12, 3), "b": Neurons(12, 3)}, store, store.documents(), n_tokens=500)
    for metric, e in twin.differences["b"].items():
        if e.value is not None:
            assert (e.value, e.low, e.high) == (0, 0, 0), metric
    near = evaluate(
        lm, SITE, {"a": Function(lambda x: 0.5 * x), "b": Function(lambda x: 0.55 * x)}, store, store.documents()
    )
    for metric in ("fvu", "ce_spliced", "kl"):
        paired, alone = near.differences["b"][metric], (near.metrics[metric], near.controls["b"][metric])
        assert paired.high - paired.low < 0.8 * math.hypot(*(e.high - e.low for e in alone))


def test_differences_of_one_pass_only(lm, store):
    found = evaluate(lm, SITE, {"a": Neurons(12, 3), "b": Neurons(12, 2)}, store, store.documents(), n_tokens=300)
    merged = found.with_control("elsewhere", found)
    assert list(merged.controls) == ["b", "elsewhere"] and list(merged.differences) == ["b"]
    old = {k: v for k, v in merged.to_json().items() if k != "differences"}
    assert from_json(old).differences == {}  # written before there were any
