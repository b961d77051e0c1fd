"""Several dictionaries of one model and site, judged in one pass over text that none of them was trained on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from monoscope import folder, progress
from monoscope.app import frontiers, given, saebench, stages
from monoscope.app import plan as plans
from monoscope.app.plan import TEST, TRAIN
from monoscope.app.recalibrating import recalibrate
from monoscope.app.run import Run
from monoscope.app.ui import payloads
from monoscope.dictionary import io, topk
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.evaluate.evaluation import Evaluation, Metrics
from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.reconstructor import Reconstructor
from monoscope.evaluate.right_l0 import Verdict, verdicts
from monoscope.evaluate.stability import MOST, Stability, stability
from monoscope.text import near_duplicates
from monoscope.text.store import TokenStore

AGAINST = ("controls",)
MATCHED = 12  # dictionaries whose features are matched, each with each: 66 pairs
FEW = 10  # documents; with fewer, 95 % intervals hold the truth less often than they say
DEEP = 3  # folders between a run and a dictionary in it: controls/random_model/dictionary


@dataclass(frozen=True)
class Contestant:
    """A dictionary, the run in which it was trained, where that is here, and whether another one is of its weights."""

    name: str
    dictionary: Dictionary
    home: Run | None
    view: bool = False


@dataclass(frozen=True)
class Comparison:
    """``evaluation`` judges the first of ``names``; the others, and the controls, are among its controls.

    ``views`` are those of ``names`` with another one's weights, at another k. ``text`` names the corpus that judged
    them all. ``notes`` say what the numbers must be read with: documents left out, text that could not be checked.
    ``stability`` says how far the dictionaries hold the same features, where they are of one shape.
    """

    names: tuple[str, ...]
    dictionaries: dict[str, Dictionary]
    evaluation: Evaluation
    text: str
    notes: tuple[str, ...]
    stability: Stability | None = None
    views: tuple[str, ...] = ()

    def metrics(self) -> dict[str, Metrics]:
        """The metrics of every dictionary and control, the first one's first."""
        return {self.names[0]: self.evaluation.metrics, **self.evaluation.controls}

    def to_json(self) -> dict[str, Any]:
        """``dictionaries``, ``controls``, ``differences`` (the first less each other), facts and notes."""
        written = self.evaluation.to_json()
        details = self.details()
        rest = {k: v for k, v in written.items() if k not in ("metrics", "controls", "differences", *details)}
        others = {name: written["controls"][name] for name in self.names[1:]}
        return {
            "first": self.names[0],
            "dictionaries": {self.names[0]: written["metrics"], **others},
            "controls": {name: m for name, m in written["controls"].items() if name not in self.names},
            "differences": {
                name: {metric: {**e.to_json(), "within_noise": within_noise(e)} for metric, e in metrics.items()}
                for name, metrics in self.evaluation.differences.items()
            },
            **rest,
            **details,
            "stability": None if self.stability is None else self.stability.to_json(),
            "right_l0": {name: v.to_json() for name, v in self.right_l0().items()},
            "notes": list(self.notes),
        }

    def right_l0(self) -> dict[str, Verdict]:
        """Whether each dictionary's L0 looks too low or too high."""
        shapes = {tuple(d.directions.shape) for d in self.dictionaries.values()}
        own = [name for name in self.names if name not in self.views] if len(shapes) == 1 else []
        return verdicts({name: self.metrics()[name] for name in self.names}, own)

    def details(self) -> dict[str, dict[str, Any]]:
        """What measures show beyond their numbers, of each dictionary and control."""
        first = {"dictionary": self.names[0]}
        return {
            measure: {first.get(who, who): shown for who, shown in of.items()}
            for measure, of in self.evaluation.details.items()
        }


def within_noise(difference: Estimate) -> bool | None:
    """Whether a paired interval contains 0; None where there is no difference to speak of."""
    if difference.value is None or difference.low is None or difference.high is None:
        return None
    return difference.low <= 0 <= difference.high


