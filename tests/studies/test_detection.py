"""Fitting detectors in a planted world: one feature of a dictionary fires on the sign, and on nothing else."""

from __future__ import annotations

import functools
import io as io_
import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

import monoscope as ms
from monoscope.app import cli, detecting
from monoscope.dictionary import io
from monoscope.dictionary.base import architecture
from monoscope.errors import MonoscopeError
from monoscope.studies.detection import Subject, dense, examples, features, fit, fitting, seeing, telling, words
from monoscope.studies.detection.detector import Aggregated, Detector, Part, columns
from monoscope.studies.detection.examples import CALIBRATE, FIT, TEST, Example, Texts
from monoscope.studies.detection.judging import judge
from monoscope.watch import drift
from monoscope.watch import rules as rules_

SITE, FEATURES, PLANTED = "transformer.wte:out", 12, 7  # before positions are added
WORDS = "size name path list index value of the return None self print for in data".split()


@functools.cache
def model():
    return ms.load_model("reference-a")


def sign() -> int:
    (token,) = model().tokeniser.text("@").tokens.tolist()
    return token


@pytest.fixture(scope="module")
def dictionary(tmp_path_factory):
    """Features in random directions that fire now and then, and one that fires on the token ``@`` alone."""
    embedding = model().model.get_input_embeddings().weight.detach()
    made = architecture("l1")(embedding.shape[1], FEATURES).requires_grad_(False)
    generator = torch.Generator().manual_seed(0)
    for tensor in (*made.state_dict().values(), *made.buffers()):
        tensor.copy_(torch.randn(tensor.shape, generator=generator) / 4)
    at = embedding[sign()]
    made.w_enc -= (made.w_enc @ at)[:, None] * at / at.square().sum()  # the others do not see the sign
    made.w_enc[PLANTED], made.b_enc[PLANTED] = at / at.square().sum(), -0.95
    if hasattr(made, "b_dec"):
        made.b_dec.zero_()
    made.provenance = {"model": "reference-a", "site": SITE, "fingerprint": model().fingerprint}
    x = embedding.clone()
    assert made.encode(x).to_dense()[:, PLANTED].nonzero().flatten().tolist() == [sign()]
    path = tmp_path_factory.mktemp("planted") / "dictionary"
    io.save(made, path)
    return path


def texts(n: int, seed: int = 0) -> list[Example]:
    """Lines of words; the positives hold the sign, the others another one in its place."""
    rng, made = random.Random(seed), []
    for i in range(n):
        said = [f"{rng.choice(WORDS)}{seed}{i}{j}" for j in range(rng.randint(4, 12))]
        holds = rng.random() < 0.4
        said.insert(rng.randrange(len(said)), "a@b" if holds else "a-b")
        text = " ".join(said)
        place = text.find("@")
        made.append(Example(text, holds, ((place, place + 1),) if holds else ()))
    return made


@pytest.fixture(scope="module")
def subject(dictionary):
    return Subject(model(), SITE, str(dictionary), lambda feature: f"number {feature}")


@pytest.fixture(scope="module")
def parts():
    return examples.split(texts(260))


@pytest.fixture(scope="module")
def fitted(subject, parts):
    return fit(subject, parts, 0.1)


def test_the_planted_feature_is_the_rule_and_it_explains_itself(fitted):
    rule = fitted.chosen.detectors[features.NAME]
    assert [(p.feature, p.label) for p in rule.parts] == [(PLANTED, f"number {PLANTED}")]
    assert rule.parts[0].name == f"feature {PLANTED}: number {PLANTED}"


def test_all_that_can_see_the_sign_find_it_in_texts_that_fitted_nothing(fitted, parts):
    judged = fitted.judge(parts[TEST])
    assert set(judged) == {features.NAME, dense.DENSE, dense.DIFFERENCE, words.UNIGRAM, words.BAG}
    assert judged[features.NAME].auc.value == 1
    assert (judged[features.NAME].recall.value, judged[features.NAME].fpr.value) == (1, 0)
    for name in (dense.DENSE, words.UNIGRAM):
        assert judged[name].auc.value > 0.95


