"""Detecting strings of known kinds, here and elsewhere: a rule over features, dense probes, and tokens alone.

    python recipes/detection.py RUN --out OUT              all kinds; some minutes on two cores
    python recipes/detection.py RUN --out OUT --kinds hex --texts 1000

Snippets of Python source that RUN's dictionary was not trained on get a line with a string: an e-mail address, a URL,
hexadecimal digits, base64, a key such as services give out, DNA, or plain words. To be detected is one kind among all
the others, so that a string alone is no sign. Detectors are fitted and thresholds set on snippets of some packages, at
a rate of false alarms promised with 95 % confidence. They are tested on

    test        held-out snippets of the same packages
    packages    snippets of other packages
    real        addresses, URLs and hexadecimal digits that really stand in other packages' source, and source without
    long        the same as packages, in four times as many lines
    prose       such strings in prose: the descriptions of installed packages

beside two controls: labels shuffled before fitting, and rules that may use only features drawn at random. ``OUT``
receives ``detection.json`` with every number and, with matplotlib, ``detection-roc.png`` and ``detection-shift.png``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import util
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from cyclopts import App
from rich.console import Console
from rich.table import Table

from detection_texts import CERTAIN, KINDS, LONG, SHORT, at_home, inserted, one_kind, prose, real
from monoscope import folder, progress
from monoscope.app import detecting
from monoscope.app.run import Run
from monoscope.errors import MonoscopeError
from monoscope.studies.detection import Fitted, Subject, dense, features, fitting, seeing, telling, thresholds, words
from monoscope.studies.detection import examples as labelled
from monoscope.studies.detection.detector import Detector, Part, columns
from monoscope.studies.detection.examples import Example, Texts
from monoscope.studies.detection.fitting import Chosen
from monoscope.studies.detection.judging import Judged, judge
from monoscope.studies.detection.seeing import Seen
from monoscope.text.corpora import held_out
from monoscope.types import Document

DETECTORS = (features.NAME, dense.DENSE, dense.DIFFERENCE, words.UNIGRAM, words.BAG)
PLACES = ("test", "packages", "real", "long", "prose")
RANDOM = 4  # features that the control may use
COLOURS = dict(zip(DETECTORS, ("#d1495b", "#2e6f95", "#7fb7be", "#8d8d8d", "#c9a227"), strict=True))
app = App(help=__doc__)


def sources(run: Run, number: int) -> tuple[list[Document], list[Document]]:
    """Documents that the dictionary was not trained on, of home packages and of others."""
    known = {run.store.document(int(i)).name for i in run.store.documents("dictionary")}
    fresh = [d for d in islice(held_out.unseen_python(), number + len(known)) if d.name not in known]
    return [d for d in fresh if at_home(d)], [d for d in fresh if not at_home(d)]


def enough(examples: Sequence[Example]) -> Texts | None:
    """The texts, where there are enough of both labels to measure anything."""
    try:
        texts = labelled.of(examples)
        labelled.check(texts, "it")
    except MonoscopeError:
        return None
    return texts


def shuffled(texts: Texts, seed: int) -> Texts:
    """The labels dealt out anew; where strings stand is forgotten."""
    dealt = np.random.default_rng(seed).permutation(texts.labels)
    examples = tuple(Example(e.text, bool(y)) for e, y in zip(texts.examples, dealt, strict=True))
    return Texts(examples, texts.clusters)


def drawn(run: Run, seed: int) -> list[int]:
    """Features that fire, at random."""
    live = np.flatnonzero(run.catalogue.features["density"] > 0)
    return np.random.default_rng(seed).choice(live, RANDOM, replace=False).tolist()


def study(
    run: Run, texts: Mapping[str, list[tuple[str, Example]]], kinds: Sequence[str], fpr: float, seed: int
) -> dict[str, Any]:
    """Fit detectors of every kind and test them everywhere; all that read the model read it in the same passes."""
    subject = detecting.subject(run.path)
    parts = {kind: labelled.split(one_kind(texts["home"], kind), seed) for kind in kinds}
    seen = fitting.observe(subject, seeing.tokenise(subject.lm, parts[kinds[0]][labelled.FIT]))
    chosen = {kind: chosen_for(subject, seen, parts[kind][labelled.FIT], kind, fpr, seed) for kind in kinds}
    controls = {kind: control(run, subject, seen, parts[kind], kind, fpr, seed) for kind in kinds}
    several = [*chosen.values(), *(each for one in controls.values() for each in one.values())]
    reader = Reader(subject, [detector for one in several for detector in one.detectors.values()])
    results = {}
    for kind in kinds:
        held = {**parts[kind], **elsewhere(texts, kind)}
        made = calibrated(reader, chosen[kind], parts[kind][labelled.CALIBRATE], fpr, seen.tokens.cut)
        judged = {place: reader.judge(made, where, seed) for place, where in held.items() if place in PLACES}
        results[kind] = telling.report(made, held, judged)
        results[kind]["controls"] = {
            name: {
                which: judge(s, held["test"].labels, np.inf, seed).to_json()["auc"]
                for which, s in reader.scores(one, held["test"]).items()
            }
            for name, one in controls[kind].items()
        }
    return results


def elsewhere(texts: Mapping[str, list[tuple[str, Example]]], kind: str) -> dict[str, Texts]:
    """The texts of other places on which a kind can be judged."""
    places = [place for place in PLACES[1:] if place != "real" or kind in CERTAIN]
    found = {place: enough(one_kind(texts[place], kind)) for place in places}
    return {place: held for place, held in found.items() if held is not None}


class Reader:
    """Reads each text once, for all detectors."""

    def __init__(self, subject: Subject, detectors: Sequence[Detector]) -> None:
        self.subject, self.detectors = subject, detectors
        self.known: dict[str, np.ndarray] = {}

    def judge(self, made: Fitted, texts: Texts, seed: int) -> dict[str, Judged]:
        """Measure all detectors of a kind on some texts."""
        found = self.scores(made.chosen, texts)
        return {name: judge(s, texts.labels, made.thresholds[name], seed) for name, s in found.items()}

    def scores(self, chosen: Chosen, texts: Texts) -> dict[str, np.ndarray]:
        """Every detector's score of some texts."""
        lm = self.subject.lm
        fresh = tuple({e.text: e for e in texts.examples if e.text not in self.known}.values())
        if fresh:
            unread = seeing.tokenise(lm, Texts(fresh, np.arange(len(fresh))))
            with progress.bar("reading", int(unread.offsets[-1])) as report:
                read = seeing.values(lm, self.detectors, unread, report)
            self.known |= {e.text: v for e, v in zip(fresh, read, strict=True)}
        held = [self.known[e.text] for e in texts.examples]
        return chosen.scores(seeing.tokenise(lm, texts), held, columns(self.detectors))


