"""Several dictionaries in one pass: what is judged on what, how it is printed, drawn and written for others."""

from __future__ import annotations

import io as text_io
import json
import random
import shutil
from pathlib import Path

import pytest
import torch
from rich.console import Console

from monoscope.app import cli, comparison, comparison_table, frontiers, plan, saebench, stages
from monoscope.app.run import Run
from monoscope.dictionary import io, jumprelu, topk
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Estimate
from monoscope.models import load_model

SITE = "mlp_act.0"
WORDS = "def return class import self value for in if else not None True lambda yield raise try with as from".split()


@pytest.fixture(scope="module")
def lm():
    return load_model("reference-a")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
    out = tmp_path_factory.mktemp("text")
    rng = random.Random(0)
    for i in range(60):
        lines = [" ".join(rng.choices(WORDS, k=8)) + f" {i} {j}" for j in range(10)]
        (out / f"{i:02}.txt").write_text("\n".join(lines) + "\n")
    return f"files:{out}/*.txt"


def made(lm, out: Path, corpus: str, *, seed: int = 0, k: int = 8, features: int = 64, init: int = 0) -> Path:
    """A run whose dictionary was never trained: random directions, tied."""
    resolved = plan.resolve(
        lm, site=SITE, target=None, text=corpus, tokens=1024, features=features, k=k, architecture="topk", seed=seed
    )
    resolved.settle(out)
    run = Run(out)
    run.lm = lm
    stages.text(run)
    d = topk.Architecture(512, features, k=k)
    d.architecture = "topk"
    with torch.no_grad():
        rows = torch.nn.functional.normalize(
            torch.randn(features, 512, generator=torch.Generator().manual_seed(init)), dim=1
        )
        d.w_dec.copy_(rows)
        d.w_enc.copy_(rows)
    d.provenance = {"model": lm.name, "fingerprint": lm.fingerprint, "site": SITE, "text": corpus, "seed": seed}
    io.save(d, out / "dictionary")
    return out


@pytest.fixture(scope="module")
def a(lm, corpus, tmp_path_factory) -> Path:
    return made(lm, tmp_path_factory.mktemp("runs") / "a", corpus)


@pytest.fixture(scope="module")
def b(lm, corpus, tmp_path_factory) -> Path:
    return made(lm, tmp_path_factory.mktemp("runs") / "b", corpus, k=16, init=1)


@pytest.fixture(scope="module")
def found(a, b):
    return comparison.compare([a, b], "controls")


def test_all_are_judged_on_the_same_tokens(found):
    assert list(found.metrics()) == ["a", "b", "pca", "neurons"]
    assert found.metrics()["a"]["l0"].value == 8 and found.metrics()["b"]["l0"].value == 16
    assert found.metrics()["neurons"]["l0"].value <= 8  # controls at the first's L0
    assert len({m["ce"].value for m in found.metrics().values()}) == 1
    # the same split of the same text: nothing to leave out, nothing unknown
    assert [note.split(" beside")[0] for note in found.notes] == [
        "no frozen decoder (train --controls)",
        "no random model (quickstart --controls full)",
    ]
    written = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert list(written["dictionaries"]) == ["a", "b"] and list(written["controls"]) == ["pca", "neurons"]
    assert list(written["differences"]) == ["b", "pca", "neurons"] and written["first"] == "a"
    gap = written["differences"]["b"]["fvu"]
    assert gap["value"] == pytest.approx(
        written["dictionaries"]["a"]["fvu"]["value"] - written["dictionaries"]["b"]["fvu"]["value"]
    )
    assert gap["within_noise"] is (gap["low"] <= 0 <= gap["high"])
    assert set(written["right_l0"]) == {"a", "b"} and written["right_l0"]["a"]["because"]
    assert set(written["density"]) == {"a", "b", "pca", "neurons"}