def test_thresholds_allow_as_many_negatives_as_was_promised(fitted, parts):
    texts_, chosen = parts[CALIBRATE], fitted.chosen
    tokens, detectors = seeing.tokenise(model(), texts_), list(chosen.detectors.values())
    found = chosen.scores(tokens, seeing.values(model(), detectors, tokens), columns(detectors))
    for name, scores in found.items():
        assert (scores[~texts_.labels] > fitted.thresholds[name]).sum() <= fitted.promised.allowed
    assert fitted.promised.negatives == (~texts_.labels).sum()


def test_saved_rules_raise_alarms_just_where_scores_exceed_thresholds(fitted, parts, tmp_path):
    fitted.save(tmp_path / "rules.toml", "at")
    rules = rules_.load(tmp_path / "rules.toml")
    assert [r.name for r in rules.rules] == ["at (features)", "at (dense probe)"]
    tokens, detectors = seeing.tokenise(model(), parts[TEST]), list(fitted.chosen.detectors.values())
    found = fitted.chosen.scores(tokens, seeing.values(model(), detectors, tokens), columns(detectors))
    with ms.watch(model().model, rules) as watching, torch.no_grad():
        for i, ids in enumerate(tokens.ids[:40]):
            watching.restart()
            model().model(input_ids=torch.from_numpy(ids)[None])
            raised = {event.rule for _, event in watching.events if event.kind == "raised"}
            for name in fitting.WRITTEN:
                threshold, score = fitted.thresholds[name], float(found[name][i])
                if abs(score - threshold) > 2e-3 * abs(threshold):  # batches round otherwise, and values are fp16
                    assert (f"at ({name})" in raised) == (score > threshold)


