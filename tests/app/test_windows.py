"""Text is cut as a dictionary from elsewhere saw it, from the harvest to the pages, and what differs is said."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from monoscope.app import cli, comparison, plan, windows
from monoscope.app.given import remarks
from monoscope.app.run import Run
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.errors import MonoscopeError
from monoscope.harvest.stream import Stream, stream
from monoscope.models import LanguageModel, load_model
from monoscope.text import prepare
from monoscope.text.corpus import open_corpus
from monoscope.text.store import TokenStore

SITE, TOKENS = "mlp_act.0", 32


@pytest.fixture
def lm() -> LanguageModel:
    return load_model("reference-a")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("text")
    for i in range(40):
        lines = [f"def f{i}_{j}(x):\n    return x + {i * j} if x else None" for j in range(30)]
        (out / f"{i:02}.txt").write_text("\n".join(lines))
    return f"files:{out}/*.txt"


def given(**told: object) -> Dictionary:
    made = architecture("topk")(512, 32, k=4).requires_grad_(False)
    made.w_dec.copy_(torch.randn(32, 512, generator=torch.Generator().manual_seed(0)) / 20)
    made.w_enc.copy_(made.w_dec)
    made.provenance = {"model": "reference-a", "site": SITE, **({"windows": told} if told else {})}
    return made


def alone(lm: LanguageModel, store: TokenStore, document: int, begins: list[int], room: int) -> torch.Tensor:
    """A document's rows from one plain pass for each window."""
    tokens = store.tokens[store.token_offsets[document] : store.token_offsets[document + 1]].tolist()
    rows = []
    for first in range(0, len(tokens), room):
        ids = torch.tensor([[*begins, *tokens[first : first + room]]])
        kept: list[torch.Tensor] = []
        hook = lm.model.transformer.h[0].mlp.act.register_forward_hook(lambda m, i, o, kept=kept: kept.append(o))
        lm.model(input_ids=ids)
        hook.remove()
        rows.append(kept[0][0, len(begins) :])
    return torch.cat(rows)


def test_a_harvest_reads_windows_of_that_length(lm, corpus, tmp_path):
    store = prepare.prepare(open_corpus(corpus), lm.tokeniser, tmp_path / "text", {"fit": 2000})
    windows.cut_for(lm, given(context_size=TOKENS))
    assert (lm.window, lm.context) == (TOKENS, 256)
    (bos,) = lm.tokeniser.prefix
    chosen = [0, 1]
    found = torch.cat([rows.values[SITE] for rows in stream(lm, store, chosen, [SITE])])
    wanted = torch.cat([alone(lm, store, d, [bos], TOKENS - 1) for d in chosen])
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    shuffled = Stream(lm, store, chosen, [SITE], dtype=torch.float32).chunk(0)
    assert sorted(shuffled.positions.tolist()) == sorted(p for d in chosen for p in range(store.length(d)))
    assert float(shuffled.values[SITE].double().sum()) == pytest.approx(float(wanted.double().sum()), rel=1e-5)
    assert lm.shuffled(0).window == TOKENS


def without_bos(lm: LanguageModel) -> LanguageModel:
    lm.tokeniser.fast.bos_token, lm.tokeniser.prefix = None, []
    assert lm.tokeniser.fast.bos_token_id is None
    return lm


def test_a_tokeniser_without_a_bos_begins_windows_as_transformer_lens_does(lm, corpus, tmp_path):
    store = prepare.prepare(open_corpus(corpus), without_bos(lm).tokeniser, tmp_path / "text", {"fit": 2000})
    made = given(context_size=TOKENS, prepend_bos=True)
    windows.cut_for(lm, made)
    found = torch.cat([rows.values[SITE] for rows in stream(lm, store, [0], [SITE])])
    eos = lm.tokeniser.fast.eos_token_id
    torch.testing.assert_close(found, alone(lm, store, 0, [eos], TOKENS - 1), rtol=1e-4, atol=1e-5)
    assert any("begins with" in said and "no BOS" in said for said in windows.remarks(made, lm))


@pytest.mark.parametrize(
    ("told", "bos", "said"),
    [
        ({}, True, []),
        ({"context_size": 256, "prepend_bos": True}, True, []),
        ({"context_size": 1024, "prepend_bos": True}, True, []),
        ({"context_size": 32}, True, ["text is read in windows of 32 tokens, as in its training, not of 256"]),
        ({"context_size": 1}, True, []),
        ({"context_size": "32", "prepend_bos": "no", "seqpos_slice": 5}, True, []),
        ({"prepend_bos": False}, True, ["no BOS was put before the windows of its training"]),
        ({"prepend_bos": False}, False, []),
        ({"prepend_bos": True}, False, ["as in its training: the tokeniser has no BOS"]),
        ({"prepend_bos": True, "model_class_name": "AutoModelForCausalLM"}, False, []),
        ({"seqpos_slice": [5, None]}, True, ["trained on the positions 5: of its windows alone"]),
    ],
)
def test_what_is_said(told, bos, said, lm):
    lm = lm if bos else without_bos(lm)
    made = given(**told)
    windows.cut_for(lm, made)
    found = windows.remarks(made, lm)
    assert len(found) == len(said) and all(part in whole for part, whole in zip(said, found, strict=True))


