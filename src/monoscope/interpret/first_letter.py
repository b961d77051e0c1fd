"""First-letter absorption on real tokens (Chanin et al. 2024, arXiv 2409.14507; as in SAEBench, arXiv 2503.09532).

A model may know which letter a word begins with. A dictionary that has a feature for "begins with s" may still leave
it off on "short", because the feature of "short" writes that direction too: the letter is *absorbed*. For each letter:

- *the probe* is a logistic regression on the site's activations. It is fitted on some words and judged on tokens of
  others, in other documents, so that a list of words learned by heart is no knowledge of letters. A letter is
  *readable* when the interval of the probe's F1 there lies above ``LEAST_F1``; of the others nothing is said.
- *its main features* are those that find the letter: in the order of their mean difference, one more as long as a
  logistic regression on them gains ``JUMP`` of F1 by it, ``MOST`` at most.
- a token on which the probe is right is *fully absorbed* when all main features are off there, and the one feature
  that writes most along the probe (with a cosine of at least ``ALIGNED``) writes ``PART`` or more of what the token
  has along it. The *absorption fraction* asks how much of what main features and up to ``ABSORBERS`` others (of a
  cosine of at least ``ALIGNED_MANY``) write along the probe is the others'; it is 0 where those write less than
  ``PART``.

What a token has along the probe is ``(x − r) · p``, with ``r`` what is written besides features, as a rule ``b_dec``:
SAEBench leaves that in, but no feature has to write it. Scores are means over readable letters; intervals resample
words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.evaluate.intervals import Estimate, Totals, sample
from monoscope.interpret import logistic
from monoscope.interpret.probing import best_threshold
from monoscope.types import Code

LETTERS = "abcdefghijklmnopqrstuvwxyz"
LEAST_F1 = 0.5
LEAST_WORDS = 10  # to judge by
PENALTY = 1e-3  # of the dense probe: more than for concepts, because it must hold on words that it has not seen
JUMP, MOST = 0.03, 10
ALIGNED, ALIGNED_MANY, PART, ABSORBERS = 0.025, 0.1, 0.4, 3
HELD_OUT = 3  # one word in so many is judged on

_WORD = re.compile(rb"\s?([A-Za-z]{2,})")


def word(token: bytes) -> str | None:
    """The word that a token spells, small letters, without the space before it; None if it is none of two letters."""
    found = _WORD.fullmatch(token)
    return found[1].decode().lower() if found else None


def held_out(letters: Int[np.ndarray, " n_words"], seed: int) -> Bool[np.ndarray, " n_words"]:
    """The words to judge on: a third of every letter's."""
    rng, chosen = np.random.default_rng(seed), np.zeros(len(letters), bool)
    for c in range(len(LETTERS)):
        chosen[rng.permutation(np.flatnonzero(letters == c))[::HELD_OUT]] = True
    return chosen


