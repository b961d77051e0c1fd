"""PW-MCC: permutations, noise of a known size, and the control."""

from __future__ import annotations

import math

import pytest
import torch

from monoscope.errors import MonoscopeError
from monoscope.evaluate.stability import matched, stability


def directions(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_the_same_features_in_another_order_and_length_are_the_same():
    a = directions(80, 32, 0)
    order = torch.randperm(80, generator=torch.Generator().manual_seed(1))
    partners, cosines = matched(a, 3.0 * a[order])
    assert cosines == pytest.approx(1.0, abs=1e-6) and torch.equal(order[partners], torch.arange(80))
    found = stability({"a": a, "b": 0.5 * a[order]})
    assert found.mean.value == pytest.approx(1) and found.mean.low == pytest.approx(1)
    assert found.random.value < 0.7


def test_noise_of_a_known_size_gives_its_cosine():
    """A unit vector plus noise of length t has cosine 1 / sqrt(1 + t²) with itself, in high dimension."""
    a = torch.nn.functional.normalize(directions(200, 400, 2), dim=1)
    noise = torch.nn.functional.normalize(directions(200, 400, 3), dim=1)
    found = stability({"a": a, "b": a + 0.75 * noise})
    assert found.mean.value == pytest.approx(1 / math.sqrt(1 + 0.75**2), abs=0.01)
    assert found.mean.low < found.mean.value < found.mean.high


def test_unrelated_dictionaries_do_as_the_control_does():
    found = stability({"a": directions(150, 24, 5), "b": directions(150, 24, 6)})
    assert found.mean.value == pytest.approx(found.random.value, abs=0.03)


def test_of_three_the_mean_over_pairs():
    three = {name: directions(60, 16, i) for i, name in enumerate("abc")}
    found = stability(three)
    assert list(found.pairs) == [("a", "b"), ("a", "c"), ("b", "c")]
    assert found.mean.value == pytest.approx(sum(e.value for e in found.pairs.values()) / 3)
    for (one, other), e in found.pairs.items():
        assert e.value == pytest.approx(matched(three[one], three[other])[1].mean())
    widths = [e.high - e.low for e in found.pairs.values()]
    assert found.mean.high - found.mean.low < min(widths)
    told: list[int] = []
    assert stability(three, progress=told.append) == found
    assert told == [1, 1, 1]


def test_a_direction_and_its_opposite_are_two_features():
    a = directions(40, 64, 0)
    assert stability({"a": a, "b": -a}).mean.value < 0.5


def test_the_mean_of_many_pairs_covers_what_other_features_would_show():
    """Half of the features are found well by every training and half badly; each training has them in its own order."""
    g, hits, drawn = torch.Generator().manual_seed(0), 0, []
    for i in range(40):
        true = torch.nn.functional.normalize(torch.randn(60, 64, generator=g), dim=1)
        noise = (torch.rand(60, 1, generator=g) < 0.5) * 1.5
        errors = torch.nn.functional.normalize(torch.randn(4, 60, 64, generator=g), dim=2)
        trained = zip("abcd", true + noise * errors, strict=True)
        found = {name: made[torch.randperm(60, generator=g)] for name, made in trained}
        drawn.append(stability(found, seed=i).mean)
    expected = sum(e.value for e in drawn) / len(drawn)
    hits = sum(e.low <= expected <= e.high for e in drawn)
    assert hits >= 34  # of 40, where 38 are expected; pairs that are resampled apart cover 21


def test_what_has_no_match_is_refused():
    with pytest.raises(MonoscopeError, match="one shape"):
        stability({"a": directions(4, 3, 0), "b": directions(5, 3, 0)})
    with pytest.raises(MonoscopeError, match="two dictionaries"):
        stability({"a": directions(4, 3, 0)})
