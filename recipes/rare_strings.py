"""Find the features for rare scripts, base64, hex and DNA, as *Towards Monosemanticity* does for four of its own.

    python recipes/rare_strings.py RUN --out OUT                    a run of the quickstart: dictionary, model, text
    python recipes/rare_strings.py RUN --out OUT --data SCRIPTS     with more text of the scripts, never seen either
    python recipes/rare_strings.py DICTIONARY --model M --site S --text STORE --out OUT

For each kind of string the feature and the neuron whose activations correlate best with the paper's proxy are chosen on
one part of the held-out text (split ``fit``) and judged on another (``test``); strings are generated anew, with a seed
that no training has used. ``OUT`` receives ``rare_strings.json`` and, where matplotlib is installed (the extra
``plots``), a figure per kind: which strings the feature fires on, by activation level, beside the best neuron.

``SCRIPTS`` is the folder that the reference models were trained from; only its documents beyond those are read.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cyclopts import App
from rich.console import Console
from rich.table import Table

from monoscope import folder, progress
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.evaluate import Estimate, proxies
from monoscope.evaluate.specificity import Correlations, Specificity, sensitivity, specificity
from monoscope.harvest.stream import stream
from monoscope.models import LanguageModel, load_model
from monoscope.text import store
from monoscope.text.corpora import synthetic_strings
from monoscope.text.rows import Rows
from monoscope.types import Activations, Document
from reference_model import pieces, shorten

PROXY_OF = {
    "cherokee": "cherokee",
    "gujarati": "gujarati",
    "syriac": "syriac",
    "ukrainian": "cyrillic",
    "base64": "base64",
    "hex": "hex",
    "dna": "dna",
}
CHOOSE, JUDGE = "fit", "test"
SEED = "rare_strings"
STRINGS = 24  # documents of each generated kind
SCRIPT_BYTES = 160_000  # of each script from --data
PROXY_EDGES = np.array([-30.0, -10.0, 0.0, 5.0, 15.0, 30.0])
app = App(help=__doc__)


@dataclass(frozen=True)
class Finding:
    """A feature or a neuron, and how well it detects one kind of string on text that it was not chosen on."""

    index: int
    chosen_with: float  # Pearson on the text of the choice
    pearson: Estimate
    specificity: Specificity

    def to_json(self) -> dict[str, Any]:
        """All numbers, the level-by-level shares included; None where a level is empty."""
        s = self.specificity
        shares = {"base": s.base, "of_active": s.of_active, "of_mass": s.of_mass, "of_top": s.of_top}
        return {
            "index": self.index,
            "chosen_with": finite(self.chosen_with),
            "pearson": self.pearson.to_json(),
            "share_in_class": {name: finite(x) for name, x in shares.items()},
            "n_active": s.n_active,
            "n_top": s.n_top,
            "levels": {"edges": s.edges.tolist(), "in_class": [finite(x) for x in s.in_class]},
            "proxy_edges": s.proxy_edges.tolist(),
            "counts": s.counts.tolist(),
            "mass": s.mass.tolist(),
        }


def finite(x: float) -> float | None:
    """A number for JSON, or None where there is none."""
    return float(x) if math.isfinite(x) else None


# --- text ------------------------------------------------------------------------------------------------------------


def rare_documents(data: Path | None) -> Iterator[Document]:
    """Strings of a seed of their own, and the scripts' documents that the reference models were not trained from."""
    for kind in synthetic_strings.KINDS:
        yield from synthetic_strings.documents(f"{kind}:{STRINGS}:{SEED}")
    for path in sorted(data.glob("*.txt")) if data else ():
        documents = list(pieces(path, 20))
        skipped = sum(len(d.text.encode()) for d in shorten(path.stem, list(pieces(path, 80))))
        at = size = 0
        for document in documents:
            at += len(document.text.encode())
            if at > skipped and at - len(document.text.encode()) >= skipped and size < SCRIPT_BYTES:
                size += len(document.text.encode())
                yield document


