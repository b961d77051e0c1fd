"""A site of 100,000 features: its export stays small in memory, its table is quick in a browser."""

from __future__ import annotations

import resource
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from monoscope.app.static_site.export import export
from monoscope.catalogue.records import Example, ExcerptToken, FeatureRecord, Histogram, Label, TokenWeight
from pages_visit import Visit, until

N = 100_000
LENGTH, DOCUMENTS = 400, 500


class Plain(SimpleHTTPRequestHandler):
    """Python's own server, silent."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Large:
    """Features that fire on every fourth token, four examples each; every text is numbers."""

    def __init__(self, n: int) -> None:
        self.n = n
        names = [f"document {i}" for i in range(DOCUMENTS)]
        store = SimpleNamespace(names=names, length=lambda _: LENGTH)
        self.rows = SimpleNamespace(store=store, documents=np.arange(DOCUMENTS))
        rng = np.random.default_rng(0)
        f1 = rng.random(n)
        kind = rng.choice(["", "token", "context"], n)
        f1[kind == ""] = np.nan
        words = np.array([f"number {i % 977} in a list of {i % 13}" if kind[i] else "" for i in range(n)])
        self.features = {
            "id": np.arange(n),
            "density": rng.random(n) / 100,
            "max": rng.random(n) + 1,
            "loss_effect": rng.normal(size=n),
            "label": words,
            "label_kind": kind,
            "label_concept": words,
            "label_f1": f1,
            "label_f1_low": np.maximum(f1 - 0.05, 0),
            "label_f1_high": f1 + 0.05,
        }
        offsets = np.arange(n + 1) * 4
        self.index = SimpleNamespace(offsets=offsets, values=np.ones(4 * n, np.float16))
        facts = ("name", "model", "site", "architecture")
        self.overview = {**dict.fromkeys(facts, "large"), "n_tokens": LENGTH * DOCUMENTS, "evaluation": {}}

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> FeatureRecord:
        weights = [TokenWeight(k, f" {(i + k) % 977}", 1.0 - k / 10, 3) for k in range(8)]
        examples = [Example((i + k) % DOCUMENTS, (7 * i + k) % LENGTH, 1.0, 0.1) for k in range(4)]
        pairs = [((i + k) % self.n, 0.5) for k in range(1, 8)]
        return FeatureRecord(
            i, 4, float(self.features["density"][i]), 1.0, 0.5, Histogram([0.0, 1.0], [4]), {"top": (1.0, 1.0)},
            {"top": examples}, weights, weights, weights, weights, pairs, pairs, pairs, 0.1, self._label(i),
        )  # fmt: skip

    def _label(self, i: int) -> Label | None:
        kind, words, f1 = (self.features[name][i] for name in ("label_kind", "label", "label_f1"))
        if not kind:
            return None
        return Label(i, str(kind), str(words), str(words), 0.0, f1, f1, f1, max(f1 - 0.05, 0.0), f1 + 0.05, 0.1, 60, 20)

    def explanations(self, feature: int) -> list[Any]:
        return []

    def scores(self, feature: int) -> list[Any]:
        return []

    def activations(self, feature: int, document: int, first: int, last: int) -> np.ndarray:
        return np.where(np.arange(first, last) % 4, np.float32(0), np.float32(0.5))

    def excerpt(self, document: int, position: int, before: int, after: int, feature: int | None = None) -> list[Any]:
        first, last = max(0, position - before), min(LENGTH, position + after + 1)
        return [ExcerptToken(f" {document + p}", 0.5, p) for p in range(first, last)]


def resident() -> float:
    """The most memory that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


@pytest.mark.slow
def test_a_hundred_thousand_features(browser: Any, tmp_path: Path) -> None:
    large = Large(N)
    export(Large(2_000), tmp_path / "warm")
    before, began = resident(), time.process_time()
    export(large, tmp_path / "site")
    took, grown = time.process_time() - began, resident() - before
    size = sum(p.stat().st_size for p in (tmp_path / "site").rglob("*") if p.is_file()) / 1e6
    print({"cpu_s": round(took), "grown_mb": round(grown), "size_mb": round(size)})  # noqa: T201
    # the table's columns and their JSON, which grow with the features, and one shard at a time of everything else
    assert grown < 400, grown
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Plain, directory=str(tmp_path / "site")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    visit = Visit(browser, f"http://127.0.0.1:{server.server_port}/", viewport={"width": 1280, "height": 800})
    opened = time.monotonic()
    page = visit.go("?/features")
    page.wait_for_selector(".cell.label")
    loaded = time.monotonic() - opened
    assert page.inner_text(".status").startswith(f"{N:,} features")
    waits = {}
    for name, act in (
        ("sort", lambda: page.click("[role=columnheader].density button")),
        ("search", lambda: page.fill("input[type=search]", "number 123 list")),
    ):
        page.evaluate("document.querySelector('.status').textContent = ''")
        started = time.monotonic()
        act()
        until(page, "document.querySelector('.status').textContent !== ''", 30)
        waits[name] = time.monotonic() - started
    assert "123" in page.inner_text(".cell.label >> nth=0") + page.inner_text(".cell.tokens >> nth=0")
    page.fill("input[type=search]", str(N - 1))
    until(page, f"document.querySelector('.cell.id')?.textContent === '{N - 1}'")
    page.click(".cell.label a >> nth=0")
    page.wait_for_selector(".kwic")
    assert page.inner_text(".eyebrow").startswith(f"Feature {N - 1}")
    visit.check()
    visit.context.close()
    server.shutdown()
    server.server_close()
    print({name: round(value, 2) for name, value in {"first_paint_s": loaded, **waits}.items()})  # noqa: T201