def calibrated(reader: Reader, chosen: Chosen, texts: Texts, fpr: float, cut: int) -> Fitted:
    """The detectors with thresholds."""
    promised = thresholds.promise(fpr, int((~texts.labels).sum()))
    found = reader.scores(chosen, texts)
    limits = {name: thresholds.threshold(s[~texts.labels], promised) for name, s in found.items()}
    return Fitted(reader.subject, chosen, limits, promised, None, cut)


def named(chosen: Chosen, name: str) -> Chosen:
    """The same; a probe's signal is called by what it detects, so that many can be read at once."""

    def part(p: Part) -> Part:
        return p if p.vector is None else replace(p, name=f"{name} {p.name}")

    detectors = {k: replace(d, parts=tuple(map(part, d.parts))) for k, d in chosen.detectors.items()}
    return replace(chosen, detectors=detectors)


def chosen_for(subject: Subject, seen: Seen, texts: Texts, kind: str, fpr: float, seed: int) -> Chosen:
    """Detectors of a kind."""
    here = replace(seen, tokens=seeing.tokenise(subject.lm, texts))
    return named(fitting.choose(subject, here, texts, fpr, seed=seed), kind)


def control(
    run: Run, subject: Subject, seen: Seen, parts: Mapping[str, Texts], kind: str, fpr: float, seed: int
) -> dict[str, Chosen]:
    """Detectors of shuffled labels, and a rule over random features."""
    rule = features.choose(
        seen, parts[labelled.FIT].labels, fpr, site=subject.site, dictionary=subject.dictionary,
        label=subject.label, among=drawn(run, seed),
    )  # fmt: skip
    return {
        "shuffled labels": chosen_for(
            subject, seen, shuffled(parts[labelled.FIT], seed), f"{kind} shuffled", fpr, seed
        ),
        "random features": Chosen({} if rule is None else {rule.name: rule}, {}, {}),
    }


def share(held: Mapping[str, float | None], digits: int = 1) -> str:
    """A rate in per cent with its interval."""
    value, low, high = held["value"], held["low"], held["high"]
    if value is None or low is None or high is None:
        return "–"
    return f"{value:.{digits}%} ({low:.{digits}%}–{high:.{digits}%})"