def gather(text: store.TokenStore, lm: LanguageModel, data: Path | None, out: Path) -> store.TokenStore:
    """The run's held-out text and the rare documents as one store; the rare ones are dealt out in turn."""
    held = text.documents(CHOOSE, JUDGE)
    if len(held) == 0:
        raise MonoscopeError(
            f"{text.path} has no documents in the splits {CHOOSE} and {JUDGE}",
            fix="name a run's text folder with --text",
        )

    def pairs() -> Iterator[tuple[str, Document]]:
        for index in held.tolist():
            yield text.splits[index], Document(text.names[index], text.text(index).decode())
        for i, document in enumerate(rare_documents(data)):
            yield (CHOOSE, JUDGE)[i % 2], document

    return store.build(pairs(), lm.tokeniser, out)


# --- search ----------------------------------------------------------------------------------------------------------


def proxy_rows(found: list[proxies.Proxy], rows: Rows) -> np.ndarray:
    """Every proxy at every row: ``(n_rows, n_proxies)`` in float32."""
    by_document = (rows.store.document(int(d)) for d in rows.documents)
    return np.concatenate([np.stack([p(d) for p in found], 1).astype(np.float32) for d in by_document])


def read(lm: LanguageModel, site: str, rows: Rows, title: str) -> Iterator[tuple[slice, Activations]]:
    """The activations of the rows, block by block, with the rows that each block covers."""
    first = 0
    with progress.bar(title, len(rows)) as report:
        for block in stream(lm, rows.store, rows.documents, [site]):
            yield slice(first, first + len(block)), block
            first += len(block)
            report(len(block))