def test_stability_is_of_dictionaries_of_one_shape(lm, a, found, corpus, tmp_path):
    pairs = found.to_json()["stability"]["pairs"]
    assert [(p["first"], p["second"]) for p in pairs] == [("a", "b")]
    assert found.stability.mean.value == pytest.approx(found.stability.random.value, abs=0.05)  # both are random
    wider = io.load(made(lm, tmp_path / "wider", corpus, features=96))
    assert comparison._stability({"a": io.load(a), "wider": wider}, 0) is None
    assert comparison._stability({"a": io.load(a)}, 0) is None


def test_many_dictionaries_are_not_matched_each_with_each_and_a_note_says_so(a, b, monkeypatch):
    monkeypatch.setattr(comparison, "MATCHED", 1)
    many = comparison.compare([a, b])
    assert many.stability is None and many.to_json()["stability"] is None
    assert [note for note in many.notes if note.startswith("no PW-MCC: of more than 1 ")]


def test_few_documents_are_said_to_be_few(a, b, found, monkeypatch):
    n = found.evaluation.facts["n_documents"]

    def said(what) -> bool:
        return any(note.startswith(f"only {n} documents judge") for note in what.notes)

    assert said(found) == (n < comparison.FEW)
    bound = n if n < comparison.FEW else n + 1  # the other way round
    monkeypatch.setattr(comparison, "FEW", bound)
    assert said(comparison.compare([a, b])) == (n < bound)


def test_noise_is_an_interval_that_holds_zero():
    assert comparison.within_noise(Estimate(0.1, -0.1, 0.2)) is True
    assert comparison.within_noise(Estimate(0.0, 0.0, 0.0)) is True
    assert comparison.within_noise(Estimate(0.1, 0.05, 0.2)) is False
    assert comparison.within_noise(Estimate()) is None


@pytest.mark.parametrize("width", [80, 100])
def test_the_table_fits_and_marks_noise(found, width):
    out = text_io.StringIO()
    comparison_table.print_comparison(found, Console(file=out, width=width))
    text = out.getvalue()
    assert all(len(line) <= width for line in text.splitlines())
    facts = found.evaluation.facts
    assert f"{facts['n_documents']} documents; loss and KL on {facts['n_loss_tokens']:,} of the tokens" in text
    assert "a less" in text and "raw" not in text and "PCA" in text
    assert f"{comparison_table.NOISE} within noise" in text and "PW-MCC 0." in text


def test_long_names_are_folded_after_their_commas_and_lose_nothing():
    name = "k=16,architecture=hierarchical_topk,rate=0.001"
    assert comparison_table.folded("hierarchical_topk") == "hierarchical_topk"
    assert comparison_table.folded(name).split("\n") == ["k=16,architecture=", "hierarchical_topk,", "rate=0.001"]
    for text in (name, "x" * 50, "a_b-" * 20, ",,", "topk less"):
        lines = comparison_table.folded(text).split("\n")
        assert max(map(len, lines)) <= comparison_table.NAMES


def test_six_architectures_fit_in_80_columns_without_folding(found):
    names = ["topk", "batch_topk", "hierarchical_topk", "matching_pursuit", "jumprelu", "matryoshka"]
    first = {**found.evaluation.differences["b"], "loss_recovered_mean": Estimate(-0.123, -0.234, -0.012)}
    out = text_io.StringIO()
    comparison_table._print(
        "topk less", dict.fromkeys(names, first), comparison_table.SCORES, Console(file=out, width=80), None
    )
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= 80
    for name in names:
        (line,) = (line for line in lines if line.startswith(f"{name} ") and "less" not in line)
        assert line.count("±") == 4


def test_another_split_s_training_documents_are_left_out(lm, a, corpus, tmp_path):
    other = made(lm, tmp_path / "other", corpus, seed=1)
    run, theirs = Run(a), Run(other)
    kept, notes = comparison.unseen(run, [comparison.contestant(a, "a"), comparison.contestant(other, "other")])
    trained = {theirs.store.names[i] for i in theirs.store.documents("dictionary")}
    mine = {run.store.names[i] for i in run.store.documents("test")}
    assert trained & mine  # or this tests nothing
    assert {run.store.names[i] for i in kept} == mine - trained
    assert notes == [f"other: {len(mine & trained)} of {len(mine)} documents left out: it was trained on them"]


