"""Fitting detectors: chosen on one part of the examples, thresholds set on the second, tested on the third."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from monoscope import progress
from monoscope.dictionary import io
from monoscope.errors import MonoscopeError
from monoscope.models.language_model import LanguageModel
from monoscope.models.sites import sites_of
from monoscope.signals.direction import Sources
from monoscope.studies.detection import choosing, dense, features, words
from monoscope.studies.detection.detector import Detector, Values, columns, rules_of
from monoscope.studies.detection.examples import CALIBRATE, FIT, Texts
from monoscope.studies.detection.judging import Judged, judge
from monoscope.studies.detection.seeing import MOST, Seen, Tokens, look, tokenise, values
from monoscope.studies.detection.thresholds import Promise, promise, threshold
from monoscope.watch import drift
from monoscope.watch import rules as rules_
from monoscope.watch.rules import Rule, Rules

WRITTEN = (features.NAME, dense.DENSE)  # the detectors that become rules


def unlabelled(feature: int) -> str | None:
    """What is said of features without a catalogue."""
    return None


@dataclass(frozen=True)
class Subject:
    """What is watched.

    Args:
        lm: the model.
        site: where activations are read.
        dictionary: the folder of one that reads there.
        label: what a feature means, or None.
    """

    lm: LanguageModel
    site: str
    dictionary: str
    label: Callable[[int], str | None] = unlabelled


@dataclass(frozen=True)
class Chosen:
    """Detectors without thresholds.

    Args:
        detectors: those that read the model, by name.
        words: those that read tokens.
        ways: how the dense ones were chosen, in words.
    """

    detectors: Mapping[str, Detector]
    words: Mapping[str, words.Unigram | words.Bag]
    ways: Mapping[str, str]

    def scores(self, tokens: Tokens, read: Values, places: Mapping[str, int]) -> dict[str, Float[np.ndarray, " n"]]:
        """Every detector's score of some texts.

        Args:
            tokens: the texts.
            read: values of signals on them, the detectors' among them.
            places: where each signal stands in these.
        """
        found = {name: d.scores(read, places) for name, d in self.detectors.items()}
        return found | {name: d.scores(tokens.ids) for name, d in self.words.items()}


@dataclass(frozen=True)
class Fitted:
    """Detectors with thresholds.

    Args:
        subject: what they watch.
        chosen: the detectors.
        thresholds: of each.
        promised: what the thresholds keep.
        ranges: of the signals' densities on negatives that set thresholds; None where these are too few.
        cut: how many of the texts that fitted, or set thresholds, were cut at the model's context.
    """

    subject: Subject
    chosen: Chosen
    thresholds: Mapping[str, float]
    promised: Promise
    ranges: Mapping[str, tuple[float, float]] | None = field(repr=False)
    cut: int

    def judge(self, texts: Texts, seed: int = 0, report: progress.Report = progress.silent) -> dict[str, Judged]:
        """Measure all detectors on some texts, at their thresholds."""
        tokens, detectors = tokenise(self.subject.lm, texts), list(self.chosen.detectors.values())
        read = values(self.subject.lm, detectors, tokens, report)
        found = self.chosen.scores(tokens, read, columns(detectors))
        return {name: judge(s, texts.labels, self.thresholds[name], seed) for name, s in found.items()}

    def save(self, path: str | Path, name: str = "detected", notes: Mapping[str, Any] | None = None) -> Rules:
        """Write rules that ``ms.watch`` opens: one over features where there is one, one of the dense probe.

        Args:
            path: the file; vectors are written beside it.
            name: what the rules detect.
            notes: kept in the file.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        written = [self.chosen.detectors[kind] for kind in WRITTEN if kind in self.chosen.detectors]
        made = rules_of(written, path)
        ranges = self.ranges or {}
        lm = self.subject.lm
        made = replace(
            made,
            signals=tuple(replace(s, density=ranges.get(s.name)) for s in made.signals),
            rules=tuple(Rule(f"{name} ({d.name})", d.condition(self.thresholds[d.name])) for d in written),
            model=lm.name,
            notes=dict(notes or {}),
        ).pinned(Sources(lm.model, sites_of(lm.model, lm.name), "rules file"))
        rules_.save(made, path)
        return made


