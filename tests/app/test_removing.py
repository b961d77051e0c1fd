"""``monoscope remove``: what is chosen, forgotten and kept, what brings it back, and the folder that is left."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from planted_run import PLANTED, SITE

import monoscope as ms
from monoscope.app import cli, removing
from monoscope.app.run import Run
from monoscope.errors import MonoscopeError
from monoscope.intervene import remove
from monoscope.studies import forgetting


@pytest.fixture(scope="module")
def run(planted: Run) -> Run:
    return planted


@pytest.fixture(scope="module")
def task(run: Run) -> removing.Removing:
    return removing.Removing(run, removing.Wanted("in_dna", tolerance=0.05, tokens=6_000, relearn=(256, 1024)))


def call(*arguments: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(list(arguments))
    assert exit_.value.code == 0


def test_the_planted_feature_is_chosen_and_what_is_selective_is_counted_by_hand(task: removing.Removing) -> None:
    ranked = task.ranked()
    assert ranked[0] == PLANTED
    rows, catalogue = task.run.catalogue.rows, task.run.catalogue
    for feature in (PLANTED, next(f for f in range(len(catalogue)) if f not in ranked)):
        inside = outside = 0.0
        for row, value in zip(*catalogue.index.of(feature), strict=True):
            (document,), (position,) = rows.locate(np.array([row], np.int64))
            if rows.store.splits[document] == "fit":
                mask = task.expression.mask(rows.store.document(int(document)))
                near = mask[position] or (position + 1 < len(mask) and mask[position + 1])
                inside, outside = inside + value * near, outside + value * (not near)
        assert (inside >= removing.SOMEWHAT * (inside + outside) and inside > 0) == (feature in ranked)


def test_losses_are_those_of_each_prediction(task: removing.Removing) -> None:
    sums, lm, exam = task.plain[task.test], task.lm, task.test
    document = int(exam.documents[np.flatnonzero(sums["concept_n"])[0]])
    text = lm.tokeniser.prefix + exam_tokens(task.run, document)[: lm.context - len(lm.tokeniser.prefix)]
    log_p = lm.model(input_ids=torch.tensor([text])).logits[0].log_softmax(-1)
    mask = task.expression.mask(task.run.store.document(document))
    totals = {True: 0.0, False: 0.0}
    shift = len(lm.tokeniser.prefix)
    for i in range(shift, len(text) - 1):
        totals[bool(mask[i - shift] or mask[i - shift + 1])] -= float(log_p[i, text[i + 1]])
    slot = int(np.searchsorted(exam.documents, document))
    if task.run.store.length(document) <= lm.context - shift:
        assert sums["concept"][slot] == pytest.approx(totals[True], rel=1e-4)
        assert sums["rest"][slot] == pytest.approx(totals[False], rel=1e-4, abs=1e-4)
    assert sums["concept_n"].sum() + sums["rest_n"].sum() == exam.n_tokens


def exam_tokens(run: Run, document: int) -> list[int]:
    return run.store.document(document).tokens.tolist()  # type: ignore[no-any-return]


def test_a_map_that_changes_nothing_forgets_nothing(task: removing.Removing) -> None:
    d = task.lm.width(SITE)
    null = remove.Affine(torch.eye(d, dtype=torch.float64), torch.zeros(d, dtype=torch.float64))
    same = task.judge(remove.removed(task.lm, SITE, null), task.test)
    assert same.gain.value == pytest.approx(0, abs=1e-6) and same.relative.value == pytest.approx(0, abs=1e-6)
    gone = task.judge(remove.removed(task.lm, SITE, remove.Affine(0 * null.a, null.c)), task.test)
    assert (gone.gain.low or 0) > 0.1 and (gone.relative.low or 0) > 0.05


def test_concept_is_forgotten_the_rest_kept_and_brought_back(run: Run, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "without"
    arguments = ["remove", str(run.path), "--concept", "in_dna", "--tolerance", "0.05", "--tokens", "4000"]
    call(*arguments, "--out", str(out), "--relearn", "512", "--json")
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((out / "removal.json").read_text())
    assert found["removed"][0]["label_f1"] is None  # JSON knows no NaN
    assert PLANTED in found["features"] and found["removed"][0]["id"] == PLANTED
    arms = found["arms"]
    assert arms["removed"]["gain"]["low"] > max(0.02, arms["random features 1"]["gain"]["value"])
    assert abs(arms["removed"]["relative"]["value"]) < 0.05
    assert set(arms) == {
        "removed", "ablated while running", "difference of means", *(f"random features {i}" for i in (1, 2, 3, 4))
    }  # fmt: skip
    assert found["probes"]["removed"]["low"] > 0.5  # the embedding still shows which token it is
    after = [step["forgotten"]["value"] for step in found["relearned"] if step["model"] == "removed"]
    assert after[-1] < arms["removed"]["forgotten"]["value"]
    again = ms.load_model(out)
    exam = forgetting.exam(again, run.store, run.store.documents("test").tolist(), ms.concept("in_dna"), 4000)
    sums = forgetting.losses(again, exam)
    assert sums["concept"].sum() / sums["concept_n"].sum() == pytest.approx(
        arms["removed"]["forgotten"]["value"], rel=1e-5
    )


def test_features_and_method_may_be_named(
    run: Run, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removing, "RANDOM", 1)
    arguments = ["remove", str(run.path), "--features", f"{PLANTED},3", "--concept", "in_dna", "--method", "project"]
    call(*arguments, "--out", str(tmp_path / "out"), "--tokens", "2000", "--relearn", "")
    shown = capsys.readouterr().out
    assert "Removed 2 features of mlp_act.0" in shown and "random features 1" in shown and "linear probe" in shown


def test_ablation_while_running_is_what_steering_does(task: removing.Removing) -> None:
    """With one feature: the arm's loss against subtracting value times direction by hand."""
    d = task.run.dictionary

    def write(h: torch.Tensor) -> torch.Tensor:
        flat = h.reshape(-1, h.shape[-1])
        return (flat - d.encode(flat).to_dense()[:, [PLANTED]] * d.directions[PLANTED]).view_as(h)

    by_hand = forgetting.losses(task.lm, task.test, {SITE: write})
    with ms.steer(task.lm, removing._ablation(task.run, [PLANTED])):
        steered = forgetting.losses(task.lm, task.test)
    assert steered["concept"].sum() == pytest.approx(by_hand["concept"].sum(), rel=1e-5)
    assert steered["concept"].sum() > task.plain[task.test]["concept"].sum()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "what is to be removed"),
        (["--concept", "in_dan"], "did you mean 'in_dna'"),
        (["--concept", "script_thai"], "holds on no token"),
        (["--features", "7"], "has no label"),
        (["--features", "99", "--concept", "in_dna"], "no feature 99"),
        (["--features", "x", "--concept", "in_dna"], "are no features"),
        (["--concept", "in_dna", "--method", "projekt"], "did you mean 'project'"),
        (["--concept", "in_dna", "--writers", "embed"], "name no writers"),
    ],
)
def test_what_cannot_be_removed_is_refused_before_any_work(
    arguments: list[str], message: str, run: Run, tmp_path: Path, capsys: Any
) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["remove", str(run.path), "--out", str(tmp_path / "out"), *arguments])
    assert exit_.value.code == 2 and message in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_relearning_needs_text_of_the_concept(task: removing.Removing) -> None:
    rare = forgetting.exam(
        task.lm, task.run.store, task.run.store.documents("fit").tolist(), ms.concept("keyword_def"), 4000
    )
    with pytest.raises(MonoscopeError, match="mostly of the concept"):
        forgetting.relearn(task.lm, rare, 100)