def test_text_that_cannot_be_checked_is_noted(a, corpus, tmp_path):
    def note(text: str | None) -> str:
        d = io.load(a)
        d.provenance = {k: v for k, v in {**d.provenance, "text": text}.items() if v is not None}
        d.save(tmp_path / str(text)[-9:-6])
        (said,) = comparison.unseen(Run(a), [comparison.contestant(tmp_path / str(text)[-9:-6], "d")])[1]
        return said

    assert (
        "does not say" in note(None) and "may have seen some" in note(corpus) and "other text" in note("files:else.txt")
    )


def test_what_cannot_be_compared_is_refused(lm, a, corpus, tmp_path):
    io.load(a).save(tmp_path / "alone")
    with pytest.raises(MonoscopeError, match="none of these is a run"):
        comparison.compare([tmp_path / "alone"])
    with pytest.raises(MonoscopeError, match="twice"):
        comparison.compare([a, a / "."])
    with pytest.raises(MonoscopeError, match="opponents"):
        comparison.compare([a], "control")
    stranger = io.load(a)
    stranger.provenance["fingerprint"] = "0" * 64
    stranger.save(tmp_path / "stranger")
    with pytest.raises(MonoscopeError, match="whose weights differ"):
        comparison.compare([a, tmp_path / "stranger"])
    same = made(lm, tmp_path / "same", corpus, seed=0)
    run = Run(same)
    swap = {"dictionary": "test", "test": "dictionary"}
    listed = json.loads((same / "text" / "documents.json").read_text())
    listed["splits"] = [swap.get(s, s) for s in listed["splits"]]
    (same / "text" / "documents.json").write_text(json.dumps(listed))
    manifest = json.loads((same / "text" / "manifest.json").read_text())
    manifest["files"]["documents.json"]["bytes"] = (same / "text" / "documents.json").stat().st_size
    (same / "text" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(MonoscopeError, match="no held-out text is left"):
        comparison.unseen(Run(a), [comparison.contestant(a, "a"), comparison.Contestant("same", run.dictionary, run)])


def test_trained_controls_stand_beside_a_comparison_the_random_one_on_its_own_model(lm, corpus, tmp_path, monkeypatch):
    out = made(lm, tmp_path / "run", corpus)
    for at in ("frozen_decoder", "random_model/dictionary"):
        io.load(out).save(out / "controls" / at)
    monkeypatch.setattr(comparison, "FEW", 2)
    found = comparison.compare([out], "controls")
    assert list(found.metrics()) == ["run", "frozen_decoder", "pca", "neurons", "random_model"] and not found.notes
    out = text_io.StringIO()
    comparison_table.print_comparison(found, Console(file=out, width=100))
    assert f"{found.evaluation.facts['n_loss_tokens']:,} of the tokens, the random model's on more" in out.getvalue()
    own, frozen, random = (found.metrics()[name] for name in ("run", "frozen_decoder", "random_model"))
    assert own["ce"].value == frozen["ce"].value != random["ce"].value  # of another model
    assert "random_model" not in found.evaluation.differences


def test_a_topk_dictionary_is_judged_at_fewer_features_too(lm, a, corpus, tmp_path):
    found = comparison.compare([a, Path(f"{a}@3"), Path(f"{a}/dictionary@2")])
    assert found.views == ("a@3", "a@2") and found.stability is None  # there is one dictionary
    assert found.notes[-1].startswith("a@3, a@2: the weights of another here")
    with pytest.raises(MonoscopeError, match="the same dictionary is named twice"):
        comparison.compare([a, a / "dictionary"])
    assert [m["l0"].value for m in found.metrics().values()] == [8, 3, 2] and found.names == ("a", "a@3", "a@2")
    assert comparison.viewed(tmp_path / "x@y") == (tmp_path / "x@y", None)
    (tmp_path / "mine@2").mkdir()
    assert comparison.viewed(tmp_path / "mine@2") == (tmp_path / "mine@2", None)  # a folder's own name
    with pytest.raises(MonoscopeError, match="k = 9 of a dictionary trained for up to 8"):
        comparison.compare([a, Path(f"{a}@9")])
    jumping = jumprelu.Architecture(512, 64)
    jumping.save(tmp_path / "jumping")
    with pytest.raises(MonoscopeError, match="a jumprelu dictionary has no codes of a smaller k"):
        comparison.compare([a, Path(f"{tmp_path}/jumping@4")])


@pytest.fixture(scope="module")
def transcoder(lm, corpus, tmp_path_factory) -> Path:
    """A run whose skip transcoder was never trained."""
    out = tmp_path_factory.mktemp("runs") / "transcoder"
    d = topk.Architecture(128, 32, k=4, skip=True)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weights in (d.w_enc, d.w_dec, d.w_skip):
            weights.copy_(torch.randn(weights.shape, generator=generator) / 12)
    d.provenance = {"model": lm.name, "fingerprint": lm.fingerprint, "site": "mlp_in.0", "target": "mlp_out.0"}
    plan.resolve(
        lm, site=None, text=corpus, tokens=1024, features=None, k=None, architecture="", seed=0, dictionary=d
    ).settle(out)
    run = Run(out)
    run.lm = lm
    stages.text(run)
    stages.adopt(run, d, print)
    return out


def test_transcoders_are_compared_where_they_write(transcoder):
    found = comparison.compare([transcoder], "controls")
    assert list(found.metrics()) == ["transcoder", "linear_map"]
    assert (found.evaluation.facts["site"], found.evaluation.facts["target"]) == ("mlp_in.0", "mlp_out.0")
    assert found.metrics()["transcoder"]["l0"].value == found.metrics()["linear_map"]["l0"].value == 4
    assert found.metrics()["linear_map"]["fvu"].value < min(1, found.metrics()["transcoder"]["fvu"].value)
    out = text_io.StringIO()
    comparison_table.print_comparison(found, Console(file=out, width=100))
    assert "mlp_in.0 → mlp_out.0 of" in out.getvalue() and "linear map" in out.getvalue()


def test_a_transcoder_s_run_is_evaluated_beside_a_linear_map(transcoder):
    run = Run(transcoder)
    stages.evaluation(run, stages.trained(run))
    assert list(run.evaluation["controls"]) == ["linear_map"] and run.evaluation["target"] == "mlp_out.0"


def test_only_what_reads_and_writes_the_same_is_compared(lm, a, transcoder, tmp_path):
    with pytest.raises(MonoscopeError, match=r"trained at mlp_in\.0, not at mlp_act\.0"):
        comparison.compare([a, transcoder])
    for name, change, message in (
        ("elsewhere", {"target": "resid_post.0"}, "trained to write resid_post.0, not mlp_out.0"),
        ("autoencoder", {"target": None}, "trained to write mlp_in.0, not mlp_out.0"),
    ):
        other = io.load(transcoder)
        other.provenance = {k: v for k, v in (other.provenance | change).items() if v is not None}
        other.save(tmp_path / name)
        with pytest.raises(MonoscopeError, match=f"{name} cannot be compared with transcoder: .*{message}"):
            comparison.compare([transcoder, tmp_path / name])


def test_a_control_of_a_dictionary_from_elsewhere_is_of_its_kind(lm, transcoder, corpus):
    own = Run(transcoder).plan
    assert own.skip and own.recipe().settings == {"skip": True, "k": 4}
    assert own.recipe(k=7).settings["k"] == 7
    asked = {"text": corpus, "tokens": 1024, "features": None, "k": None, "architecture": "", "seed": 0}
    rows = plan.resolve(lm, site=SITE, dictionary=topk.Architecture(512, 64, k=8, row_norm=True), **asked)
    assert rows.recipe().normalising.row_norm and not rows.skip
    penalised = plan.resolve(lm, site=SITE, dictionary=jumprelu.Architecture(512, 64), **asked)
    assert (penalised.k, penalised.recipe().options.get("l0"), penalised.recipe(k=9).options["l0"]) == (0, None, 9)


def test_a_sweep_is_no_run_of_one_dictionary(a, tmp_path):
    shutil.copy(a / plan.NAME, tmp_path / plan.NAME)
    with pytest.raises(MonoscopeError, match="the run has no dictionary"):
        _ = Run(tmp_path).dictionary
    (tmp_path / "sweep").mkdir()
    with pytest.raises(MonoscopeError, match="this is a sweep"):
        _ = Run(tmp_path).dictionary


def test_a_file_that_does_not_say_where_it_writes_needs_to_be_told(lm, transcoder, corpus):
    d = io.load(transcoder)
    d.provenance["target"] = "unknown"
    asked = {"text": corpus, "tokens": 1024, "features": None, "k": None, "architecture": "", "seed": 0}
    with pytest.raises(MonoscopeError, match="does not say where it writes"):
        plan.resolve(lm, site=None, dictionary=d, **asked)
    assert plan.resolve(lm, site=None, target="mlp_out.0", dictionary=d, **asked).target == "mlp_out.0"
    with pytest.raises(MonoscopeError, match=r"writes 128 numbers a token; .* has 512 at mlp_act\.0"):
        plan.resolve(lm, site=None, target="mlp_act.0", dictionary=d, **asked)


def test_names_are_short_and_distinct(tmp_path):
    paths = [tmp_path / "x" / "run", tmp_path / "y" / "run", tmp_path / "z" / "dictionary", tmp_path / "pca"]
    assert comparison.distinct(paths) == [str(paths[0]), str(paths[1]), "z", str(paths[3])]


def test_a_sweep_over_k_is_one_series():
    swept = ["architecture=topk,k=8", "architecture=l1,k=8", "architecture=topk,k=16", "k=4,seed=1", "mine", "a,b"]
    assert frontiers.grouped(swept) == [
        ("topk", [swept[0], swept[2]]), ("l1", [swept[1]]), ("seed=1", [swept[3]]), ("mine", ["mine"]), ("a,b", ["a,b"])
    ]  # fmt: skip
    views = ["architecture=hierarchical_topk,k=64@8", "architecture=hierarchical_topk,k=64@16"]
    assert frontiers.grouped(views) == [("hierarchical_topk, k=64 cut short", views)]
    assert frontiers.grouped(["k=4", "k=8"]) == [("k=4", ["k=4"]), ("k=8", ["k=8"])]


def test_frontiers_are_drawn_for_what_applies(found, tmp_path):
    recovers = {"loss_recovered_mean": Estimate(0.8, 0.7, 0.9)}  # as no random model does
    metrics = {n: {**m, **recovers} for n, m in found.metrics().items()}
    written = frontiers.draw(metrics, found.names, tmp_path / "figures")
    assert [p.name for p in written] == [f"l0-{m}.{k}" for m in ("fvu", "loss_recovered_mean") for k in ("svg", "png")]
    assert written[0].read_text().count("PathCollection") + written[0].read_text().count("LineCollection") >= 4
    headless = {n: {**m, "loss_recovered_mean": Estimate()} for n, m in metrics.items()}
    again = frontiers.draw(headless, found.names, tmp_path / "headless")
    assert [p.name for p in again] == [p.name for p in written[:2]]
    assert all(one.read_bytes() == other.read_bytes() for one, other in zip(again, written, strict=False))


@pytest.mark.parametrize(
    ("values", "low", "scale"),
    [((8, 64), 7, "log"), ((8, 31), 7, "linear"), ((0, 64), 0, "linear"), ((8, 64), -1, "linear")],
)
def test_axes_are_logarithmic_where_values_are_above_0_and_differ_by_much(values, low, scale):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    figure, axes = pyplot.subplots()
    frontiers.logarithmic(axes, "x", [Estimate(values[0], low, 9.0), Estimate(float(values[1]))])
    assert axes.get_xscale() == scale
    if scale == "log":
        axes.set_xlim(7, 70)
        figure.canvas.draw()
        shown = [t.get_text() for t in axes.get_xticklabels() if 7 <= t.get_position()[0] <= 70]
        assert shown == ["8", "16", "32", "64"]
    pyplot.close(figure)


def test_without_matplotlib_there_is_a_line(found, tmp_path, monkeypatch):
    monkeypatch.setattr(frontiers, "find_spec", lambda name: None)
    (said,) = comparison.write(found, tmp_path / "figures", None)
    assert "plots" in said and not (tmp_path / "figures").exists()


def test_saebench_layout(found, a, tmp_path):
    said = comparison.write(found, None, tmp_path / "core.json")
    assert said == [f"wrote {tmp_path / 'core-a.json'}", f"wrote {tmp_path / 'core-b.json'}"]
    written = json.loads((tmp_path / "core-a.json").read_text())
    metrics, own = written["eval_result_metrics"], found.metrics()["a"]
    assert written["eval_type_id"] == "core" and written["sae_cfg_dict"]["d_sae"] == 64
    assert f"torch.{written['eval_config']['llm_dtype']}" == str(Run(a).lm.model.dtype)
    assert metrics["sparsity"]["l0"] == 8 and metrics["sparsity"]["l1"] > 0
    assert metrics["model_performance_preservation"]["ce_loss_score"] == own["loss_recovered_zero"].value
    assert metrics["reconstruction_quality"]["explained_variance"] == pytest.approx(1 - own["fvu"].value)
    kl = metrics["model_behavior_preservation"]
    assert kl["kl_div_score"] == pytest.approx(1 - kl["kl_div_with_sae"] / kl["kl_div_with_ablation"])
    headless = {**own, "kl": Estimate(), "kl_zero": Estimate(), "loss_recovered_zero": Estimate()}
    misc, density = metrics["misc_metrics"], found.details()["density"]["a"]
    assert misc["freq_over_10_percent"] == pytest.approx(own["dense_fraction"].value)
    assert misc["freq_over_10_percent"] < misc["freq_over_1_percent"] <= 1  # 8 of 64: each is active on an eighth
    assert misc["freq_over_10_percent"] < misc["normalized_freq_over_10_percent"] < 1
    nearest = torch.nn.functional.normalize(found.dictionaries["a"].w_enc.detach().double(), dim=1)
    cosine = (nearest @ nearest.T - 2 * torch.eye(64)).max(1).values.mean()
    assert misc["average_max_encoder_cosine_sim"] == pytest.approx(float(cosine))
    nothing = saebench.core("a", headless, found.evaluation.facts, found.dictionaries["a"], "text", density)[
        "eval_result_metrics"
    ]
    assert nothing["model_behavior_preservation"] == {
        "kl_div_score": -1, "kl_div_with_ablation": -1, "kl_div_with_sae": -1,
    }  # fmt: skip


def test_the_verb(a, b, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", str(a), str(b), "--json", "--saebench", str(tmp_path / "s.json")])
    assert ended.value.code == 0
    written = json.loads(capsys.readouterr().out)
    assert list(written["dictionaries"]) == ["a", "b"] and written["controls"] == {}
    assert (tmp_path / "s-b.json").is_file()
    with pytest.raises(SystemExit):
        cli.main(["evaluate", str(a)])
    shown = capsys.readouterr().out
    assert "this dictionary" in shown and "L0 of this dictionary" in shown
    assert json.loads((a / "evaluation.json").read_text())["right_l0"]["says"] in ("too low", "not known")
    with pytest.raises(SystemExit) as ended:
        cli.main(["evaluate", str(a), str(tmp_path / "nowhere")])
    assert ended.value.code == 2
    capsys.readouterr()
    for flags in (("--concepts", str(b)), ("--letters", "--concepts"), ("--letters", "--plots", str(tmp_path))):
        with pytest.raises(SystemExit) as ended:
            cli.main(["evaluate", str(a), *flags])
        assert ended.value.code == 2 and "each look at one run" in capsys.readouterr().err