def compare(paths: Sequence[Path], against: str | None = None) -> Comparison:
    """Judge dictionaries in one pass over the test split of the first run among ``paths``.

    Args:
        paths: runs, or folders of dictionaries of the same model and site (of transcoders, also the same target); with
            ``@8`` at its end, what a TopK dictionary does with its 8 best features.
        against: ``"controls"`` adds the first run's controls: frozen decoder and random model where they were trained,
            principal components, raw neurons; of transcoders the best linear map of their rank.

    Raises:
        MonoscopeError: no path is a run, a dictionary is of another model or site, or of a text that leaves no
            document to judge on.
    """
    if against is not None and against not in AGAINST:
        raise unknown_name("set of opponents", against, AGAINST)
    contestants = [contestant(*each) for each in zip(paths, distinct(paths), views(paths), strict=True)]
    run = next((c.home for c in contestants if c.home is not None and folder.is_sealed(c.home.path / "text")), None)
    if run is None:
        raise MonoscopeError(
            "none of these is a run, so there is no held-out text to judge them on",
            fix="name a run among them: monoscope evaluate RUN OTHER",
        )
    for c in contestants:
        refuse_unlike(run, c)
    documents, notes = unseen(run, contestants)
    notes += [f"{c.name}: {said}" for c in contestants for said in given.remarks(c.dictionary, run.lm)]
    notes += [calibrated(run, c) for c in contestants if not c.dictionary.calibrated]
    judged: dict[str, Reconstructor] = {c.name: c.dictionary for c in contestants}
    if against == "controls":
        judged |= {n: d for n, d in stages.trained(run).items() if n != "main"}
        judged |= stages.untrained(run, contestants[0].dictionary)
        notes += [f"no {words} beside these: {run.path.name} has none" for words in missing(run)]
    found = stages.judge(run, run.lm, judged, "evaluating", documents=documents)
    if against == "controls" and (other := stages.judge_random_model(run, documents)) is not None:
        found = found.with_control("random_model", other)
    if (judges := found.facts["n_documents"]) < FEW:
        notes.append(
            f"only {judges} documents judge, so intervals may be too narrow, and too few differences within noise"
        )
    dictionaries = {c.name: c.dictionary for c in contestants}
    shared = tuple(c.name for c in contestants if c.view)
    own = {name: d for name, d in dictionaries.items() if name not in shared}
    if len(own) > MATCHED:
        notes.append(f"no PW-MCC: of more than {MATCHED} dictionaries it would take longer than all the rest")
    if shared:
        notes.append(f"{', '.join(shared)}: the weights of another here, so left out where directions are compared")
    same = _stability(own, run.plan.seed)
    return Comparison(tuple(dictionaries), dictionaries, found, run.plan.text, tuple(notes), same, shared)


def refuse_unlike(run: Run, c: Contestant) -> None:
    """Raise ``MonoscopeError`` where a contestant is of another model, or reads or writes another site, than a run."""
    try:
        plans.refuse_stranger(c.dictionary, run.lm, run.plan.site)
        plans.refuse_target(c.dictionary, run.lm, run.plan.target or run.plan.site)
    except MonoscopeError as error:
        raise MonoscopeError(
            f"{c.name} cannot be compared with {run.path.name}: {error.what}",
            fix="compare dictionaries that read and write the same sites of one model",
        ) from error


def _stability(dictionaries: dict[str, Dictionary], seed: int) -> Stability | None:
    """PW-MCC, where there are two dictionaries or more, but not too many, all of one shape that can be matched."""
    shapes = {tuple(d.directions.shape) for d in dictionaries.values()}
    if not 2 <= len(dictionaries) <= MATCHED or len(shapes) > 1 or next(iter(shapes))[0] > MOST:
        return None
    pairs = len(dictionaries) * (len(dictionaries) - 1) // 2
    with progress.bar("matching features", pairs, unit="pairs") as report:
        return stability({name: d.directions for name, d in dictionaries.items()}, seed, report)


def write(found: Comparison, plots: Path | None, results: Path | None) -> list[str]:
    """Write the frontiers into the folder ``plots`` and SAEBench's layout to ``results``; returns what to say of it."""
    said = []
    if plots is not None:
        if frontiers.available():
            said += [f"wrote {path}" for path in frontiers.draw(found.metrics(), found.names, plots)]
        else:
            said.append("no figures: install the extra `plots` (matplotlib) for them")
    if results is not None:
        for name, path in _beside(results, found.names).items():
            facts, density = found.evaluation.facts, found.details()["density"][name]
            made = found.dictionaries[name]
            content = saebench.core(name, found.metrics()[name], facts, made, found.text, density)
            folder.write_json(path, content)
            said.append(f"wrote {path}")
    return said


def _beside(results: Path, names: Sequence[str]) -> dict[str, Path]:
    """A file for each dictionary: by the last part of its name, where that is no other's too, else by all of it."""
    if len(names) == 1:
        return {names[0]: results}
    last = Counter(Path(name).name for name in names)
    own = {name: Path(name).name if last[Path(name).name] == 1 else name.strip("/").replace("/", "-") for name in names}
    return {name: results.with_stem(f"{results.stem}-{part}") for name, part in own.items()}


def refuse_unwritable(plots: Path | None, results: Path | None) -> None:
    """Make the folders that ``write`` writes into, before anything is computed.

    Raises:
        MonoscopeError: one cannot be, or takes no files.
    """
    if plots is not None:
        folder.make_writable(plots)
    if results is not None:
        folder.make_writable(results.parent)


def missing(run: Run) -> list[str]:
    """The controls that a run could have been trained with, and was not; each with the command that trains it."""
    ways = {
        "frozen_decoder": "frozen decoder (train --controls)",
        "random_model": "random model (quickstart --controls full)",
    }
    return [words for name, words in ways.items() if name not in stages.controls_of(run)]


