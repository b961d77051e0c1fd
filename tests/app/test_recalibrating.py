"""Files without a threshold: every verb that has a model and a text at hand sets it, and the others say what to add."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monoscope.app import cli, comparison, plan, recalibrating, stages
from monoscope.app.run import Run
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.harvest.stream import stream
from monoscope.models import load_model
from monoscope.text import prepare
from monoscope.text.corpus import open_corpus
from monoscope.text.store import TokenStore
from monoscope.train import rows

SITE, FEATURES, K = "mlp_act.0", 64, 6
WORDS = "def return class import self value for in if else not None True lambda yield raise try with as from".split()


@pytest.fixture(scope="module")
def lm():
    return load_model("reference-a")


def texts(out: Path, seed: int) -> str:
    rng = random.Random(seed)
    for i in range(60):
        lines = [" ".join(rng.choices(WORDS, k=8)) + f" {i} {j}" for j in range(40)]
        (out / f"{i:02}.txt").write_text("\n".join(lines) + "\n")
    return f"files:{out}/*.txt"


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> str:
    return texts(tmp_path_factory.mktemp("text"), 0)


@pytest.fixture(scope="module")
def other(tmp_path_factory) -> str:
    """Other documents of the same kind."""
    return texts(tmp_path_factory.mktemp("other"), 1)


@pytest.fixture(scope="module")
def void(tmp_path_factory) -> Path:
    """A BatchTopK file of dictionary_learning from before its threshold was set, that names neither model nor site."""
    made = architecture("batch_topk")(512, FEATURES, k=K).requires_grad_(False)
    directions = torch.randn(FEATURES, 512, generator=torch.Generator().manual_seed(0))
    made.w_dec.copy_(torch.nn.functional.normalize(directions, dim=1))
    made.w_enc.copy_(made.w_dec)
    made.threshold.fill_(torch.nan)
    out = tmp_path_factory.mktemp("void")
    made.save(out, format="dictionary_learning")
    assert float(torch.load(out / "ae.pt", weights_only=True)["threshold"]) == -1
    return out


@pytest.fixture(scope="module")
def run(lm, corpus, tmp_path_factory) -> Run:
    """A run on the same text with a dictionary of its own."""
    out = tmp_path_factory.mktemp("runs") / "run"
    settings = {"tokens": 4096, "features": FEATURES, "k": K, "architecture": "topk", "seed": 0}
    plan.resolve(lm, site=SITE, text=corpus, **settings).settle(out)
    made = Run(out)
    made.lm = lm
    stages.text(made)
    own = architecture("topk")(512, FEATURES, k=K)
    own.provenance = {"model": lm.name, "fingerprint": lm.fingerprint, "site": SITE}
    io.save(own, out / "dictionary")
    return made


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        cli.main([str(a) for a in arguments])
    return int(exit_.value.code or 0)


def l0(dictionary: Dictionary, lm, store: TokenStore) -> float:
    """Active features a token on the test split, which nothing was calibrated on."""
    read = stream(lm, store, store.documents("test"), [SITE])
    counts = torch.cat([dictionary.encode(b.values[SITE]).counts() for b in read])
    assert len(counts) > 3000
    return float(counts.double().mean())


@pytest.mark.parametrize("format", ["monoscope", "saelens", "dictionary_learning"])
def test_convert_sets_the_threshold_on_a_text(format, void, other, run, lm, tmp_path, capsys):
    given = ("--model", "reference-a", "--site", SITE, "--text", other)
    assert call("convert", void, tmp_path / "out", "--format", format, *given) == 0
    assert f"calibrated to {K} features a token, on {rows.CALIBRATION:,} tokens of {other}" in capsys.readouterr().out
    made = io.load(tmp_path / "out")
    told = {"model": "reference-a", "site": SITE, "text": other, "n_tokens": rows.CALIBRATION}
    assert made.provenance["calibrated_on"] == told
    assert made.calibrated and l0(made, lm, run.store) == pytest.approx(K, rel=0.05)


@pytest.mark.parametrize("tokens", [1000, 4096, 20_000])
def test_convert_reads_no_document_that_a_run_of_the_same_text_tests_on(tokens, lm, tmp_path):
    (tmp_path / "text").mkdir()
    corpus = texts(tmp_path / "text", 0)
    for i in range(30):  # near-duplicates stay together, whatever their own names
        (tmp_path / f"text/copy {i}.txt").write_text((tmp_path / f"text/{i:02}.txt").read_text() + "and more\n")
    budget = {"dictionary": tokens, "fit": plan.held_out(tokens), "test": plan.held_out(tokens)}
    judging = prepare.prepare(open_corpus(corpus), lm.tokeniser, tmp_path / "run", budget)
    read = prepare.prepare(open_corpus(corpus), lm.tokeniser, tmp_path / "read", {"fit": recalibrating.READ})
    chosen = {read.names[d] for d in recalibrating.untested(read)}
    assert len(chosen) > len(read) / 3
    assert chosen.isdisjoint(judging.names[d] for d in judging.documents("test"))


@given(st.integers(1, 100_000_000))
def test_no_run_tests_on_more_than_that_share(tokens):
    held = plan.held_out(tokens)
    assert held <= plan.TESTED * (tokens + 2 * held) * (1 + 1e-12)


def test_a_text_of_one_document_is_read_whole(lm, tmp_path):
    (tmp_path / "one.txt").write_text("some words " * 50)
    for name in ("a", "b", "c", "d", "e", "f"):  # whichever way the name is drawn
        (tmp_path / "one.txt").rename(tmp_path / f"{name}.txt")
        text = open_corpus(f"files:{tmp_path}/{name}.txt")
        store = prepare.prepare(text, lm.tokeniser, tmp_path / "text", {"fit": 10})
        assert recalibrating.untested(store).tolist() == [0]
        (tmp_path / f"{name}.txt").rename(tmp_path / "one.txt")


def test_without_a_text_convert_says_what_to_add(void, corpus, tmp_path, capsys):
    out = tmp_path / "out"
    assert call("convert", void, out) == 2
    said = capsys.readouterr().err
    assert "never set" in said and "add --model MODEL --site SITE --text TEXT, and it" in said
    assert call("convert", void, out, "--model", "reference-a", "--site", SITE) == 2
    assert "add --text TEXT, and it is set" in capsys.readouterr().err
    assert call("convert", void, out, "--model", "reference-a", "--site", "resid_post.0", "--text", corpus) == 2
    assert "reads 512 numbers a token; reference-a has 128" in capsys.readouterr().err
    named = io.load(void)
    named.provenance = {"model": "reference-a", "site": SITE}
    named.save(tmp_path / "named")
    assert call("convert", tmp_path / "named", out) == 2
    assert "add --text TEXT, and it is set" in capsys.readouterr().err
    assert not out.exists()


def test_a_threshold_that_is_set_stays(corpus, tmp_path, capsys):
    made = architecture("batch_topk")(512, 9, k=2).requires_grad_(False)
    made.threshold.fill_(0.5)
    made.save(tmp_path / "a")
    assert call("convert", tmp_path / "a", tmp_path / "b", "--model", "reference-a", "--text", corpus) == 0
    assert "--text was not read" in capsys.readouterr().out
    again = io.load(tmp_path / "b")
    assert torch.equal(again.threshold, made.threshold) and "calibrated_on" not in again.provenance


def test_catalogue_sets_the_threshold_on_its_fit_split(void, corpus, lm, tmp_path, capsys):
    out = tmp_path / "run"
    given = ("--model", "reference-a", "--site", SITE, "--text", corpus, "--tokens", 4096)
    assert call("catalogue", out, "--dictionary", void, *given) == 0
    said = " ".join(capsys.readouterr().out.split())
    made = Run(out)
    held = made.store.tokens_in("fit")
    n_tokens = min(held, rows.CALIBRATION)
    assert f"calibrated to {K} features a token, on {n_tokens:,} tokens of {corpus}" in said
    assert made.dictionary.provenance["calibrated_on"]["n_tokens"] == n_tokens
    assert l0(made.dictionary, lm, made.store) == pytest.approx(K, rel=0.05)
    assert call("catalogue", out, "--dictionary", void, *given) == 0  # what is there is not calibrated again
    assert "calibrated to" not in capsys.readouterr().out


def test_a_comparison_sets_the_threshold_on_the_fit_split_of_the_run_that_judges(void, run):
    found = comparison.compare([run.path, void])
    (note,) = [note for note in found.notes if "calibrated to" in note]
    assert note.startswith(f"{found.names[1]}: its file sets no threshold")
    assert found.metrics()[found.names[1]]["l0"].value == pytest.approx(K, rel=0.05)
    assert not io.load(void).calibrated  # the file stays as it is
