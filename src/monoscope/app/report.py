"""``report.html``: a run on one page, in one file that opens from disk and asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from monoscope import folder
from monoscope.app.ui import payloads
from monoscope.app.ui.figures import density, density_histogram, interval, metric
from monoscope.markup import Markup, el
from monoscope.visible import label_parts, visible

STATIC = Path(__file__).parent / "ui" / "static"
EXAMPLES = 3
KINDS = {"context": "contextual", "token": "token"}
LIBRARIES = ("monoscope", "torch", "transformers", "numpy", "numba")
TOGGLE = (
    "document.getElementById('theme').addEventListener('click',()=>{const r=document.documentElement;"
    "const dark=r.dataset.theme?r.dataset.theme==='dark':matchMedia('(prefers-color-scheme: dark)').matches;"
    "r.dataset.theme=dark?'light':'dark'})"
)


def write(catalogue: Any, path: Path, made: Mapping[str, object] | None = None, features: int = 60) -> Path:
    """Write the report of a catalogue.

    Args:
        catalogue: what ``monoscope.open_catalogue`` returns.
        path: the file; an older one is replaced at once, never half.
        made: how the run was made (seeds, tokens, minutes, …), shown as given beside model, site and versions.
        features: how many of the best-tested features to show.

    Raises:
        MonoscopeError: the file cannot be written.
    """
    folder.write_bytes(path, render(catalogue, made or {}, features).encode())
    return path


def render(catalogue: Any, made: Mapping[str, object], features: int = 60) -> str:
    """The report as HTML."""
    overview = payloads.overview(catalogue)
    best = payloads.best(catalogue, features)
    body = [
        el("button", {"type": "button", "id": "theme", "class": "noprint"}, "light / dark"),
        _title(overview),
        _health(overview["evaluation"]),
        _picture(overview),
        _best(catalogue, best),
        _made(overview, made),
    ]
    script = el("script", {}, Markup(TOGGLE))
    page = el("html", {"lang": "en"}, _head(overview), el("body", {}, el("main", {}, body), script))
    return f"<!doctype html>\n{page}\n"


def _head(overview: Mapping[str, Any]) -> Markup:
    digest = base64.b64encode(hashlib.sha256(TOGGLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; img-src data:"
    style = "".join((STATIC / name).read_text(encoding="utf-8") for name in ("base.css", "report.css"))
    return el(
        "head",
        {},
        el("meta", {"charset": "utf-8"}),
        el("meta", {"http-equiv": "Content-Security-Policy", "content": policy}),
        el("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        el("meta", {"name": "color-scheme", "content": "light dark"}),
        el("title", {}, f"{overview['name'] or overview['model']} · Monoscope"),
        el("style", {}, Markup(style)),
    )


def _title(overview: Mapping[str, Any]) -> Markup:
    facts = [overview["model"], overview["where"], overview["architecture"].replace("_", " "), overview["name"]]
    return el(
        "header",
        {"class": "title"},
        el("p", {"class": "eyebrow"}, " · ".join(fact for fact in facts if fact)),
        el("h1", {}, f"{overview['n_features']:,} directions that {payloads.short_name(overview['model'])} thinks in"),
        el(
            "p",
            {"class": "lead"},
            f"Read from {overview['n_tokens']:,} tokens of {overview['n_documents']:,} documents the dictionary never "
            f"saw. {overview['alive']:,} features are alive, {overview['dead']:,} never fired.",
        ),
    )


def _section(name: str, note: str, *content: Markup | list[Markup]) -> Markup:
    header = el("header", {}, el("h2", {}, name), el("p", {"class": "note"}, note) if note else None)
    return el("section", {"class": "section"}, header, *content)


def _health(evaluation: Mapping[str, Any] | None) -> Markup:
    metrics = [m for m in (metric(evaluation, *facts) for facts in payloads.HEADLINES) if m] if evaluation else []
    content = el("div", {"class": "metrics"}, metrics) if metrics else _none("This run has no evaluation.")
    return _section(
        "Health, beside its controls", "Held-out text; whiskers are 95 % intervals over documents.", content
    )


def _none(words: str) -> Markup:
    return el("p", {"class": "none"}, words)


def _picture(overview: Mapping[str, Any]) -> Markup:
    return el(
        "div",
        {"class": "two"},
        _section(
            "How often features fire",
            "Density is the share of tokens on which a feature is active; logarithmic axis.",
            density_histogram(overview["density_histogram"]),
        ),
        _section(
            "What has a tested label",
            "A token label lists at most 8 tokens; a contextual one beats the best such list.",
            _counts(overview["labels"]),
        ),
    )


def _counts(labels: Mapping[str, Mapping[str, int]]) -> Markup:
    heads = [el("th", {"scope": "col"}, words) for words in ("Label", "all", "F1 ≥ 0.5", "F1 ≥ 0.8")]
    lines = [
        el(
            "tr",
            {},
            el("th", {"scope": "row"}, KINDS[kind].capitalize()),
            [el("td", {}, f"{labels[kind][name]:,}") for name in ("all", "f1_50", "f1_80")],
        )
        for kind in ("context", "token")
    ]
    return el("table", {"class": "counts"}, el("thead", {}, el("tr", {}, heads)), el("tbody", {}, lines))


def _best(catalogue: Any, best: list[dict[str, Any]]) -> Markup:
    note = "No two with the same label; contextual before token labels, then by the lower end of F1’s interval."
    content = (
        el("div", {"class": "entries"}, [_entry(catalogue, row) for row in best]) if best else _none("No labels yet.")
    )
    return _section("Best-tested features", note, content)


def _entry(catalogue: Any, row: Mapping[str, Any]) -> Markup:
    found = catalogue[row["id"]]
    label = payloads.evidence(found.label)
    top = [e for group in found.examples.values() for e in group][:EXAMPLES]
    lines = [_line(payloads.example(catalogue, row["id"], e), row["max"]) for e in top]
    numbers = (
        f"precision {_two(label['precision'])} · recall {_two(label['recall'])} · "
        f"{label['support']:,} tokens in {label['documents']:,} documents · fires on {density(row['density'])}"
    )
    promoted = [el("span", {}, "promotes "), [[_literal(t.text), " "] for t in found.promoted[:6]]]
    return el(
        "article",
        {"class": "entry"},
        el(
            "div",
            {"class": "entry-head"},
            el("h3", {}, _words(label["words"])),
            el("span", {"class": f"badge {label['kind']}"}, KINDS.get(label["kind"], label["kind"])),
            el("span", {"class": "eyebrow"}, f"#{row['id']}"),
            el("span", {"class": "f1"}, f"F1 {_two(label['f1'])}"),
            interval(label["f1"] or 0.0, label["f1_low"], label["f1_high"]),
        ),
        el("p", {"class": "note"}, numbers),
        el("div", {"class": "lines"}, lines),
        el("p", {"class": "note"}, promoted) if found.promoted else None,
    )


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


def _pieces(text: str, *, spaces: bool = False) -> list[str]:
    return [el("span", {"class": "ws"}, p) if quiet else p for p, quiet in visible(text, spaces=spaces)]


def _literal(text: str) -> Markup:
    return el("code", {"class": "lit"}, _pieces(text, spaces=True))


def _words(label: str) -> list[str]:
    """A label; what stands between backticks is a token."""
    return [el("code", {"class": "lit"}, part) if token else part for part, token in label_parts(label)]


def _token(token: Mapping[str, Any], most: float | None, target: bool) -> Markup:
    value = token["value"] or 0.0
    style = title = None
    if value > 0:
        style, title = f"--a:{max(0.08, min(1.0, value / (most or value))):.3f}", f"{value:.2f}"
    kind = f"tok{' on' if value > 0 else ''}{' target' if target else ''}"
    return el("span", {"class": kind, "style": style, "title": title}, _pieces(token["text"]))


def _line(example: Mapping[str, Any], most: float | None) -> Markup:
    """One example as a line of a concordance, its token in a fixed place."""
    tokens, position = example["tokens"], example["position"]
    left = [_token(t, most, False) for t in tokens if t["position"] < position]
    right = [_token(t, most, t["position"] == position) for t in tokens if t["position"] >= position]
    return el(
        "p",
        {"class": "kwic code", "dir": "ltr", "title": example["name"]},
        el("span", {"class": "left"}, el("span", {}, left)),
        el("span", {"class": "right"}, right),
    )


def _made(overview: Mapping[str, Any], made: Mapping[str, object]) -> Markup:
    told = {"model": "model", "site": "where", "architecture": "architecture"}
    facts: dict[str, object] = {words: overview[name] for words, name in told.items() if overview[name]}
    facts |= {"features": f"{overview['n_features']:,}", "catalogued tokens": f"{overview['n_tokens']:,}"}
    facts |= made
    for library in LIBRARIES:
        try:
            facts[library] = version(library)
        except PackageNotFoundError:
            continue  # run from source, or a library that this run did without
    facts["python"] = platform.python_version()
    rows = [[el("dt", {}, str(name)), el("dd", {}, str(value))] for name, value in facts.items()]
    return _section("How it was made", "", el("dl", {"class": "made-of"}, rows))
