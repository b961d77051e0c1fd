"""A small catalogue with the real one's interface, over real Python source and one hostile document."""

from __future__ import annotations

import io
import math
import re
import time
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from monoscope.catalogue.explanations import Explanation, Score
from monoscope.catalogue.records import Example, ExcerptToken, FeatureRecord, Histogram, Hit, Label, TokenWeight
from monoscope.catalogue.rendering import shown
from monoscope.catalogue.searching import Filters
from monoscope.errors import MonoscopeError
from monoscope.interpret.specificity import Levels

HOSTILE = (
    "<script>window.hacked=1</script> \"><img src=x onerror='window.hacked=1'> </textarea> javascript:alert(1)\n"
    "&lt;b&gt; \x00 \u202e right to left \u05e9\u05dc\u05d5\u05dd \U0001f40d {{7*7}} ${x} ]]> --> <!-- \u2028 end\n"
) * 4
MODULES = ("textwrap", "fractions", "bisect", "shlex", "string", "tempfile", "calendar", "getpass", "fnmatch", "queue")
PIECE = re.compile(rb" ?[A-Za-z_]+| ?[0-9]+|\n+|[ \t]+|[\xc0-\xff][\x80-\xbf]*|.", re.DOTALL)
TOKENS_PER_DOCUMENT = 1_500


def pieces_of(data: bytes) -> list[tuple[int, int]]:
    return [m.span() for m in PIECE.finditer(data)]


def _classes(text: str) -> dict[str, list[tuple[int, int]]]:
    """Byte spans of what ``tokenize`` sees, by class."""
    spans: dict[str, list[tuple[int, int]]] = {"docstring": [], "comment": [], "string": [], "number": [], "call": []}
    lines = np.concatenate([[0], np.cumsum([len(line.encode()) for line in text.splitlines(keepends=True)])])
    previous = None
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        at = lambda where: int(lines[where[0] - 1]) + len(token.line[: where[1]].encode())  # noqa: B023, E731
        span = (at(token.start), int(lines[token.end[0] - 1]) + token.end[1])
        if token.type == tokenize.STRING:
            spans["docstring" if token.string.startswith(('"""', 'r"""')) else "string"].append(span)
        elif token.type == tokenize.COMMENT:
            spans["comment"].append(span)
        elif token.type == tokenize.NUMBER:
            spans["number"].append(span)
        if token.string == "(" and previous is not None and previous.type == tokenize.NAME:
            spans["call"].append(span)
        previous = token
    return spans


@dataclass
class Corpus:
    names: list[str]
    texts: list[bytes]
    spans: list[list[tuple[int, int]]]
    classes: list[dict[str, list[tuple[int, int]]]]
    offsets: np.ndarray = field(init=False)
    places: list[np.ndarray] = field(init=False)  # the same spans

    def __post_init__(self) -> None:
        self.offsets = np.concatenate([[0], np.cumsum([len(s) for s in self.spans])])
        self.places = [np.array(spans) for spans in self.spans]

    def length(self, document: int) -> int:
        return len(self.spans[document])

    def tokens(self) -> list[bytes]:
        return [t[a:b] for t, spans in zip(self.texts, self.spans, strict=True) for a, b in spans]

    def mask(self, name: str) -> np.ndarray:
        out = np.zeros(int(self.offsets[-1]), bool)
        for document, places in enumerate(self.places):
            for span in self.classes[document].get(name, ()):
                first, end = self.offsets[document] + np.searchsorted(places[:, 0], span)
                out[first:end] = True
        return out


@cache
def corpus() -> Corpus:
    """The same for all, who change nothing in it."""
    library = Path(tokenize.__file__).parent
    names, texts, classes = [], [], []
    for module in MODULES:
        text = (library / f"{module}.py").read_text(encoding="utf-8")
        classes.append(_classes(text))
        names.append(f"python/{module}.py")
        texts.append(text.encode())
    names.append("<script>hostile</script>.txt")
    texts.append(HOSTILE.encode())
    classes.append({})
    return Corpus(names, texts, [pieces_of(t)[:TOKENS_PER_DOCUMENT] for t in texts], classes)