def show(kind: str, told: Mapping[str, Any], console: Console) -> None:
    """A line for each detector, three columns for each place."""
    table = Table(title=f"{kind}: AUC, false alarms, caught")
    table.add_column("")
    places = [p for p in PLACES if p in told["detectors"][dense.DENSE]]
    for place in places:
        n = told["examples"][place]
        table.add_column(f"{place}\n{n['positives']} of {n['positives'] + n['negatives']}", justify="right")
    for name, found in told["detectors"].items():
        cells = [
            f"{found[p]['auc']['value']:.3f}\n{share(found[p]['fpr'])}\n{share(found[p]['recall'])}" for p in places
        ]
        table.add_row(name, *cells)
    console.print(table)
    for control, found in told["controls"].items():
        line = ", ".join(
            f"{name} {auc['value']:.2f} ({auc['low']:.2f}–{auc['high']:.2f})" for name, auc in found.items()
        )
        console.print(f"{control}: AUC of {line}", style="dim", highlight=False)
    how = told["detectors"].get(features.NAME, {}).get("how")
    console.print(str(how), markup=False)
    for place in places:
        for line in told["lesson"][place]:
            console.print(f"{place}: {line}", markup=False)


def figures(results: Mapping[str, Any], fpr: float, out: Path) -> None:
    """ROC curves on the test texts, and what a fixed threshold does elsewhere."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot as plt

    across = min(3, len(results))
    down = -(-len(results) // across)
    figure, axes = plt.subplots(down, across, figsize=(3.4 * across, 3 * down), squeeze=False, layout="constrained")
    for axis, (kind, told) in zip(axes.flat, results.items(), strict=False):
        for name, found in told["detectors"].items():
            x, y = np.array(found["test"]["roc"]).T
            axis.plot(np.maximum(x, 5e-4), y, color=COLOURS[name], label=name, lw=1.6, alpha=0.9)
        axis.axvline(fpr, color="#444444", lw=0.8, ls=":")
        axis.set(title=kind, xscale="log", xlim=(5e-4, 1), ylim=(0, 1.02))
    figure.supxlabel("false-positive rate")
    figure.supylabel("recall")
    axes[0, 0].legend(fontsize=7, loc="lower right")
    figure.savefig(out / "detection-roc.png", dpi=110)
    plt.close(figure)
    figure, axes = plt.subplots(2, len(results), figsize=(2.3 * len(results), 5), squeeze=False, layout="constrained")
    for column, (kind, told) in enumerate(results.items()):
        places = [p for p in PLACES if p in told["detectors"][dense.DENSE]]
        for row, measure in enumerate(("fpr", "recall")):
            axis = axes[row, column]
            for i, name in enumerate(n for n in DETECTORS if n in told["detectors"]):
                held = [told["detectors"][name][p][measure] for p in places]
                value, low, high = (np.array([h[part] for h in held], float) for part in ("value", "low", "high"))
                where = np.arange(len(places)) + 0.13 * (i - 2)
                bars = np.maximum(0, [value - low, high - value])
                axis.errorbar(where, value, bars, fmt="o", ms=3, lw=1, color=COLOURS[name], label=name)
            axis.set_xticks(range(len(places)), places, rotation=45, fontsize=8)
            axis.set_ylim(-0.03, 1.03)
            if measure == "fpr":
                axis.set_title(kind)
                axis.axhline(fpr, color="#444444", lw=0.8, ls=":")
                axis.set_yscale("symlog", linthresh=0.02)
                axis.set_ylim(-0.001, 0.5)
                axis.set_yticks([0, 0.01, 0.02, 0.05, 0.1, 0.2], ["0", "1 %", "2 %", "5 %", "10 %", "20 %"])
    axes[0, 0].set_ylabel("false-positive rate")
    axes[1, 0].set_ylabel("recall")
    figure.legend(*axes[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(DETECTORS), fontsize=8)
    figure.savefig(out / "detection-shift.png", dpi=110)
    plt.close(figure)


@app.default
def detection(
    run: Path, *, out: Path, kinds: str = ",".join(KINDS), texts: int = 4500, fpr: float = 0.02, seed: int = 0
) -> None:
    """Fit, test, show.

    Args:
        run: a run's folder, with a catalogue.
        out: where the numbers and figures go.
        kinds: which are to be detected, with commas between.
        texts: documents of source that are drawn from.
        fpr: the rate of false alarms that thresholds promise.
        seed: of splits, folds and draws.
    """
    opened, console = Run(run), Console(width=150)
    home, away = sources(opened, texts)
    held = {
        "home": list(inserted(home, SHORT, f"home{seed}")),
        "packages": list(inserted(away, SHORT, f"away{seed}")),
        "real": list(real(away, f"real{seed}")),
        "long": list(inserted(away, LONG, f"long{seed}")),
        "prose": list(prose(f"prose{seed}")),
    }
    results = study(opened, held, kinds.split(","), fpr, seed)
    for kind, told in results.items():
        show(kind, told, console)
    folder.write_json(out / "detection.json", {"fpr": fpr, "confidence": thresholds.CONFIDENCE, "kinds": results})
    if util.find_spec("matplotlib"):
        figures(results, fpr, out)


if __name__ == "__main__":
    app()
