"""Shuffled models and fingerprints."""

from __future__ import annotations

import copy

import pytest
import torch
from tiny_models import CONFIGS, block, language_model, transformer

from monoscope.models.fingerprint import fingerprint
from monoscope.models.language_model import LanguageModel


@pytest.mark.parametrize("family", CONFIGS)
def test_shuffling_moves_entries_within_matrices_only(family: str):
    lm = language_model(family)
    control = lm.shuffled(0)
    before, after = dict(lm.model.named_parameters()), dict(control.model.named_parameters())
    assert before.keys() == after.keys()
    for name, old in before.items():
        new = after[name]
        assert old.data_ptr() != new.data_ptr()
        if old.ndim < 2:
            assert torch.equal(old, new), name
        else:
            assert not torch.equal(old, new), name
            assert torch.equal(old.flatten().sort().values, new.flatten().sort().values), name


def test_a_shuffled_model_says_so_and_is_repeatable():
    lm = language_model("gpt2")
    control = lm.shuffled(5)
    assert control.name == "gpt2 (shuffled 5)"
    assert control.fingerprint == lm.shuffled(5).fingerprint
    assert len({control.fingerprint, lm.shuffled(6).fingerprint, lm.fingerprint}) == 3
    site = "mlp_act.1"
    assert torch.equal(control.run(block(), read=[site])[site], lm.shuffled(5).run(block(), read=[site])[site])


def test_tied_matrices_stay_tied():
    lm = language_model("gpt2-tied-padded")
    model = lm.shuffled(0).model
    assert model.lm_head.weight is model.transformer.wte.weight
    assert not torch.equal(model.lm_head.weight, lm.model.lm_head.weight)


def test_shuffling_starts_no_gradients_and_leaves_no_hooks():
    model = language_model("llama").shuffled(0).model
    assert not model.training and not any(p.requires_grad for p in model.parameters())


def test_fingerprint_sees_every_weight():
    model = transformer(CONFIGS["gpt2"]())
    known = {fingerprint(model)}
    for name, parameter in list(model.named_parameters()):
        changed = copy.deepcopy(model)
        with torch.no_grad():
            dict(changed.named_parameters())[name].view(-1)[-1] += 1 + parameter.abs().max()
        known.add(fingerprint(changed))
    assert len(known) == 1 + len(list(model.named_parameters()))


def test_fingerprint_is_of_the_model_not_of_its_precision():
    model = transformer(CONFIGS["llama"]()).to(torch.bfloat16)
    assert fingerprint(model) == fingerprint(copy.deepcopy(model).float())


def test_fingerprint_sees_what_changes_the_arithmetic():
    a, b = (transformer(CONFIGS[f"neox-{kind}"]()) for kind in ("parallel", "sequential"))
    b.load_state_dict(a.state_dict())
    assert fingerprint(a) != fingerprint(b)


def test_fingerprint_belongs_to_the_language_model():
    lm = language_model("gpt2")
    assert lm.fingerprint == fingerprint(lm.model) == LanguageModel(lm.model, lm.tokeniser, name="other").fingerprint
