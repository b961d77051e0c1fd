"""Which values options may have: a law over every architecture in the folder, and the ranges themselves."""

from __future__ import annotations

import math

import pytest
import torch

from monoscope.dictionary.base import architecture, architectures
from monoscope.errors import MonoscopeError
from monoscope.train.fit import Recipe, fit
from monoscope.train.objective import objective
from monoscope.train.options import COUNT, POSITIVE, SHARE, SWITCH, Choice, Range

OPTIONS = [(name, option) for name in architectures() for option in objective(architecture(name).objective).defaults]
SAID = {"resample_from": "source of resampled features"}  # where the message does not name the option


def refused(name: str, option: str, value: object) -> None:
    """By the objective itself, whoever makes it."""
    with pytest.raises(MonoscopeError, match=SAID.get(option, option)):
        objective(architecture(name).objective)(architecture(name)(8, 64), 1000, 0, **{option: value})


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_no_option_takes_nonsense(name, option):
    for value in ("no such value", math.nan, object()):
        refused(name, option, value)


@pytest.mark.parametrize(("name", "option"), OPTIONS)
def test_every_default_is_allowed(name, option):
    kind = objective(architecture(name).objective)
    if kind.defaults[option] is not None and option in kind.allowed:
        assert kind.allowed[option].holds(kind.defaults[option])


@pytest.mark.parametrize(
    ("name", "option", "value", "choose"),
    [
        ("batch_topk", "topk_until", 1.5, "a number from 0 up to 1"),
        ("topk", "k_start", -3, "a number above 0"),
        ("topk", "beta1", 1.0, "a number from 0 below 1"),
        ("topk", "dead_after", 0.5, "a whole number from 0"),
        ("topk", "precision", "fp99", "one of float32, bfloat16"),
        ("l1_2023", "centred_resampling", 1, "one of True, False"),
        ("l1_2023", "resample_at", (0.5, 2), "numbers from 0 up to 1"),
        ("l1_2023", "resample_at", 0.5, "numbers from 0 up to 1"),
        ("topk", "auxk", (0.5, 2), "a number from 0"),
        ("hierarchical_topk", "budgets", 4, "whole numbers from 1"),
        ("topk", "encoder_scale", "half", "a number above 0 or d_in/n_features"),
        ("l1", "decoder_bias", "mean", "one of zero, median"),
        ("topk", "decoder_norm", "long", "one of unit, free"),
        ("gated", "dense_above", 0, "a number above 0 up to 1"),
    ],
)
def test_what_is_said(name, option, value, choose):
    with pytest.raises(MonoscopeError, match=f"{option} of {name} is .*") as told:
        Recipe.of(name, 16, **{option: value})
    assert choose in str(told.value)


def test_refused_before_the_rows_are_looked_at():
    def rows():
        raise AssertionError("a row was asked for")
        yield torch.zeros(1, 8)

    with pytest.raises(MonoscopeError, match="k_until of topk is 'half'"):
        fit(rows(), 16, "topk", k=2, n_tokens=100, k_until="half")


def test_ranges_hold_their_ends_unless_told_otherwise():
    assert [SHARE.holds(value) for value in (-0.01, 0, 0.5, 1, 1.01, True, "1", None)] == [
        False, True, True, True, False, False, False, False,
    ]  # fmt: skip
    assert [POSITIVE.holds(value) for value in (0, 1e-9, math.inf)] == [False, True, False]
    assert [COUNT.holds(value) for value in (3, 3.0, 3.5)] == [True, True, False]
    several = Range(1, 2, below=True, several=True)
    assert [several.holds(value) for value in ((1, 1.5), [], (1, 2), 1, "1")] == [True, True, False, False, False]
    assert SWITCH.holds(True) and not SWITCH.holds(1) and not Choice(("a",)).holds("b")
    assert COUNT.holds(torch.tensor(3).item())