@dataclass(frozen=True)
class Task:
    """Tokens to fit on and tokens to judge on, of other words and other documents.

    ``x`` are the site's activations, ``words`` the number of each token's word, ``letters`` the letter of each word.
    """

    x: Float[Tensor, "n d"]
    words: Int[np.ndarray, " n"]
    x_test: Float[Tensor, "m d"]
    words_test: Int[np.ndarray, " m"]
    letters: Int[np.ndarray, " n_words"]

    def shuffled(self, seed: int) -> Task:
        """The control: the same letters, dealt out among the words at random."""
        return replace(self, letters=np.random.default_rng(seed).permutation(self.letters))

    def holds(self) -> tuple[Bool[np.ndarray, "n 26"], Bool[np.ndarray, "m 26"]]:
        """Which letter each token's word begins with."""
        alphabet = np.arange(len(LETTERS))
        return tuple(self.letters[w][:, None] == alphabet for w in (self.words, self.words_test))

    def by_word(self, terms: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The sums of each word's test tokens, for ``sample``."""
        found, slots = np.unique(self.words_test, return_inverse=True)
        sums = {name: np.zeros((len(found), *v.shape[1:])) for name, v in terms.items()}
        for name, v in terms.items():
            np.add.at(sums[name], slots, v)
        return sums


@dataclass(frozen=True)
class Probe:
    """``directions[c]`` is of length 1; ``says[i, c]``: the probe takes test token ``i`` to begin with letter ``c``."""

    directions: Float[Tensor, "26 d"]
    says: Bool[np.ndarray, "m 26"]
    f1: tuple[Estimate, ...]
    mean_f1: Estimate
    words: Int[np.ndarray, " 26"]
    least_f1: float = LEAST_F1

    @property
    def readable(self) -> list[int]:
        """The letters that it finds, and of which there are words enough."""
        judged = enumerate(zip(self.f1, self.words, strict=True))
        return [c for c, (f1, n) in judged if n >= LEAST_WORDS and f1.low is not None and f1.low > self.least_f1]


def probe(task: Task, seed: int = 0, least_f1: float = LEAST_F1) -> Probe:
    """Fit the dense probe of every letter, and judge it; ``least_f1`` is what makes a letter readable."""
    holds, truth = task.holds()
    found = logistic.fit(task.x, torch.from_numpy(holds), penalty=PENALTY)
    says = found.scores(task.x_test).numpy() >= _thresholds(unseen(task, holds, seed), holds)
    scored = sample(task.by_word(_terms(says, truth)), _f1s, seed)
    words = np.bincount(task.letters[np.unique(task.words_test)], minlength=len(LETTERS))
    f1 = tuple(scored[letter].estimate() for letter in LETTERS)
    return Probe(torch.nn.functional.normalize(found.weights.T), says, f1, scored["mean"].estimate(), words, least_f1)


def unseen(task: Task, holds: Bool[np.ndarray, "n 26"], seed: int) -> Float[np.ndarray, "n 26"]:
    """Scores of the fit tokens by probes of half the words, each of the words that it was not fitted on.

    Thresholds are chosen by these: on words that it was fitted on a probe is surer than it will be.
    """
    half = np.random.default_rng(seed).random(len(task.letters))[task.words] < 0.5
    scores = np.zeros(holds.shape, np.float32)
    for fitted in (half, ~half):
        found = logistic.fit(task.x[torch.from_numpy(fitted)], torch.from_numpy(holds[fitted]), penalty=PENALTY)
        scores[~fitted] = found.scores(task.x[torch.from_numpy(~fitted)]).numpy()
    return scores


def _thresholds(scores: Float[np.ndarray, "n c"], holds: Bool[np.ndarray, "n c"]) -> Float[np.ndarray, " c"]:
    """The threshold of best F1 of every column."""
    return np.array([best_threshold(scores[:, c], holds[:, c]) for c in range(holds.shape[1])], np.float32)


def _terms(says: np.ndarray, truth: np.ndarray) -> dict[str, np.ndarray]:
    return {"hits": says & truth, "both": says.astype(float) + truth}


def _f1s(totals: Totals) -> dict[str, np.ndarray]:
    """F1 of every letter, and their mean over those that occur."""
    with np.errstate(invalid="ignore"):
        f1 = 2 * totals["hits"] / totals["both"]
    return {**dict(zip(LETTERS, f1.T, strict=True)), "mean": _mean(f1)}


def _mean(of_letters: Float[np.ndarray, "r n"]) -> Float[np.ndarray, " r"]:
    """The mean over the letters that have a number."""
    known = np.isfinite(of_letters)
    return np.where(known, of_letters, 0).sum(1) / np.where(known.any(1), known.sum(1), np.nan)


@dataclass(frozen=True)
class Letter:
    """One readable letter: ``tokens`` on which the probe is right, its main features and how well they find it."""

    letter: str
    tokens: int
    main_features: tuple[int, ...]
    main_f1: float
    absorption: Estimate
    absorption_fraction: Estimate


@dataclass(frozen=True)
class Absorption:
    """Scores of a dictionary: means over the readable letters, and each of them."""

    absorption: Estimate
    absorption_fraction: Estimate
    letters: tuple[Letter, ...]

    @property
    def main_features(self) -> float | None:
        """The mean number of main features of a letter: over 1 where letters are split."""
        return float(np.mean([len(one.main_features) for one in self.letters])) if self.letters else None

    @property
    def main_f1(self) -> float | None:
        """How well the main features find their letters: where that is little, there is no letter to be absorbed."""
        return float(np.mean([one.main_f1 for one in self.letters])) if self.letters else None


def absorption(task: Task, found: Probe, dictionary: Dictionary, seed: int = 0) -> Absorption:
    """How often, and how far, a dictionary's other features speak for a letter in place of its main ones."""
    letters = found.readable
    if not letters:
        return Absorption(Estimate(), Estimate(), ())
    code, judged = dictionary.encode(task.x), dictionary.encode(task.x_test)
    holds, truth = task.holds()
    right = found.says & truth
    shares = {name: np.zeros(right.shape) for name in ("full", "fraction")}
    mains, f1s = dict[int, list[int]](), dict[int, float]()
    for c in letters:
        mains[c] = main_features(code, holds[:, c])
        f1s[c] = _f1_of(mains[c], code, judged, holds[:, c], truth[:, c])
        rows = np.flatnonzero(right[:, c])
        shares["full"][rows, c], shares["fraction"][rows, c] = spoken_for(
            judged, rows, task.x_test, dictionary, found.directions[c], mains[c]
        )
    sums = task.by_word({"right": right, **shares})
    scored = sample({name: v[:, letters] for name, v in sums.items()}, _rates, seed)
    listed = tuple(
        Letter(
            LETTERS[c], int(right[:, c].sum()), tuple(mains[c]), f1s[c],
            scored[f"full {i}"].estimate(), scored[f"fraction {i}"].estimate(),
        )
        for i, c in enumerate(letters)
    )  # fmt: skip
    return Absorption(scored["full"].estimate(), scored["fraction"].estimate(), listed)


def _rates(totals: Totals) -> dict[str, np.ndarray]:
    """Means over the tokens on which the probe is right: of every letter, and over letters."""
    found: dict[str, np.ndarray] = {}
    for name in ("full", "fraction"):
        with np.errstate(invalid="ignore"):
            rates = totals[name] / totals["right"]
        found |= {name: _mean(rates), **{f"{name} {i}": rate for i, rate in enumerate(rates.T)}}
    return found


def main_features(code: Code, holds: Bool[np.ndarray, " n"]) -> list[int]:
    """The features that stand for what ``holds``, best first."""
    rows, held = code.rows().numpy(), np.where(holds, 1 / max(1, holds.sum()), -1 / max(1, (~holds).sum()))
    weights = code.values.double().numpy() * held[rows]
    differences = np.bincount(code.indices.numpy(), weights, code.n_features)
    ranked = [int(f) for f in np.argsort(-differences, kind="stable")[:MOST] if differences[f] > 0]
    chosen, reached = ranked[:1], 0.0
    for k in range(1, len(ranked) + 1):
        f1 = _f1_of(ranked[:k], code, code, holds, holds)
        if k > 1 and f1 < reached + JUMP:
            break
        chosen, reached = ranked[:k], f1
    return chosen


def _f1_of(features: list[int], code: Code, judged: Code, holds: np.ndarray, truth: np.ndarray) -> float:
    """The F1 of a logistic regression on some features, fitted on one code and judged on another; 0 without any."""
    if not features:
        return 0.0
    x, x_test = columns(code, features), columns(judged, features)
    found = logistic.fit(x, torch.from_numpy(holds[:, None]))
    says = found.scores(x_test).numpy()[:, 0] >= _thresholds(found.scores(x).numpy(), holds[:, None])
    return float(2 * (says & truth).sum() / max(1, says.sum() + truth.sum()))


def columns(code: Code, features: list[int]) -> Float[Tensor, "n n_chosen"]:
    """Some features' values on every row."""
    place = torch.full((code.n_features,), -1)
    place[features] = torch.arange(len(features))
    at = place[code.indices.long()]
    found = torch.zeros(len(code), len(features))
    found[code.rows()[at >= 0], at[at >= 0]] = code.values[at >= 0].float()
    return found


def spoken_for(
    code: Code,
    rows: Int[np.ndarray, " r"],
    x: Float[Tensor, "n d"],
    dictionary: Dictionary,
    direction: Float[Tensor, " d"],
    mains: list[int],
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, " r"]]:
    """Of some rows: whether the direction is fully absorbed (1 or 0), and the absorption fraction.

    ``direction`` has length 1; features write along it what they do along their own, in the units of ``x``.
    """
    along = (dictionary.directions @ direction).double().numpy()
    cosines = along / dictionary.directions.norm(dim=1).clamp_min(1e-30).double().numpy()
    held = x[torch.from_numpy(rows)]
    has = ((held - dictionary.rest(held)) @ direction).double().numpy()
    is_main = np.zeros(dictionary.n_features, bool)
    is_main[mains] = True
    full, fraction = np.zeros(len(rows)), np.zeros(len(rows))
    for i, row in enumerate(rows.tolist()):
        entries = slice(int(code.offsets[row]), int(code.offsets[row + 1]))
        features = code.indices[entries].numpy()
        writes, own = code.values[entries].double().numpy() * along[features], is_main[features]
        if has[i] > 0 and len(features):
            full[i] = not own.any() and _one_speaks(writes, cosines[features], has[i])
            fraction[i] = _fraction(writes[own].sum(), writes[~own & (cosines[features] >= ALIGNED_MANY)], has[i])
    return full, fraction