def choose(
    lm: LanguageModel, site: str, dictionary: Dictionary, rows: Rows, in_class: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pearson of every feature and of every neuron with every kind: ``(n, n_kinds)`` each."""
    n_kinds = in_class.shape[1]
    features, neurons = Correlations(dictionary.n_features, n_kinds), Correlations(lm.width(site), n_kinds)
    for span, block in read(lm, site, rows, "choosing"):
        targets = torch.from_numpy(in_class[span])
        features.add_code(dictionary.encode(block.values[site]), targets)
        neurons.add_rows(block.values[site], targets)
    return features.pearson(), neurons.pearson()


def activations(
    lm: LanguageModel, site: str, dictionary: Dictionary, rows: Rows, features: np.ndarray, neurons: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The chosen features' and neurons' activations at every row: ``(n_rows, n_kinds)`` each."""
    of_features = np.zeros((len(rows), len(features)), np.float32)
    of_neurons = np.zeros((len(rows), len(neurons)), np.float32)
    for span, block in read(lm, site, rows, "judging"):
        code = dictionary.encode(block.values[site])
        at, indices, values = code.rows().numpy(), code.indices.numpy(), code.values.numpy()
        for column, feature in enumerate(features):
            hit = indices == feature
            of_features[span.start + at[hit], column] = values[hit]
        of_neurons[span] = block.values[site][:, neurons].numpy()
    return of_features, of_neurons


@torch.no_grad()
def search(
    lm: LanguageModel, site: str, dictionary: Dictionary, text: store.TokenStore
) -> dict[str, dict[str, Finding]]:
    """The best feature and the best neuron for each kind, chosen on one split and judged on the other."""
    chosen_on, judged_on = Rows(text, text.documents(CHOOSE)), Rows(text, text.documents(JUDGE))
    counted_on = (text.document(int(d)) for d in chosen_on.documents)
    present = [kind for kind in PROXY_OF if occurs(kind, text)]
    found = proxies.fit([PROXY_OF[kind] for kind in present], counted_on, lm.tokeniser.vocabulary_size)
    by_feature, by_neuron = choose(
        lm, site, dictionary, chosen_on, (proxy_rows(found, chosen_on) > 0).astype(np.float32)
    )
    features, neurons = (np.argmax(np.nan_to_num(r, nan=-2.0), axis=0) for r in (by_feature, by_neuron))

    ratio, slots = proxy_rows(found, judged_on), judged_on.slots()
    of_features, of_neurons = activations(lm, site, dictionary, judged_on, features, neurons)

    def judge(index: int, chosen_with: float, activation: np.ndarray, proxy: np.ndarray) -> Finding:
        pearson = sensitivity(activation, proxy > 0, slots)
        return Finding(int(index), float(chosen_with), pearson, specificity(activation, proxy, PROXY_EDGES))

    return {
        kind: {
            "feature": judge(features[i], by_feature[features[i], i], of_features[:, i], ratio[:, i]),
            "neuron": judge(neurons[i], by_neuron[neurons[i], i], of_neurons[:, i], ratio[:, i]),
        }
        for i, kind in enumerate(present)
    }


def occurs(kind: str, text: store.TokenStore) -> bool:
    """Whether both splits hold documents of this kind."""
    return all(any(text.names[d].startswith(f"{kind}/") for d in text.documents(s)) for s in (CHOOSE, JUDGE))


# --- output ----------------------------------------------------------------------------------------------------------


def table(found: dict[str, dict[str, Finding]]) -> Table:
    """One line for each feature and each neuron: correlation with the proxy, and which share of what is in class."""
    shown = Table(title="The best feature and the best neuron for each kind of string, on held-out text")
    for column in ("kind", "detector"):
        shown.add_column(column, no_wrap=True)
    for column in ("Pearson (95 %)", "in class: all", "active", "weighted", "top half", "active tokens"):
        shown.add_column(column, justify="right", no_wrap=True)
    for kind, pair in found.items():
        for what, finding in pair.items():
            s, e = finding.specificity, finding.pearson
            known = e.value is not None and e.low is not None and e.high is not None
            pearson = f"{e.value:.2f} ({e.low:.2f} to {e.high:.2f})" if known else "-"
            shares = [f"{x:.1%}" if math.isfinite(x) else "-" for x in (s.base, s.of_active, s.of_mass, s.of_top)]
            shown.add_row(
                kind if what == "feature" else "", f"{what} {finding.index}", pearson, *shares, f"{s.n_active:,}"
            )
        shown.add_section()
    return shown


def plot(kind: str, pair: dict[str, Finding], path: Path) -> None:
    """Specificity of the feature beside the neuron: the make-up of each activation level, and the activation's mass."""
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "rare_strings"
    from matplotlib import pyplot

    colours = ["#8a8f98", "#c4c8ce", "#9ec9f0", "#3f8fdc", "#0b4f9e"]
    labels = ["below -10", "-10 to 0", "0 to 5", "5 to 15", "above 15"]
    figure, axes = pyplot.subplots(2, 2, figsize=(9, 6), layout="constrained")
    for column, (what, finding) in enumerate(pair.items()):
        s = finding.specificity
        height = s.counts.sum(1, keepdims=True)
        for row, (values, title) in enumerate(
            [(s.counts / np.maximum(height, 1), "share of tokens"), (s.mass, "total activation")]
        ):
            axis, base = axes[row, column], np.zeros(len(values))
            for j, colour in enumerate(colours):
                axis.bar(
                    s.edges[:-1], values[:, j], np.diff(s.edges), base, align="edge", color=colour, label=labels[j]
                )
                base += values[:, j]
            axis.set(ylabel=title, xlim=(0, s.edges[-1]))
            axis.spines[["top", "right"]].set_visible(False)
        pearson = "-" if finding.pearson.value is None else f"{finding.pearson.value:.2f}"
        axes[0, column].set_title(f"{what} {finding.index}: Pearson {pearson}")
        axes[1, column].set_xlabel("activation level")
    handles, names = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, title="proxy, nats", loc="outside lower center", ncols=len(names), frameon=False)
    figure.suptitle(f"{kind}: which tokens it fires on")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


@app.default
def find(
    run: Path,
    *,
    out: Path,
    model: str | None = None,
    site: str | None = None,
    text: Path | None = None,
    data: Path | None = None,
) -> None:
    """Find, judge and plot."""
    dictionary = io.load(run)
    lm = load_model(model or dictionary.provenance["model"])
    site = site or str(dictionary.provenance["site"])
    out.mkdir(parents=True, exist_ok=True)
    held = gather(store.TokenStore(text or run / "text"), lm, data, out / "text")
    found = search(lm, site, dictionary, held)
    written = {kind: {what: finding.to_json() for what, finding in pair.items()} for kind, pair in found.items()}
    facts = {
        "model": lm.name,
        "site": site,
        "n_tokens": {s: held.tokens_in(s) for s in (CHOOSE, JUDGE)},
        "strings": SEED,
    }
    folder.write_json(out / "rare_strings.json", {**facts, "kinds": written})
    Console(width=None if sys.stdout.isatty() else 120).print(table(found))
    if find_spec("matplotlib") is None:
        print("no figures: install the extra `plots` (matplotlib) for them")
        return
    for kind, pair in found.items():
        plot(kind, pair, out / f"{kind}.svg")


if __name__ == "__main__":
    app()