def test_the_ranges_for_the_drift_alarm_are_densities_in_windows(fitted):
    made = [fitted.chosen.detectors[name] for name in fitting.WRITTEN]
    n = len(columns(made))
    text = np.zeros((200, n), np.float32)
    text[::2, 0], text[:, -1] = 1.0, 2.0  # the first signal on every other token, the last on all
    few = fitting._ranges(made, [text] * (drift.WINDOW // 200))
    assert few is None
    found = fitting._ranges(made, [text] * (2 * drift.WINDOW // 200 + 1))
    assert next(iter(found.values())) == (0.5, 0.5)
    assert list(found.values())[-1] == (1.0, 1.0)


def test_shuffled_labels_teach_nothing(subject, parts):
    dealt = np.random.default_rng(0).permutation(parts[FIT].labels)
    mixed = tuple(Example(e.text, bool(y)) for e, y in zip(parts[FIT].examples, dealt, strict=True))
    found = fit(subject, {**parts, FIT: Texts(mixed, parts[FIT].clusters)}, 0.1).judge(parts[TEST])
    for name in (dense.DENSE, dense.DIFFERENCE, words.BAG):
        auc = found[name].auc.estimate()
        assert auc.low < 0.62 and auc.high > 0.38


def test_a_rule_may_use_only_the_features_that_it_is_given(subject, parts):
    seen = fitting.observe(subject, seeing.tokenise(model(), parts[FIT]))
    among = [f for f in range(FEATURES) if f != PLANTED]
    rule = fitting.choose(subject, seen, parts[FIT], 0.1, among=among).detectors.get(features.NAME)
    assert rule is None or PLANTED not in [p.feature for p in rule.parts]


def test_spans_say_which_tokens_hold_the_label():
    text = "naïve a@b"
    tokens = seeing.tokenise(model(), Texts((Example(text, True, ((7, 8),)),), np.zeros(1, int)))
    said = [model().tokeniser.backend.decode([int(i)]) for i in tokens.ids[0][tokens.inside[0]]]
    assert said == ["@"]


def test_long_texts_are_cut_and_counted():
    lm = model()
    tokens = seeing.tokenise(lm, Texts((Example("a " * 4 * lm.context, True), Example("b", False)), np.arange(2)))
    assert tokens.cut == 1
    assert len(tokens.ids[0]) == lm.context


def test_a_dictionary_of_another_width_is_refused(dictionary, parts):
    with pytest.raises(MonoscopeError, match="reads 128 numbers"):
        fit(Subject(model(), "mlp_act.0", str(dictionary)), parts, 0.1)


@pytest.mark.parametrize(
    ("better", "said"),
    [(0.3, "dense probe detects better"), (-0.3, "rule over features detects better"), (0.0, "cannot be told apart")],
)
def test_the_lesson_is_what_the_intervals_say(better, said):
    rng, labels = np.random.default_rng(0), np.arange(400) < 200
    noise = rng.normal(size=400)
    strong, weak = labels * 3 + noise, labels * 0.5 + rng.normal(size=400)
    pair = {0.3: (strong, weak), -0.3: (weak, strong), 0.0: (weak, labels * 0.5 + rng.normal(size=400))}[better]
    scores = {dense.DENSE: pair[0], features.NAME: pair[1], words.UNIGRAM: weak, words.BAG: noise}
    judged = {name: judge(s, labels, 0.0, 0) for name, s in scores.items()}
    part = Part("f", Aggregated("token"), SITE, dictionary="d", feature=1)
    told = telling.lesson(judged, Detector(features.NAME, (replace(part, label="digits"),)))
    assert said in told[0]
    assert ("says by what" in told[0]) == (better == 0.3)
    assert "says by what" not in telling.lesson(judged, Detector(features.NAME, (part,)))[0]
    assert "there is no rule" in telling.lesson({k: v for k, v in judged.items() if k != features.NAME}, None)[0]
    assert ("knows more" in told[1]) == (better != 0.0)


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(["watch", "fit", *arguments])
    said = capsys.readouterr()
    return left.value.code, said.out, said.err


def written(path, some: list[Example]) -> str:
    path.write_text("".join(json.dumps({"text": e.text, "label": e.label}) + "\n" for e in some))
    return str(path)


def test_the_verb_writes_rules_and_a_report(dictionary, tmp_path, capsys):
    given = written(tmp_path / "given.jsonl", texts(260))
    other = written(tmp_path / "other.jsonl", texts(60, seed=5))
    out = tmp_path / "out" / "rules.toml"
    code, said, _ = run(
        capsys, str(dictionary), "--examples", given, "--fpr", "0.1", "--out", str(out), "--elsewhere", other, "--json"
    )
    assert code == 0
    report = json.loads(said)
    assert report == json.loads(out.with_suffix(".json").read_text())
    assert report["detectors"][features.NAME]["how"]["parts"][0]["feature"] == PLANTED
    assert report["detectors"][features.NAME]["elsewhere"]["recall"]["value"] == 1
    assert report["promise"]["negatives"] == report["examples"][CALIBRATE]["negatives"]
    assert rules_.load(out).fingerprint == model().fingerprint
    console = Console(width=80, record=True, file=io_.StringIO())
    detecting.show(report, console)
    shown = console.export_text()
    assert "dense probe" in shown and f"feature {PLANTED}" in shown


def test_a_rate_that_cannot_be_promised_is_refused_before_the_model_is_loaded(tmp_path, capsys):
    given = written(tmp_path / "given.jsonl", texts(200))
    code, _, said = run(capsys, "nowhere", "--examples", given, "--fpr", "0.001", "--out", str(tmp_path / "r.toml"))
    assert code == 2
    assert "cannot promise a false-positive rate of 0.001" in said and "at least 2995 negatives" in said
    assert not (tmp_path / "r.toml").exists()