def _one_speaks(writes: np.ndarray, cosines: np.ndarray, has: float) -> bool:
    top = int(np.argmax(writes))
    return bool(cosines[top] >= ALIGNED and writes[top] >= PART * has)


def _fraction(by_mains: float, by_others: np.ndarray, has: float) -> float:
    """Others' share of what is written, of which no more counts than the mains leave of ``has``."""
    absorbers = float(np.sort(np.maximum(by_others, 0))[-ABSORBERS:].sum())
    if by_mains >= has or absorbers < PART * has:
        return 0.0
    counted = min(absorbers, has - max(by_mains, 0.0))
    return counted / (counted + max(by_mains, 0.0))


def to_json(found: Probe, of: Absorption) -> dict[str, Any]:
    """Scores as ``{"value", "low", "high"}``, the letters one by one, and those that are left out."""
    listed = {one.letter: one for one in of.letters}
    letters = []
    for c, letter in enumerate(LETTERS):
        row: dict[str, Any] = {"letter": letter, "words": int(found.words[c]), "probe_f1": found.f1[c].to_json()}
        if letter in listed:
            one = listed[letter]
            row |= {"tokens": one.tokens, "main_features": list(one.main_features), "main_f1": one.main_f1}
            row |= {name: getattr(one, name).to_json() for name in ("absorption", "absorption_fraction")}
        letters.append(row)
    return {
        "absorption": of.absorption.to_json(),
        "absorption_fraction": of.absorption_fraction.to_json(),
        "main_features": of.main_features,
        "main_f1": of.main_f1,
        "probe_f1": found.mean_f1.to_json(),
        "readable": "".join(LETTERS[c] for c in found.readable),
        "left_out": "".join(letter for letter in LETTERS if letter not in listed),
        "letters": letters,
    }
