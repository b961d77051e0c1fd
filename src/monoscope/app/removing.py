"""Removing a run's features from its model for good: which, how many, what was forgotten, and what brings it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from monoscope import plugins, progress
from monoscope.app.plan import FIT, TEST, TRAIN
from monoscope.app.run import Run
from monoscope.concepts import Expression, concept
from monoscope.dictionary.identity import content_hash
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Estimate, finite
from monoscope.harvest.stream import stream
from monoscope.intervene import remove
from monoscope.intervene.affine import Moments
from monoscope.intervene.edit import Direction, Edit, Recipe
from monoscope.intervene.removals import PACKAGE, Task, project
from monoscope.intervene.steering import steer
from monoscope.models import LanguageModel
from monoscope.signals.features import Watched
from monoscope.studies import forgetting
from monoscope.studies.forgetting import Change, Exam, compare, losses
from monoscope.text.store import TokenStore

SELECTIVE, SOMEWHAT = 0.5, 0.1  # shares of a feature's activation, on fit text, that are on the concept
MOST = 256  # features that a search removes at most
ROWS = 100_000  # rows that moments are taken over
RANDOM, ALIKE = 4, 3.0  # draws of random features, of at most so many times the density and at least such a part of it
RELEARN = (2_048, 8_192, 32_768)


@dataclass(frozen=True)
class Wanted:
    """What is to be removed, and within what limits.

    ``tolerance`` is the share by which all other loss may rise (the upper end of its interval) while features are
    searched for; ``only`` names writers; ``tokens`` are judged on.
    """

    concept: str
    method: str = "regress"
    tolerance: float = 0.01
    only: tuple[str, ...] = ()
    tokens: int = 200_000
    seed: int = 0
    relearn: tuple[int, ...] = RELEARN


@dataclass
class Found:
    """What came out; ``arms`` are judged on test documents, ``searched`` on fit documents."""

    features: list[int]
    searched: list[dict[str, Any]]
    arms: dict[str, Change]
    facts: dict[str, Any] = field(default_factory=dict)
    probes: dict[str, Estimate] = field(default_factory=dict)
    relearned: list[dict[str, Any]] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """All of it, as plain data."""
        return {
            "features": self.features, "searched": self.searched,
            "arms": {name: change.to_json() for name, change in self.arms.items()},
            "probes": {name: auroc.to_json() for name, auroc in self.probes.items()},
            "relearned": self.relearned, **self.facts,
        }  # fmt: skip


class _Predictions(dict[int, Bool[np.ndarray, " n"]]):
    """By document: at which tokens the prediction is of the concept or from it; asked when it is wanted."""

    def __init__(self, store: TokenStore, concept: Expression) -> None:
        super().__init__()
        self.store, self.concept = store, concept

    def __missing__(self, document: int) -> Bool[np.ndarray, " n"]:
        here = self.concept.mask(self.store.document(document))
        self[document] = here | np.append(here[1:], False)
        return self[document]

    def at(self, documents: Int[np.ndarray, " n"], positions: Int[np.ndarray, " n"]) -> Bool[np.ndarray, " n"]:
        """At some places."""
        return np.array([self[d][p] for d, p in zip(documents.tolist(), positions.tolist(), strict=True)])


class Removing:
    """One concept and one run: exams are made and the untouched model is judged once."""

    def __init__(self, run: Run, wanted: Wanted) -> None:
        """Check that everything can be done.

        Raises:
            MonoscopeError: no such concept, method, writer or site, or text without the concept.
        """
        self.run, self.wanted, self.lm = run, wanted, run.lm
        self.expression: Expression = concept(wanted.concept)
        self.site = run.plan.target or run.plan.site
        self.method = plugins.load(PACKAGE, wanted.method)
        remove.takes_constant(self.lm, self.site, wanted.only)  # refuses what no matrix writes or reads
        self.fit, self.test = (self._exam(split, part) for split, part in ((FIT, 2), (TEST, 1)))
        self.plain = {exam: losses(self.lm, exam) for exam in (self.fit, self.test)}

    def _exam(self, split: str, part: int) -> Exam:
        documents = self.run.store.documents(split).tolist()
        return forgetting.exam(self.lm, self.run.store, documents, self.expression, self.wanted.tokens // part)

    def ranked(self) -> list[int]:
        """The features that are active on the concept: mostly first, then those that are so at all; by what they write.

        Raises:
            MonoscopeError: there is none of the first kind.
        """
        catalogue, masks = self.run.catalogue, _Predictions(self.run.store, self.expression)
        mask = np.concatenate([masks[d] for d in catalogue.rows.documents.tolist()])
        fit = catalogue.rows.in_split(FIT)
        index, inside, all_ = catalogue.index, np.zeros(len(catalogue)), np.zeros(len(catalogue))
        for feature in range(len(index)):
            rows, values = index.of(feature)
            values = values * fit[rows]
            inside[feature], all_[feature] = (values * mask[rows]).sum(), values.sum()
        written = inside * self.run.dictionary.directions.norm(dim=1).cpu().numpy()
        share = inside / np.maximum(all_, 1e-30)
        if not (share >= SELECTIVE).any():
            raise MonoscopeError(
                f"no feature is active mostly on {self.wanted.concept}",
                fix="name features with --features, choose another concept, or train on text that holds more of it",
            )
        able = np.flatnonzero(share >= SOMEWHAT)
        return able[np.lexsort((-written[able] * share[able], share[able] < SELECTIVE))].tolist()

    def moments(self, features: Sequence[int]) -> Moments:
        """Of the site and of some features' values, over fit documents, those with the concept first.

        Rows at which the prediction is of the concept count as much as all others together: values are to be predicted
        well where they matter, and to be 0 elsewhere. The mean is that of the others.
        """
        documents = self.run.store.documents(FIT)
        ordered = documents[np.argsort(~np.isin(documents, self.fit.documents), kind="stable")]
        watched, (d, n) = Watched(self.run.dictionary, features), (self.lm.width(self.site), len(features))
        rest, rare, seen, masks = Moments(d, n), Moments(d, n), 0, _Predictions(self.run.store, self.expression)
        for block in stream(self.lm, self.run.store, ordered, list(dict.fromkeys([self.run.plan.site, self.site]))):
            x, values = block.values[self.site], watched.values(block.values[self.run.plan.site])
            held = torch.from_numpy(masks.at(block.documents.numpy(), block.positions.numpy()))
            rest.add(x[~held], values[~held])
            rare.add(x[held], values[held])
            seen += len(x)
            if seen >= ROWS:
                break
        return rest.balanced(rare)

    def removed(self, features: Sequence[int], moments: Moments) -> LanguageModel:
        """The model without some features; ``moments`` are of these."""
        plan, only = self.run.plan, self.wanted.only
        task = Task(self.lm, plan.site, self.site, self.run.dictionary, tuple(features), moments, only)
        made: LanguageModel = self.method.removed(task)
        return made

    def judge(self, lm: LanguageModel, exam: Exam) -> Change:
        """A model beside the untouched one."""
        return compare(self.plain[exam], losses(lm, exam), self.wanted.seed)

    def search(self, candidates: Sequence[int]) -> tuple[list[int], list[dict[str, Any]]]:
        """How many of the candidates: the most forgotten within the tolerance, on fit documents.

        1, 2, 4 … are tried until one harms too much, then numbers between the last two, by halving. Where not even one
        is within the tolerance, one is taken.
        """
        candidates = list(candidates)[:MOST]
        moments, tried, best, low, high = self.moments(candidates), [], (-np.inf, 1), 0, len(candidates) + 1
        with progress.bar("searching", None, unit="removals") as report:
            while high - low > 1 + low // 8:
                count = max(1, min(2 * low, len(candidates)) if high > len(candidates) else (low + high) // 2)
                made = self.removed(candidates[:count], moments.of(list(range(count))))
                found = self.judge(made, self.fit)
                tried.append({"features": count, **found.to_json()})
                report(1, f"{count} features")
                if (found.relative.high or 0) > self.wanted.tolerance:
                    high = count
                else:
                    low, best = count, max(best, (found.gain.value or 0.0, count))
        return candidates[: best[1]], tried

    def random(self, features: Sequence[int]) -> list[list[int]]:
        """Draws of as many other features, each about as dense as the one it stands for."""
        density = self.run.catalogue.features["density"]
        drawn, rng = [], np.random.default_rng(self.wanted.seed)
        for _ in range(RANDOM):
            taken: list[int] = []
            for feature in features:
                near = (density > density[feature] / ALIKE) & (density < density[feature] * ALIKE)
                near[[*features, *taken]] = False
                if near.any():
                    taken.append(int(rng.choice(np.flatnonzero(near))))
            drawn.append(taken)
        return drawn

    def difference_of_means(self) -> Float[Tensor, "1 d"]:
        """The mean activation where predictions are of the concept less that elsewhere, on fit text."""
        sums, counts = torch.zeros(2, self.lm.width(self.site), dtype=torch.float64), torch.zeros(2)
        for block, counted, of_concept in zip(self.fit.blocks, self.fit.counted, self.fit.of_concept, strict=True):
            with torch.inference_mode():
                h = self.lm.run(block, read=[self.site])[self.site].double().cpu()
            for side, kept in enumerate((counted & ~of_concept, of_concept)):
                sums[side] += h[kept].sum(0)
                counts[side] += kept.sum()
        return (sums[1] / counts[1] - sums[0] / counts[0])[None]


def study(removing: Removing, features: Sequence[int], searched: list[dict[str, Any]]) -> tuple[LanguageModel, Found]:
    """Remove the features, judge the model on test documents beside its controls, and try to bring the concept back."""
    run, lm, draws = removing.run, removing.lm, removing.random(features)
    together = list(dict.fromkeys([*features, *(f for drawn in draws for f in drawn)]))
    of_all = removing.moments(together)

    def of(some: Sequence[int]) -> Moments:
        return of_all.of([together.index(f) for f in some])

    made = removing.removed(features, of(features))
    with progress.bar("judging", 3 + RANDOM, unit="models") as report:
        arms = {"removed": removing.judge(made, removing.test)}
        report(1, "removed")
        ablation = _ablation(run, features)
        with steer(lm, ablation):
            arms["ablated while running"] = removing.judge(lm, removing.test)
        report(1, "ablated while running")
        for i, others in enumerate(draws):
            control = removing.removed(others, of(others))
            arms[f"random features {i + 1}"] = removing.judge(control, removing.test)
            report(1, "random features")
        arms["difference of means"] = removing.judge(_without_difference(removing, of_all), removing.test)
        report(1, "difference of means")
    found = Found(list(features), searched, arms, _facts(removing, features, of(features)))
    found.facts["random"] = draws
    _bring_back(removing, made, found)
    return made, found


def _bring_back(removing: Removing, made: LanguageModel, found: Found) -> None:
    """Probes of both models, and fine-tuning of both on so many tokens of the concept."""
    run, wanted, lm = removing.run, removing.wanted, removing.lm
    last = next(str(s) for s in reversed(lm.sites()) if s.kind == "resid_post")
    with progress.bar("bringing it back", 2 + 2 * len(wanted.relearn), unit="steps") as report:
        for name, model in (("plain", lm), ("removed", made)):
            found.probes[name] = forgetting.probe(model, last, removing.fit, removing.test, wanted.seed)
            report(1, "probing")
        found.facts["probed"] = last
        documents = run.store.documents(TRAIN, FIT).tolist()
        text = forgetting.exam(lm, run.store, documents, removing.expression, removing.wanted.tokens)
        for amount in wanted.relearn:
            for name, model in (("plain", lm), ("removed", made)):
                tuned, seen = forgetting.relearn(model, text, amount, seed=wanted.seed)
                change = removing.judge(tuned, removing.test)
                found.relearned.append({"model": name, "tokens": seen, **change.to_json()})
                report(1, f"{seen:,} tokens")


def _without_difference(removing: Removing, moments: Moments) -> LanguageModel:
    """The model with the difference of means projected out of the site."""
    constant = remove.takes_constant(removing.lm, removing.site, removing.wanted.only)
    change = project.affine(removing.difference_of_means(), moments, constant)
    return remove.removed(removing.lm, removing.site, change, removing.wanted.only)


def _ablation(run: Run, features: Sequence[int]) -> Recipe:
    path, digest = str(run.path / "dictionary"), content_hash(run.dictionary)
    return Recipe(tuple(Edit("ablate", Direction(path, f, sha256=digest)) for f in features))


def _facts(removing: Removing, features: Sequence[int], moments: Moments) -> dict[str, Any]:
    """What the folder and the report say beside the figures."""
    run, features_table = removing.run, removing.run.catalogue.features
    shown = ("id", "density", "label", "label_concept", "label_f1")
    picked = {name: features_table[name][list(features)].tolist() for name in shown}
    picked["label_f1"] = [finite(f1) for f1 in picked["label_f1"]]
    return {
        "model": run.plan.model,
        "fingerprint": run.plan.fingerprint,
        "site": removing.site,
        "wanted": asdict(removing.wanted),
        "exactness": removing.method.WORDS,
        "removed": [dict(zip(picked, row, strict=True)) for row in zip(*picked.values(), strict=True)],
        "r2": [round(float(r), 4) for r in moments.r2()],
        "plain": {
            name: float(sums[name].sum() / sums[f"{name}_n"].sum())
            for sums in (removing.plain[removing.test],)
            for name in ("concept", "rest")
        },
        "tokens": {name: int(removing.plain[removing.test][f"{name}_n"].sum()) for name in ("concept", "rest")},
        "documents": len(removing.test.documents),
    }


def concept_of(run: Run, features: Sequence[int]) -> str:
    """What features are said to be about: their labels' concepts, joined.

    Raises:
        MonoscopeError: one of them has no label that can be run.
    """
    concepts: Mapping[int, str] = dict(enumerate(run.catalogue.features["label_concept"].tolist()))
    run.dictionary.check_features(features)
    silent = [f for f in features if not concepts[f]]
    if silent:
        raise MonoscopeError(
            f"feature {silent[0]} has no label, so nothing says what should be forgotten with it",
            fix="say it with --concept EXPRESSION",
        )
    return " | ".join(dict.fromkeys(f"({concepts[f]})" for f in features))
