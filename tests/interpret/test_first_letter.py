"""First-letter absorption: planted worlds whose absorption is known, the rule for one token by hand, controls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from monoscope.dictionary.topk import Architecture
from monoscope.interpret.first_letter import (
    LETTERS,
    Task,
    absorption,
    columns,
    held_out,
    main_features,
    probe,
    spoken_for,
    to_json,
    word,
)
from monoscope.types import Code

N_LETTERS, OF_A_LETTER, TOKENS = 6, 60, 3
N_WORDS = N_LETTERS * OF_A_LETTER
FIRST, ACROSS = 2.0, 80  # what a token has along its letter; the dimensions in which words differ
WORDS = torch.nn.functional.normalize(torch.randn(N_WORDS, ACROSS, generator=torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    ("token", "spelt"),
    [
        (b" The", "the"),
        (b"short", "short"),
        (b"\nIf", "if"),
        (b"a", None),
        (b" x1", None),
        (b"", None),
        (b"  ab", None),
    ],
)
def test_a_word_is_letters_alone(token, spelt):
    assert word(token) == spelt


class World(Architecture):
    """A dictionary that codes by the word, which stands in the first column of ``x`` beside what the token has.

    A letter has one feature, each word another. On the words ``absorbed`` the letter's feature writes ``left`` of the
    token's part along the letter, and the word's feature writes the rest along with the word.
    """

    def __init__(self, absorbed, left: float = 0.0, scale: float = 1.0):
        super().__init__(1 + N_LETTERS + ACROSS, N_LETTERS + N_WORDS, k=2)
        self.absorbed, self.left = absorbed, left
        self.letters = np.arange(N_WORDS) // OF_A_LETTER
        with torch.no_grad():
            for c in range(N_LETTERS):
                self.w_dec[c, 1 + c] = FIRST / scale
            for w in range(N_WORDS):
                self.w_dec[N_LETTERS + w, 1 + N_LETTERS :] = WORDS[w] / scale
                self.w_dec[N_LETTERS + w, 1 + self.letters[w]] = FIRST * (1 - left) * absorbed[w] / scale
        self.scale_ = scale

    def encode(self, x):
        words = x[:, 0].round().long().numpy()
        dense = torch.zeros(len(x), self.n_features)
        rows = torch.arange(len(x))
        dense[rows, N_LETTERS + words] = self.scale_
        own = np.where(self.absorbed[words], self.left, 1.0) * self.scale_
        dense[rows, self.letters[words]] = torch.from_numpy(own).float()
        return Code.from_dense(dense)


def task(seed: int = 0) -> Task:
    """Tokens of a third of the words to judge on, of the others to fit on: their letter, their word, a little noise."""
    rng, letters = np.random.default_rng(seed), np.arange(N_WORDS) // OF_A_LETTER
    held = held_out(letters, seed)
    parts = [np.repeat(np.flatnonzero(m), TOKENS) for m in (~held, held)]

    def rows(words):
        x = np.zeros((len(words), 1 + N_LETTERS + ACROSS))
        x[np.arange(len(words)), 1 + letters[words]] = FIRST
        x[:, 1 + N_LETTERS :] = WORDS[words]
        x[:, 1:] += rng.normal(0, 0.01, (len(words), N_LETTERS + ACROSS))
        return torch.from_numpy(x).float()

    return Task(rows(parts[0]), parts[0], rows(parts[1]), parts[1], letters)


def measured(made: World, told: Task):
    """The probe sees no word numbers; the dictionary sees them."""
    found = probe(told)
    seen = [torch.cat([torch.from_numpy(w)[:, None].float(), x[:, 1:]], 1) for w, x in (
        (told.words, told.x), (told.words_test, told.x_test))]  # fmt: skip
    return found, absorption(replace(told, x=seen[0], x_test=seen[1]), found, made)


def expected(told: Task, absorbed) -> float:
    """The share of judged tokens whose word is absorbed, averaged over letters."""
    of = [absorbed[told.words_test[told.letters[told.words_test] == c]].mean() for c in range(N_LETTERS)]
    return float(np.mean(of))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.5])
def test_a_known_share_is_found(share):
    absorbed = np.random.default_rng(1).random(N_WORDS) < share
    told = task()
    found, scores = measured(World(absorbed), told)
    assert found.readable == list(range(N_LETTERS)) and min(f1.value for f1 in found.f1[:N_LETTERS]) > 0.95
    assert [one.main_features for one in scores.letters] == [(c,) for c in range(N_LETTERS)]
    assert scores.absorption.value == pytest.approx(expected(told, absorbed), abs=1e-12)
    assert scores.absorption_fraction.value == pytest.approx(expected(told, absorbed), rel=0.02)
    e = scores.absorption
    assert e.low <= e.value <= e.high and (share == 0) == (e.high == 0)


def test_half_absorbed_is_a_fraction_and_no_full_absorption():
    absorbed = np.random.default_rng(1).random(N_WORDS) < 0.4
    told = task()
    _, scores = measured(World(absorbed, left=0.5), told)
    assert scores.absorption.value == 0
    assert scores.absorption_fraction.value == pytest.approx(
        expected(told, absorbed) / 2, rel=0.1
    )  # the probe leans on words a little


@pytest.mark.parametrize("scale", [0.2, 7.0])
def test_the_scale_of_features_does_not_matter(scale):
    absorbed, told = np.random.default_rng(1).random(N_WORDS) < 0.4, task()
    one, other = (measured(World(absorbed, scale=s), told)[1] for s in (1.0, scale))
    assert one.absorption == other.absorption
    assert one.absorption_fraction.value == pytest.approx(other.absorption_fraction.value, rel=1e-4)


def test_nothing_is_said_of_letters_that_cannot_be_read():
    told = task()
    blind = replace(told, x=torch.randn(told.x.shape), x_test=torch.randn(told.x_test.shape))
    for unread in (blind, told.shuffled(0)):
        found, scores = measured(World(np.ones(N_WORDS, bool)), unread)
        assert found.readable == [] and scores.letters == () and scores.absorption.value is None
        told_json = to_json(found, scores)
        assert told_json["left_out"] == LETTERS and told_json["main_f1"] is None
        assert found.mean_f1.value < 0.5


def test_shuffling_deals_out_the_same_letters():
    told = task()
    dealt = told.shuffled(3).letters
    assert sorted(dealt) == sorted(told.letters) and (dealt != told.letters).mean() > 0.5
    assert (dealt == told.shuffled(3).letters).all() and (dealt != told.shuffled(4).letters).any()


def test_a_third_of_every_letters_words_is_held_out():
    letters = np.random.default_rng(0).integers(0, 26, 500)
    held = held_out(letters, 0)
    for c in range(26):
        n = int((letters == c).sum())
        assert held[letters == c].sum() == -(-n // 3)
    assert (held == held_out(letters, 0)).all() and (held != held_out(letters, 1)).any()


def test_a_letter_in_halves_has_two_main_features():
    rng = np.random.default_rng(0)
    holds, half = rng.random(2000) < 0.3, rng.random(2000) < 0.5
    noise = rng.random((4, 2000)) * (rng.random((4, 2000)) < 0.2)
    code = Code.from_dense(torch.from_numpy(np.stack([holds & half, holds & ~half, *noise], 1)).float())
    assert sorted(main_features(code, holds)) == [0, 1]
    assert main_features(Code.from_dense(torch.zeros(2000, 3)), holds) == []
    assert columns(code, [1, 0])[:, 1].numpy().tolist() == (holds & half).astype(float).tolist()


# one token: (value, coordinate along the probe, coordinate across) of each feature; the first is the main one
@pytest.mark.parametrize(
    ("features", "has", "full", "fraction"),
    [
        ([(0, 1, 0), (1, 0.5, 0.5)], 1.0, 1, 1.0),  # the other writes half of it
        ([(0, 1, 0), (1, 0.39, 0)], 1.0, 0, 0.0),  # too little
        ([(0, 1, 0), (1, 0.2, 0), (1, 0.2, 0), (1, 0.2, 0), (1, 0.2, 0)], 1.0, 0, 1.0),  # three of four together
        ([(0.1, 1, 0), (1, 0.5, 0)], 1.0, 0, 0.5 / 0.6),  # the main one is on
        ([(0.8, 1, 0), (1, 0.5, 0)], 1.0, 0, 0.2),  # others count for what the main one leaves
        ([(1.2, 1, 0), (1, 0.5, 0)], 1.0, 0, 0.0),  # nothing is left
        ([(0, 1, 0), (50, 0.01, 1)], 1.0, 0, 0.0),  # not aligned
        ([(0, 1, 0), (10, 0.05, 1)], 1.0, 1, 0.0),  # aligned enough to speak alone, not to count among several
        ([(0, 1, 0), (1, 0.5, 0.5)], -1.0, 0, 0.0),  # the token has nothing of it
        ([(0, 1, 0)], 1.0, 0, 0.0),  # nothing is on
    ],
)
@pytest.mark.parametrize("bias", [0.0, 3.0])
def test_one_token_by_hand(features, has, full, fraction, bias):
    made = Architecture(2, len(features), k=1)
    with torch.no_grad():
        made.w_dec.copy_(torch.tensor([[a, b] for _, a, b in features]))
        made.b_dec.fill_(bias)  # what is always written is nobody's
    code = Code.from_dense(torch.tensor([[float(v) for v, _, _ in features]]))
    x = torch.tensor([[has + bias, 0.0]])
    found = spoken_for(code, np.array([0]), x, made, torch.tensor([1.0, 0.0]), [0])
    assert found[0][0] == full and found[1][0] == pytest.approx(fraction, abs=1e-6)