def fit(
    subject: Subject,
    parts: Mapping[str, Texts],
    fpr: float,
    *,
    seed: int = 0,
    report: progress.Report = progress.silent,
) -> Fitted:
    """Choose and fit detectors, and set their thresholds. What ``parts["test"]`` holds is not looked at.

    Args:
        subject: what is watched.
        parts: as ``examples.split`` gives them.
        fpr: the rate of false alarms that is promised, with 95 % confidence.
        seed: of folds and draws.
        report: told how many tokens were read.

    Raises:
        MonoscopeError: too few negatives for the rate, texts that are too many, or a dictionary that does not fit.
    """
    fitting, calibrating = parts[FIT], parts[CALIBRATE]
    promised = promise(fpr, int((~calibrating.labels).sum()))
    seen = observe(subject, tokenise(subject.lm, fitting), report)
    chosen = choose(subject, seen, fitting, fpr, seed=seed)
    held, detectors = tokenise(subject.lm, calibrating), list(chosen.detectors.values())
    read = values(subject.lm, detectors, held, report)
    found = chosen.scores(held, read, columns(detectors))
    negative = np.flatnonzero(~calibrating.labels)
    return Fitted(
        subject,
        chosen,
        {name: threshold(s[negative], promised) for name, s in found.items()},
        promised,
        _ranges(detectors, [read[i] for i in negative]),
        seen.tokens.cut + held.cut,
    )


def observe(subject: Subject, tokens: Tokens, report: progress.Report = progress.silent) -> Seen:
    """What the model thinks of the texts that fit.

    Raises:
        MonoscopeError: texts that are too many, or a dictionary that does not fit.
    """
    lm, site, dictionary = subject.lm, subject.site, io.load(subject.dictionary)
    if lm.width(site) != dictionary.d_in:
        raise MonoscopeError(
            f"{subject.dictionary} reads {dictionary.d_in} numbers, {site} of {lm.name} has {lm.width(site)}",
            fix="name the site that the dictionary was trained on",
        )
    if int(tokens.offsets[-1]) * dictionary.d_in > MOST:
        raise MonoscopeError(
            f"the texts that fit hold {tokens.offsets[-1]:,} tokens, more than the {MOST // dictionary.d_in:,} that "
            "are kept in memory",
            fix="give fewer, or shorter, examples",
        )
    return look(lm, site, dictionary, tokens, report)


def choose(
    subject: Subject, seen: Seen, texts: Texts, fpr: float, *, among: Sequence[int] | None = None, seed: int = 0
) -> Chosen:
    """Choose and fit detectors.

    Args:
        subject: what is watched.
        seen: what it thinks of the texts.
        texts: the labelled texts.
        fpr: the rate of false alarms that is wanted.
        among: features that a rule may use; all by default.
        seed: of folds and draws.
    """
    labels, folds = texts.labels, choosing.folds(texts.clusters, texts.labels, seed)
    rule = features.choose(
        seen, labels, fpr, site=subject.site, dictionary=subject.dictionary, label=subject.label, among=among
    )
    probes = dense.choose(seen, labels, folds, fpr, site=subject.site, seed=seed)
    plain = words.choose(seen.tokens.ids, labels, folds, fpr, subject.lm.tokeniser.vocabulary_size)
    detectors = ([] if rule is None else [rule]) + [p.detector for p in probes]
    return Chosen({d.name: d for d in detectors}, plain, {p.detector.name: p.way for p in probes})


def _ranges(detectors: Sequence[Detector], read: Values) -> dict[str, tuple[float, float]] | None:
    """The ranges that the drift alarm knows; see ``watch.drift``."""
    if len(read) < drift.SEQUENCES or sum(map(len, read)) < drift.WINDOW:
        return None
    with tempfile.TemporaryDirectory() as place:
        made = drift.calibrated(rules_of(detectors, Path(place) / "rules.toml"), iter(enumerate(read)))
    return {s.name: s.density for s in made.signals if s.density is not None}
