"""Recording while a model trains: by hand and by ``Trainer``, with what appears, and a training that is left alone."""

from __future__ import annotations

import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from monoscope.concepts import concept
from monoscope.dictionary.base import architecture
from monoscope.errors import MonoscopeError
from monoscope.models.language_model import LanguageModel
from monoscope.signals.probe import Probe
from monoscope.studies.training import Recorder, callback, changes, due, plot, records
from monoscope.types import Document

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from tiny_models import CONFIGS, VOCABULARY, tokeniser, transformer  # isort: skip

TEXTS = [Document(str(i), "xyxyxyxyxy"[i % 2 :] + "abc"[i % 3]) for i in range(8)]


def token(text: str) -> int:
    return int(tokeniser().text(text).tokens[0])


def at_the_logits() -> Any:
    """Feature 0 is active where the logit of ``y`` is above 2, feature 1 the same for a letter that never occurs."""
    made = architecture("l1")(VOCABULARY, 2).requires_grad_(False)
    for feature, letter in enumerate("yq"):
        made.w_enc[feature, token(letter)], made.b_enc[feature] = 1.0, -2.0
        made.w_dec[feature, token(letter)] = 1.0
    return made


def small() -> Any:
    torch.manual_seed(0)
    model = transformer(CONFIGS["gpt2"]())
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.3)
    return model.requires_grad_(True).train()


def recorder(path: Path, **more: Any) -> Recorder:
    return Recorder(path, tokeniser(), TEXTS, "logits", dictionary=at_the_logits(), features=[0, 1], **more)


def batches(steps: int) -> list[dict[str, torch.Tensor]]:
    tokens = torch.tensor([[token("x"), token("y")] * 6, [token("y"), token("x")] * 6])
    return [{"input_ids": tokens, "labels": tokens}] * steps


def train(model: Any, watch: Any, steps: int = 40, first: int = 0) -> None:
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.01)
    for step in range(first, steps):
        if watch is not None and due(step, 10):
            watch(model, step)
        model(**batches(1)[0]).loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    if watch is not None:
        watch(model, steps)


def test_a_feature_appears_as_the_model_learns_and_another_does_not(tmp_path: Path) -> None:
    model, path = small(), tmp_path / "r.jsonl"
    train(model, recorder(path, probes={"bias": Probe(torch.zeros(VOCABULARY), 1.0)}))
    lines = records(path)
    assert [line["step"] for line in lines] == [0, 1, 2, 4, 8, 10, 20, 30, 40]
    assert lines[-1]["signals"]["bias"] == {"density": 1.0, "mean": 1.0}
    found = {change.name: change for change in changes(lines)}
    assert found["0"].kind == "appears" and 0 < found["0"].step <= 40 and found["0"].first["density"] == 0
    assert found["1"].kind == found["bias"].kind == "stays"
    backwards = {c.name: c.kind for c in changes([{**line, "step": -line["step"]} for line in reversed(lines)])}
    assert backwards["0"] == "vanishes"
    pytest.importorskip("matplotlib")
    plot(lines, tmp_path / "r.png", {"0": "says y"})
    assert (tmp_path / "r.png").stat().st_size > 5000


def test_what_is_recorded_is_what_the_model_computes(tmp_path: Path) -> None:
    model = small()
    seen = recorder(tmp_path / "r.jsonl", concept=concept("token('y')")).measure(model)
    lm = LanguageModel(copy.deepcopy(model).eval(), tokeniser(), name="copy")
    rows = []
    for text in TEXTS:
        given = torch.tensor([[*lm.tokeniser.prefix, *lm.tokeniser.text(text.text).tokens.tolist()]])
        rows.append(lm.model(input_ids=given).logits[0, len(lm.tokeniser.prefix) :].detach())
    x = torch.cat(rows)
    made = at_the_logits()
    values = made.encode(x).to_dense()
    for feature in (0, 1):
        assert seen["signals"][str(feature)]["mean"] == pytest.approx(float(values[:, feature].mean()), abs=1e-6)
        assert seen["signals"][str(feature)]["density"] == float((values[:, feature] > 0).float().mean())
    wanted = (x - made(x)).square().sum() / (x - x.mean(0)).square().sum()
    assert seen["fvu"] == pytest.approx(float(wanted), rel=1e-4)
    assert seen["readable"] > 0.99  # its own token is in the stream


def test_a_training_that_is_watched_is_the_same_training_bit_for_bit(tmp_path: Path) -> None:
    plain, watched = small(), small()
    for model in (plain, watched):
        model.config.attn_pdrop = model.config.resid_pdrop = 0.1
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.1
    torch.manual_seed(1)
    train(plain, None, 6)
    torch.manual_seed(1)
    train(watched, recorder(tmp_path / "r.jsonl"), 6)
    assert watched.training and all(m.training for m in watched.modules())
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), watched.parameters(), strict=True))


def test_a_training_that_goes_on_records_later_steps_anew(tmp_path: Path) -> None:
    path, model = tmp_path / "r.jsonl", small()
    train(model, recorder(path), 20)
    with path.open("a") as file:
        file.write('{"step": 21, "sig')  # a stop in the middle of a line
    train(model, recorder(path), 30, first=10)
    assert [line["step"] for line in records(path)] == [0, 1, 2, 4, 8, 10, 20, 30]
    assert all(json.loads(line) for line in path.read_text().splitlines())


def test_trainer_records_by_its_callback(tmp_path: Path) -> None:
    pytest.importorskip("accelerate", reason="transformers.Trainer needs accelerate")
    from transformers import Trainer, TrainingArguments

    arguments = TrainingArguments(
        str(tmp_path / "out"), max_steps=24, per_device_train_batch_size=2, learning_rate=0.02, save_strategy="no",
        report_to=[], disable_tqdm=True, use_cpu=True, logging_strategy="no", seed=0,
    )  # fmt: skip
    rows = [{name: values[i % 2] for name, values in batches(1)[0].items()} for i in range(64)]
    model, watch = small(), recorder(tmp_path / "r.jsonl")
    Trainer(model, arguments, train_dataset=rows, callbacks=[callback(watch, every=10)]).train()
    lines = records(tmp_path / "r.jsonl")
    assert [line["step"] for line in lines] == [0, 1, 2, 4, 8, 10, 20, 24]
    assert lines[-1] == {"step": 24, **watch.measure(model)}  # of the weights as they ended
    assert {c.name: c.kind for c in changes(lines)} == {"0": "appears", "1": "stays"}


def test_what_makes_no_sense_is_refused(tmp_path: Path) -> None:
    for more, message in (
        ({"features": ()}, "nothing is to be recorded"), ({"dictionary": None}, "of which dictionary"),
        ({"features": [2]}, "no feature 2"), ({"texts": []}, "no text"),
    ):  # fmt: skip
        with pytest.raises(MonoscopeError, match=message):
            given = {"texts": TEXTS, "dictionary": at_the_logits(), "features": [0], **more}
            Recorder(tmp_path / "r", tokeniser(), given.pop("texts"), "logits", **given)
    with pytest.raises(MonoscopeError, match="cannot be read"):
        records(tmp_path / "none")