def contestant(path: Path, name: str, view: bool = False) -> Contestant:
    """The dictionary in a folder, with the run around it; at fewer features, where the path says so.

    Raises:
        MonoscopeError: it is to be judged at a k, and is none that can be.
    """
    path, k = viewed(path)
    around = [path, *path.resolve().parents[:DEEP]]
    home = next((Run(p) for p in around if (p / plans.NAME).is_file()), None)
    made = io.load(path)
    if k is None:
        return Contestant(name, made, home, view)
    if not isinstance(made, topk.Architecture):
        raise MonoscopeError(
            f"a {made.architecture} dictionary has no codes of a smaller k",
            where=str(path),
            fix=f"leave out @{k}; topk and hierarchical_topk have",
        )
    return Contestant(name, made.at(k), home, view)


def home(path: Path) -> Path:
    """The dictionary's own folder: of a run, the one in it."""
    inside = path.resolve() / "dictionary"
    return inside if inside.is_dir() else path.resolve()


def views(paths: Sequence[Path]) -> list[bool]:
    """Of each path whether a dictionary of the same weights stands for it: one that is whole, or an earlier one."""
    at = [(home(path), k) for path, k in map(viewed, paths)]
    whole = {path for path, k in at if k is None}
    return [k is not None and (path in whole or path in {p for p, _ in at[:i]}) for i, (path, k) in enumerate(at)]


def viewed(path: Path) -> tuple[Path, int | None]:
    """The folder that a path names, and the k behind an ``@`` at its end, if there is one."""
    whole, at, k = str(path).rpartition("@")
    return (Path(whole), int(k)) if at and k.isdecimal() and not path.exists() else (path, None)


def calibrated(run: Run, contestant: Contestant) -> str:
    """Set a threshold that a contestant's file left void on the run's fit split, which judges nobody; says so."""
    return f"{contestant.name}: {recalibrate(contestant.dictionary, stages.calibration(run, run.lm), run.plan.text)}"


def distinct(paths: Sequence[Path]) -> list[str]:
    """A short name for each path: the folder's, or the whole path where that is not the only one.

    Raises:
        MonoscopeError: a path is named twice.
    """
    if len({(home(path), k) for path, k in map(viewed, paths)}) < len(paths):
        raise MonoscopeError("the same dictionary is named twice", fix="name each dictionary once")
    short = [_short(*viewed(p)) for p in paths]
    taken = {"dictionary", *payloads.CONTROLS}
    return [s if short.count(s) == 1 and s not in taken else str(p) for s, p in zip(short, paths, strict=True)]


def _short(path: Path, k: int | None) -> str:
    name = (path.resolve().parent if path.name == "dictionary" else path.resolve()).name
    return name if k is None else f"{name}@{k}"


def unseen(run: Run, contestants: Sequence[Contestant]) -> tuple[Int[np.ndarray, " n"], list[str]]:
    """The test documents that no contestant was trained on or on a near copy of, and what could not be checked.

    Raises:
        MonoscopeError: fewer than two are left.
    """
    documents, notes = run.store.documents(TEST), list[str]()
    for c in contestants:
        if c.home is None or c.home.plan.dictionary is not None or not folder.is_sealed(c.home.path / "text"):
            notes.append(f"{c.name}: {_unknown(c.dictionary, run)}")
        elif c.home.store.manifest["files"] != run.store.manifest["files"]:
            kept = without(run.store, documents, c.home.store)
            if len(kept) < len(documents):
                left_out = len(documents) - len(kept)
                notes.append(f"{c.name}: {left_out} of {len(documents)} documents left out: it was trained on them")
            documents = kept
    if len(documents) < 2:
        raise MonoscopeError(
            "the dictionaries were trained on the documents that would judge them: no held-out text is left",
            where=str(run.path),
            fix="compare runs of the same --text and --seed, or make a run on other text to judge them on",
        )
    return documents, notes


def _unknown(dictionary: Dictionary, run: Run) -> str:
    text = dictionary.provenance.get("text")
    if text is None:
        return "it does not say which text it was trained on, and may have seen this one"
    if text == run.plan.text:
        return f"it was trained on {text} too, on documents that are not known: it may have seen some of these"
    return f"it was trained on {text}, other text than {run.plan.text}; copies across the two are not looked for"


def without(store: TokenStore, documents: Int[np.ndarray, " n"], other: TokenStore) -> Int[np.ndarray, " n"]:
    """The documents of ``store`` that are no near-duplicates of training documents of ``other``."""
    trained = other.documents(TRAIN).tolist()
    signatures = [near_duplicates.signature(other.text(d).decode()) for d in trained]
    sketch = near_duplicates.Sketch.of([other.names[d] for d in trained], np.stack(signatures))
    return np.array([d for d in documents.tolist() if not sketch.knows_text(store.text(d).decode())], dtype=np.int64)