def test_what_is_said_where_windows_are_others(lm):
    made = given(context_size=32)
    assert windows.remarks(made, lm) == ["it was trained on windows of 32 tokens, and is read in ones of 256"]
    lm.window = 64
    assert windows.remarks(given(context_size=1024), lm) == [
        "it was trained on windows of 1,024 tokens, and is read in ones of 64"
    ]
    made = given(prepend_bos=True)
    assert "here they do not" in windows.remarks(made, without_bos(lm))[0]


def test_what_the_file_does_not_say_of_rows_is_said(lm):
    made = given()
    assert remarks(made, lm) == []
    made.provenance["row_mean"] = "not stated"
    assert ["does not say whether each row's mean was taken out" in said for said in remarks(made, lm)] == [True]


def call(*arguments: object) -> int:
    with pytest.raises(SystemExit) as exit_:
        cli.main([str(a) for a in arguments])
    return int(exit_.value.code or 0)


def test_a_run_of_such_a_dictionary_reads_such_windows_everywhere(lm, corpus, tmp_path, capsys):
    given(context_size=TOKENS, prepend_bos=False).save(tmp_path / "theirs", format="saelens")
    assert json.loads((tmp_path / "theirs/cfg.json").read_text())["metadata"]["context_size"] == TOKENS
    asked = ("catalogue", tmp_path / "run", "--dictionary", tmp_path / "theirs", "--text", corpus, "--tokens", 4096)
    assert call(*asked) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "read in windows of 32 tokens, as in its training, not of 256" in said and "no BOS was put" in said
    run = Run(tmp_path / "run")
    assert (run.plan.window, run.plan.eos_first, run.lm.window) == (TOKENS, False, TOKENS)
    d = int(run.store.documents("test")[0])
    rows = alone(run.lm, run.store, d, run.lm.tokeniser.prefix, TOKENS - 1)
    wanted = run.dictionary.encode(rows).to_dense().amax(0)
    text = run.store.text(d).decode()
    read = torch.zeros(32)
    for token in run.reader.read(text)["tokens"]:
        for feature in token["features"]:
            read[feature["id"]] = max(float(read[feature["id"]]), feature["value"])
    torch.testing.assert_close(read, wanted, rtol=1e-3, atol=1e-4)
    other = given(context_size=64)
    other.save(tmp_path / "other")
    notes = comparison.compare([run.path, tmp_path / "other"]).notes
    assert "other: it was trained on windows of 64 tokens, and is read in ones of 32" in notes
    assert comparison.compare([run.path, tmp_path / "other"]).evaluation.facts["context"] == TOKENS


def test_a_run_that_was_begun_before_keeps_its_windows(lm, corpus, tmp_path):
    made = given(context_size=TOKENS)
    settled = plan.resolve(
        lm, site=None, text=corpus, tokens=4096, features=None, k=None, architecture="", seed=0, dictionary=made
    )
    assert settled.window == TOKENS
    replace(settled, window=None).settle(tmp_path / "run")
    assert settled.settle(tmp_path / "run").window is None


def test_convert_calibrates_on_such_windows(corpus, tmp_path, capsys):
    made = architecture("batch_topk")(512, 32, k=4).requires_grad_(False)
    made.w_enc.copy_(given().w_enc)
    made.threshold.fill_(torch.nan)
    made.provenance = given(context_size=TOKENS).provenance
    made.save(tmp_path / "a")
    assert call("convert", tmp_path / "a", tmp_path / "b", "--text", corpus) == 0
    assert "read in windows of 32 tokens" in " ".join(capsys.readouterr().out.split())
    assert io.load(tmp_path / "b").calibrated


def test_a_model_of_another_name_is_spoken_of_where_it_may_be_another(lm):
    made = given()
    for named, said in (("someone/reference-a", True), ("reference-a", False), (7, True)):  # 7: of a stranger's file
        made.provenance = {"model": named}
        assert any(f"names the model {named}" in remark for remark in remarks(made, lm)) == said
    made.provenance = {"model": "someone/reference-a", "fingerprint": lm.fingerprint}
    assert remarks(made, lm) == []


def test_a_dictionary_that_does_not_say_where_it_was_trained_is_not_put_anywhere(lm, corpus):
    made = given()
    asked: dict[str, object] = {
        "text": corpus,
        "tokens": 4096,
        "features": None,
        "k": None,
        "architecture": "",
        "seed": 0,
    }
    made.provenance = {"model": "reference-a", "hook": "blocks.0.hook_q"}
    with pytest.raises(MonoscopeError, match=r"does not say at which site .* its file has blocks\.0\.hook_q") as error:
        plan.resolve(lm, site=None, dictionary=made, **asked)
    assert "--site" in str(error.value.fix)
    site = str(plan.default_site(lm))
    assert plan.resolve(lm, site=site, dictionary=made, **asked).site == site


def test_a_tuned_model_is_not_refused_and_spoken_of(lm, monkeypatch):
    made, site = given(), str(plan.default_site(lm))
    made.provenance = {"model": "google/gemma-2-2b"}
    monkeypatch.setattr(lm, "name", "google/gemma-2-2b-it")
    plan.refuse_stranger(made, lm, site)
    assert ["another tuning" in remark for remark in remarks(made, lm)] == [True]
    monkeypatch.setattr(lm, "name", "google/gemma-2-9b-it")
    with pytest.raises(MonoscopeError, match=r"trained on google/gemma-2-2b, not on google/gemma-2-9b-it"):
        plan.refuse_stranger(made, lm, site)