CONTEXTS = {
    "docstring": "inside a docstring",
    "comment": "in a comment",
    "string": "in a string that is no docstring",
    "number": "a numeric literal",
    "call": "the bracket that opens a call's arguments",
}


class DemoCatalogue:
    """The catalogue's interface, computed in memory."""

    def __init__(self, n_features: int = 300, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.corpus = corpus()
        self.rows = SimpleNamespace(store=self.corpus, documents=np.arange(len(self.corpus.names)))
        self._tokens = self.corpus.tokens()
        names, inverse = np.unique(np.array(self._tokens, dtype=object), return_inverse=True)
        self._vocabulary = [n.decode("utf-8", "replace") for n in names]
        self._ids = inverse
        self._masks = self._make_masks(n_features)
        self._values = [self._make_values(i, mask) for i, (mask, _) in enumerate(self._masks)]
        self._weighed: dict[tuple[int, str], list[TokenWeight]] = {}
        self.index = self._make_index()
        self._labels = [self._make_label(i) for i in range(n_features)]
        self.features = self._make_columns()
        self.overview = self._make_overview()

    def _make_masks(self, n: int) -> list[tuple[np.ndarray, tuple[str, str]]]:
        hostile = np.zeros(len(self._tokens), bool)
        hostile[self.corpus.offsets[-2] :] = True
        masks = [(hostile, ("context", "<img src=x onerror=alert(1)> in markup"))]
        contexts = {name: self.corpus.mask(name) for name in CONTEXTS}
        for name, words in CONTEXTS.items():
            masks.append((contexts[name], ("context", words)))
        common = np.argsort(-np.bincount(self._ids), kind="stable")
        for token in common[:260]:
            here = self._ids == token
            text = self._vocabulary[token]
            masks.append((here, ("token", f"the token {text!r}")))
            for name in ("docstring", "comment"):
                both = here & contexts[name]
                if both.sum() >= 8 and not both.all():
                    masks.append((both, ("context", f"{text!r} {CONTEXTS[name]}")))
        nothing = np.zeros(len(self._tokens), bool)
        masks = masks[: n - 3]
        return masks + [(nothing, ("", ""))] * (n - len(masks))

    def _make_values(self, feature: int, mask: np.ndarray) -> np.ndarray:
        rng = np.random.default_rng(1000 + feature)
        keep = mask & (rng.random(len(mask)) < rng.uniform(0.6, 0.98))
        if mask.any():
            keep |= rng.random(len(mask)) < min(0.01, mask.mean() * rng.uniform(0, 0.4))
        return np.where(keep, rng.gamma(3.0, 0.7, len(mask)), 0).astype(np.float32)

    def _make_index(self) -> Any:
        rows = [np.flatnonzero(v) for v in self._values]
        offsets = np.concatenate([[0], np.cumsum([len(r) for r in rows])]).astype(np.int64)
        values = np.concatenate([v[r] for v, r in zip(self._values, rows, strict=True)])
        return SimpleNamespace(offsets=offsets, rows=np.concatenate(rows).astype(np.uint32), values=values)

    def _make_label(self, i: int) -> Label | None:
        mask, (kind, words) = self._masks[i]
        on = self._values[i] > 0
        if not kind or not on.any() or i % 11 == 10:
            return None
        hit = int((on & mask).sum())
        precision, recall = hit / on.sum(), hit / max(1, mask.sum())
        f1 = 2 * precision * recall / max(1e-9, precision + recall)
        wide = min(0.15, 1.2 / math.sqrt(mask.sum()))
        baseline = f1 - (0.02 if kind == "token" else 0.2 + 0.2 * (i % 3))
        concept = f"{kind}:{words}"
        found = [kind, concept, words, 0.1, precision, recall, f1, f1 - wide, min(1.0, f1 + wide), max(0.0, baseline)]
        return Label(i, *found, int(mask.sum()), 7)

    def _make_columns(self) -> dict[str, np.ndarray]:
        n, size = len(self._masks), len(self._tokens)
        active = np.array([int((v > 0).sum()) for v in self._values])
        get = lambda name, empty: [empty if x is None else getattr(x, name) for x in self._labels]  # noqa: E731
        columns = {
            "id": np.arange(n),
            "density": active / size,
            "n_active": active,
            "max": np.array([float(v.max()) for v in self._values]),
            "mean": np.array([float(v[v > 0].mean()) if (v > 0).any() else 0.0 for v in self._values]),
            "loss_effect": np.where(active > 0, self.rng.normal(0.05, 0.2, n), np.nan),
            "label": np.array(get("words", ""), dtype=object),
            "label_kind": np.array(get("kind", ""), dtype=object),
            "label_concept": np.array(get("concept", ""), dtype=object),
        }
        for name in ("threshold", "precision", "recall", "f1", "f1_low", "f1_high", "baseline_f1", "support"):
            columns[f"label_{name}"] = np.array(get(name, np.nan), dtype=float)
        return columns

    def _make_overview(self) -> dict[str, Any]:
        def metric(value: float, wide: float = 0.01) -> dict[str, float]:
            return {"value": value, "low": value - wide, "high": value + wide}

        def all_of(l0: float, fvu: float, mean: float | None, zero: float | None, dead: float) -> dict[str, Any]:
            nothing = {"value": None, "low": None, "high": None}
            return {
                "l0": metric(l0, 0.2),
                "fvu": metric(fvu),
                "loss_recovered_mean": nothing if mean is None else metric(mean, 0.015),
                "loss_recovered_zero": nothing if zero is None else metric(zero, 0.01),
                "dead_fraction": metric(dead, 0.002),
            }

        controls = {
            "random_model": all_of(31.8, 0.44, 0.41, 0.55, 0.11),
            "frozen_decoder": all_of(32.0, 0.39, 0.71, 0.8, 0.02),
            "pca": all_of(32.0, 0.36, 0.62, 0.71, 0.0),
            "neurons": all_of(32.0, 0.31, 0.74, 0.86, 0.0),
        }
        return {
            "name": "monoscope-run",
            "model": "reference-a",
            "site": "mlp_act.0",
            "architecture": "batch_topk",
            "n_tokens": len(self._tokens),
            "evaluation": {"metrics": all_of(31.9, 0.12, 0.931, 0.972, 0.013), "controls": controls},
        }

    def __len__(self) -> int:
        return len(self._masks)

    def _example(self, feature: int, row: int) -> Example:
        document = int(np.searchsorted(self.corpus.offsets, row, side="right") - 1)
        position = int(row - self.corpus.offsets[document])
        change = float(np.sin(row)) / 4 if row % 3 else None
        return Example(document, position, float(self._values[feature][row]), change)

    def _weights(self, feature: int, kind: str) -> list[TokenWeight]:
        if (feature, kind) not in self._weighed:
            self._weighed[feature, kind] = self._weigh(feature, kind)
        return self._weighed[feature, kind]

    def _weigh(self, feature: int, kind: str, n: int = 10) -> list[TokenWeight]:
        rng = np.random.default_rng([feature, len(kind)])
        if kind in ("mean", "mass"):
            values = self._values[feature]
            mass = np.bincount(self._ids, values, len(self._vocabulary))
            count = np.bincount(self._ids[values > 0], minlength=len(self._vocabulary))
            weight = mass if kind == "mass" else mass / np.maximum(count, 1)
            chosen = [t for t in np.argsort(-weight, kind="stable")[:n] if weight[t] > 0]
            return [TokenWeight(int(t), self._vocabulary[t], float(weight[t]), int(count[t])) for t in chosen]
        drawn = rng.choice(len(self._vocabulary), n, replace=False)
        size = np.sort(rng.gamma(2, 0.4, n))[::-1] * (1 if kind == "promoted" else -1)
        return [TokenWeight(int(t), self._vocabulary[t], float(w), 0) for t, w in zip(drawn, size, strict=True)]

    def __getitem__(self, feature: int) -> FeatureRecord:
        values = self._values[feature]
        rows = np.flatnonzero(values)
        order = rows[np.argsort(-values[rows], kind="stable")]
        examples: dict[str, list[Example]] = {}
        intervals: dict[str, tuple[float, float]] = {}
        if len(order):
            intervals["top"] = (float(values[order[0]]), float(values[order[0]]))
            examples["top"] = [self._example(feature, int(r)) for r in order[:8]]
            for low, high in ((75, 100), (50, 75), (25, 50), (0, 25)):
                part = order[(100 - high) * len(order) // 100 : (100 - low) * len(order) // 100]
                if len(part):
                    drawn = part[:: max(1, len(part) // 4)][:4]
                    examples[f"{low}-{high}"] = [self._example(feature, int(r)) for r in drawn]
                    intervals[f"{low}-{high}"] = (float(values[part[-1]]), float(values[part[0]]))
        counts, edges = np.histogram(values[rows], 40) if len(rows) else (np.zeros(1, int), np.array([0.0, 1.0]))
        others = np.random.default_rng(feature).choice(len(self), 8, replace=False)
        related = [(int(o), float(v)) for o, v in zip(others, np.linspace(0.8, 0.2, 8), strict=True) if o != feature]
        columns = self.features
        return FeatureRecord(
            id=feature,
            n_active=int(columns["n_active"][feature]),
            density=float(columns["density"][feature]),
            max=float(columns["max"][feature]),
            mean=float(columns["mean"][feature]),
            histogram=Histogram(edges.tolist(), counts.tolist()),
            intervals=intervals,
            examples=examples,
            top_tokens_by_mean=self._weights(feature, "mean"),
            top_tokens_by_mass=self._weights(feature, "mass"),
            promoted=self._weights(feature, "promoted"),
            suppressed=self._weights(feature, "suppressed"),
            neighbours=related,
            cofiring=related[::-1],
            neurons=related[:5],
            loss_effect=None if np.isnan(columns["loss_effect"][feature]) else float(columns["loss_effect"][feature]),
            label=self._labels[feature],
        )

    def explanations(self, feature: int) -> list[Explanation]:
        if feature != 1:
            return []
        return [Explanation(1, "model-x", "text between <b>triple quotes</b>", "prose"), Explanation(1, "nobody", "?")]

    def scores(self, feature: int) -> list[Score]:
        detail = {"controls": {"shuffled": {"value": 0.5}, "unigram": {"value": 0.62}}, "chance": 0.5}
        found = Score(1, "model-x", "detection", 0.81, 0.74, 0.88, 60, detail)
        none = Score(1, "model-x", "simulation", None, None, None, 0, {"why": "too few passages"})
        return [found, none] if feature == 1 else []

    def search(self, query: str, *, limit: int = 20) -> list[Hit]:
        words = query.lower().split()
        found = [
            i for i, label in enumerate(self.features["label"]) if words and all(w in label.lower() for w in words)
        ]
        f1 = self.features["label_f1"]
        found.sort(key=lambda i: -np.nan_to_num(f1[i]))
        density = self.features["density"]
        return [Hit(i, self.features["label"][i], float(f1[i]), float(density[i]), 1.0) for i in found[:limit]]

    def find(self, what: str, by: str = "words", *, unlike: tuple[str, ...] = (), limit: int, filters: Filters) -> list:
        if by not in ("words", "feature"):
            raise MonoscopeError(f"the demo cannot search by {by}")
        kept = filters.kept(self.features)
        near = [] if by == "words" else [self._hit(i) for i, _ in self[int(what)].neighbours]
        hits = self.search(what, limit=len(self)) if by == "words" else near
        return [hit for hit in hits if kept is None or kept[hit.id]][:limit]

    def _hit(self, i: int) -> Hit:
        columns = self.features
        return Hit(i, columns["label"][i], float(columns["label_f1"][i]), float(columns["density"][i]), 1.0)

    def activations(self, feature: int, document: int, first: int, last: int) -> np.ndarray:
        base = self.corpus.offsets[document]
        return self._values[feature][base + first : base + last]

    def excerpt(
        self, document: int, position: int, before: int, after: int, feature: int | None = None
    ) -> list[ExcerptToken]:
        spans = self.corpus.places[document]
        first, last = max(0, position - before), min(len(spans), position + after + 1)
        values = np.zeros(last - first) if feature is None else self.activations(feature, document, first, last)
        texts = shown(self.corpus.texts[document], spans[:, 0], spans[:, 1], first, last)
        return [ExcerptToken(text, float(values[i]), first + i) for i, text in enumerate(texts)]


class DemoReader:
    """Reads by the features whose label names the token, and a few that only depend on the token's spelling."""

    def __init__(self, catalogue: DemoCatalogue) -> None:
        self._catalogue = catalogue
        self._labels, self._f1 = catalogue.features["label"], catalogue.features["label_f1"]
        self._by_text: dict[str, list[int]] = {}
        for i, label in enumerate(self._labels):
            if label.startswith("the token "):
                self._by_text.setdefault(label.removeprefix("the token "), []).append(i)

    def _features(self, piece: str) -> list[dict[str, Any]]:
        ids = [*self._by_text.get(repr(piece), []), (len(piece) * 37 + ord(piece[0])) % len(self._labels), 1, 2, 5]
        return [
            {
                "id": i,
                "value": round(3.0 / (1 + k) + len(piece) / 10, 3),
                "label": self._labels[i],
                "label_f1": None if math.isnan(self._f1[i]) else float(self._f1[i]),
            }
            for k, i in enumerate(dict.fromkeys(ids))
        ]

    def effects(self, feature: int, places: list[tuple[int, int, int]]) -> list[list[float | None]]:
        return [[None if i == 0 else math.sin(i) / 2 for i in range(first, last)] for _, first, last in places]

    def direction(self, feature: int) -> dict[str, Any]:
        parts = [{"index": i, "weight": 0.5 - i / 10, "share": 0.2 - i / 50} for i in range(5)]
        logits = {"edges": [-2.0, -1.0, 0.0, 1.0, 3.0], "counts": [3, 200, 300, 2]}
        return {"neurons": True, "coordinates": parts, "logits": logits}

    def __call__(self, text: str) -> dict[str, Any]:
        data, tokens = text.encode(), []
        for start, end in pieces_of(data):
            piece = data[start:end].decode("utf-8", "replace")
            tokens.append({"text": piece, "start": start, "end": end, "features": self._features(piece)})
        return {"tokens": tokens}

    def continuation(
        self, text: str, count: int, *, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[dict[str, Any]]:
        """The words of a fixed line over and over; drawn ones in an order that the seed says."""
        words = ["return", " x", "\n", "def", " f", "(", ")", ":"]
        rng = np.random.default_rng(seed)
        for i in range(count):
            piece = words[int(rng.integers(len(words))) if temperature else i % len(words)]
            time.sleep(0.002)
            yield {"text": piece, "features": self._features(piece)}


def demo_levels(catalogue: DemoCatalogue, feature: int) -> Levels:
    """A label that holds the more surely the more strongly the feature fires."""
    if catalogue[feature].label is None:
        raise MonoscopeError(f"feature {feature} has no label", fix="label it")
    share = np.array([0.2, 0.5, np.nan, 0.9, 1.0])
    edges, counts = np.linspace(0, catalogue[feature].max, 6), np.array([40, 20, 0, 9, 1])
    low, high = share - 0.1, np.minimum(1, share + 0.1)
    low[4] = high[4] = np.nan
    return Levels("a concept", edges, counts, share, low, high, 0.01, 12)


def demo_reader(catalogue: DemoCatalogue) -> DemoReader:
    return DemoReader(catalogue)
