"""Detectors that see the tokens and no model: what a probe has to beat.

``unigram`` gives every token the logarithm of how much more often it stands in positive texts, and a text the largest
of a number of these, as a probe would. ``bag of tokens`` is a logistic regression on which tokens a text holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from monoscope.interpret import logistic
from monoscope.studies.detection.choosing import FOLDS, merit
from monoscope.studies.detection.dense import COUNTED
from monoscope.studies.detection.detector import Aggregated

UNIGRAM, BAG = "unigram", "bag of tokens"
SMOOTHING = 0.5  # of a token, added to both counts
PENALTIES = (1e-3, 1e-2, 1e-1)
TWICE = 2  # texts that a token must stand in to count

Texts = Sequence[Int[np.ndarray, " tokens"]]


@dataclass(frozen=True)
class Unigram:
    """``odds`` of every token; ``counted`` is the number of a text that counts."""

    odds: Float[np.ndarray, " vocabulary"]
    counted: Aggregated

    def scores(self, texts: Texts) -> Float[np.ndarray, " n"]:
        """A number for each text."""
        return np.array([self.counted.largest(self.odds[ids]) for ids in texts])


@dataclass(frozen=True)
class Bag:
    """``column`` of every token, −1 where it does not count, and their ``weights``."""

    column: Int[np.ndarray, " vocabulary"]
    weights: Float[np.ndarray, " m"]
    bias: float

    def scores(self, texts: Texts) -> Float[np.ndarray, " n"]:
        """A number for each text."""
        return _held(texts, self.column, len(self.weights)) @ self.weights + self.bias


def choose(
    texts: Texts, labels: Bool[np.ndarray, " n"], folds: Int[np.ndarray, " n"], fpr: float, vocabulary: int
) -> dict[str, Unigram | Bag]:
    """Both, fitted on all texts; how they count and what holds their weights back chosen by cross-validation."""
    return {
        UNIGRAM: _unigram(texts, labels, folds, fpr, vocabulary),
        BAG: _bag(texts, labels, folds, fpr, vocabulary),
    }


def odds(texts: Texts, labels: Bool[np.ndarray, " n"], vocabulary: int) -> Float[np.ndarray, " vocabulary"]:
    """The logarithm of each token's share of the positives' tokens over its share of the negatives'."""
    counts = np.full((2, vocabulary), SMOOTHING)
    for ids, label in zip(texts, labels, strict=True):
        counts[int(label)] += np.bincount(ids, minlength=vocabulary)
    shares = np.log(counts / counts.sum(1, keepdims=True))
    return shares[1] - shares[0]


def _unigram(
    texts: Texts, labels: Bool[np.ndarray, " n"], folds: Int[np.ndarray, " n"], fpr: float, vocabulary: int
) -> Unigram:
    scores = np.zeros((len(texts), len(COUNTED)))
    for fold in range(FOLDS):
        some = np.flatnonzero(folds != fold).tolist()
        known = odds([texts[i] for i in some], labels[some], vocabulary)
        for i in np.flatnonzero(folds == fold).tolist():
            scores[i] = [counted.largest(known[texts[i]]) for counted in COUNTED]
    best = int(np.argmax(merit(scores, labels, fpr)))
    return Unigram(odds(texts, labels, vocabulary), COUNTED[best])


def _bag(
    texts: Texts, labels: Bool[np.ndarray, " n"], folds: Int[np.ndarray, " n"], fpr: float, vocabulary: int
) -> Bag:
    held_by = np.bincount(np.concatenate([np.unique(ids) for ids in texts]), minlength=vocabulary)
    column = np.full(vocabulary, -1, np.int64)
    counting = np.flatnonzero(held_by >= TWICE)
    column[counting] = np.arange(len(counting))
    x = torch.from_numpy(_held(texts, column, len(counting)))
    y = torch.from_numpy(labels)[:, None]
    scores = np.zeros((len(texts), len(PENALTIES)))
    for c, penalty in enumerate(PENALTIES):
        for fold in range(FOLDS):
            some = torch.from_numpy(folds != fold)
            scores[~some.numpy(), c] = logistic.fit(x[some], y[some], penalty=penalty).scores(x[~some])[:, 0].numpy()
    made = logistic.fit(x, y, penalty=PENALTIES[int(np.argmax(merit(scores, labels, fpr)))])
    return Bag(column, made.weights[:, 0].numpy(), float(made.bias[0]))


def _held(texts: Texts, column: Int[np.ndarray, " vocabulary"], n: int) -> Float[np.ndarray, "n m"]:
    """1 where a text holds a token."""
    found = np.zeros((len(texts), n), np.float32)
    for i, ids in enumerate(texts):
        places = column[ids]
        found[i, places[places >= 0]] = 1
    return found
