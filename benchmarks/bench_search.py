"""How long searching a large catalogue takes: filters, words, directions, and opening its first page.

    python benchmarks/bench_search.py make DIR --features 1000000     # some minutes; 6 GB at a million
    python benchmarks/bench_search.py time DIR [--queries 100] [--json FILE]

``make`` writes a catalogue whose words follow Zipf's law over a vocabulary of 60,000 (8 words of label on six features
in ten, 15 top tokens, 8 promoted ones, 60 words of examples), with random directions of 512 numbers. ``time`` reports
wall time and the CPU time of all threads, each as median and 95th percentile. Where other work runs beside, the latter
is the one to read. ``rare`` words are in at most 0.1 % of the features, ``common`` ones, drawn by their frequency, in
more.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from monoscope import folder
from monoscope.catalogue import columns, nearest, schema, spelling
from monoscope.catalogue import index as indices
from monoscope.catalogue.store import DIRECTIONS, INDEX, Catalogue

VOCABULARY, WIDTH, LABELLED, CHUNK = 60_000, 512, 0.6, 10_000
LENGTHS = {"label": 8, "tokens": 15, "promoted": 8, "context": 60}
LETTERS = np.array(list("aeioubcdfghklmnprstw"))


class Words:
    """Made-up words whose frequencies follow Zipf's law."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self.all = np.array(["".join(rng.choice(LETTERS, size=rng.integers(2, 11))) for _ in range(VOCABULARY)])
        self._cumulative = np.cumsum(1 / np.arange(1, VOCABULARY + 1))
        self._cumulative /= self._cumulative[-1]

    def draw(self, rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Words by frequency."""
        return self.all[np.searchsorted(self._cumulative, rng.random(shape))]


def make(run: Path, n: int) -> None:
    """Write the catalogue."""
    rng, words = np.random.default_rng(1), Words()
    index = _index(run / INDEX, n)
    connection = schema.create(run / schema.NAME)
    began = time.process_time()
    with connection:
        facts: dict[str, Any] = {"key": "bench", "n_features": n, "n_tokens": 1_000_000, "text": None, "splits": []}
        connection.executemany("INSERT INTO facts VALUES (?, ?)", [(k, json.dumps(v)) for k, v in facts.items()])
        for first in range(0, n, CHUNK):
            _rows(connection, rng, words, range(first, min(n, first + CHUNK)))
            _labels(connection, rng, words, range(first, min(n, first + CHUNK)))
        columns.write_own(connection, connection, index)
        columns.write_labels(connection, connection)
        print(f"features and labels: {time.process_time() - began:.0f} s of CPU", flush=True)
        began = time.process_time()
        _words(connection, rng, words, n)
    connection.execute("INSERT INTO words (words) VALUES ('optimize')")
    connection.commit()
    connection.close()
    print(f"words: {time.process_time() - began:.0f} s of CPU", flush=True)
    began = time.process_time()
    directions = np.random.default_rng(2)
    nearest.write(
        lambda a, b: directions.standard_normal((b - a, WIDTH), np.float32),
        n,
        run / INDEX / DIRECTIONS,
        {"key": "bench"},
    )
    print(f"directions: {time.process_time() - began:.0f} s of CPU")


def _index(path: Path, n: int) -> indices.FeatureIndex:
    """An index in which every feature fires on a few rows, so that it opens."""
    path.mkdir(parents=True, exist_ok=True)
    fires, rng = 3, np.random.default_rng(3)
    (path / "offsets.i64").write_bytes((fires * np.arange(n + 1)).astype(np.int64).tobytes())
    (path / "rows.u32").write_bytes(np.tile(np.arange(fires, dtype=np.uint32), n).tobytes())
    (path / "values.f16").write_bytes(rng.gamma(2, 1, fires * n).astype(np.float16).tobytes())
    facts = {"key": "bench", "n_features": n, "n_rows": fires, "values": "values.f16"}
    folder.seal(path, indices.KIND, facts, ["offsets.i64", "rows.u32", "values.f16"])
    return indices.FeatureIndex(path)


def _rows(connection: Any, rng: np.random.Generator, words: Words, features: range) -> None:
    m = len(features)
    density = 10 ** rng.uniform(-6, -1, m)
    density[rng.random(m) < 0.05] = 0
    rows = []
    for i, (feature, tokens) in enumerate(zip(features, words.draw(rng, (m, 10)).tolist(), strict=True)):
        listed = json.dumps([[1, word, 0.5, 3] for word in tokens])
        numbers = (int(density[i] * 1e6), float(density[i]), float(rng.gamma(2, 2)), 1.0, float(rng.normal(0, 0.1)))
        lists = ('{"edges": [], "counts": []}', "{}", "{}", "[]", listed, listed, listed, listed, "[]", "[]", "[]")
        rows.append((feature, *numbers, *lists))
    connection.executemany(f"INSERT INTO features VALUES ({', '.join('?' * 17)})", rows)


def _labels(connection: Any, rng: np.random.Generator, words: Words, features: range) -> None:
    chosen = features.start + np.flatnonzero(rng.random(len(features)) < LABELLED)
    low, said = rng.beta(2, 2, len(chosen)), words.draw(rng, (len(chosen), LENGTHS["label"]))
    connection.executemany(
        f"INSERT INTO labels VALUES ({', '.join('?' * 13)})",
        [
            (feature, "token" if i % 2 else "context", " & ".join(s), " ".join(s), 0.1, f, f, f, f, f, 0.2, 99, 20)
            for i, (feature, f, s) in enumerate(zip(chosen.tolist(), low.tolist(), said.tolist(), strict=True))
        ],
    )


def _words(connection: Any, rng: np.random.Generator, words: Words, n: int) -> None:
    """The full-text index, in the order of quality."""
    names = connection.execute(
        f"""SELECT {spelling.KEY} AS key, ifnull(words, ''), ifnull(concept, '')
        FROM features LEFT JOIN labels ON labels.feature = features.id ORDER BY key""",
        {"n": n},
    ).fetchall()
    for first in range(0, n, CHUNK):
        part = names[first : first + CHUNK]
        texts = (words.draw(rng, (len(part), k)).tolist() for name, k in LENGTHS.items() if name != "label")
        spelled = zip(*([" ".join(row) for row in rows] for rows in texts), strict=True)
        spelling.insert(connection, [(*name, "", *text) for name, text in zip(part, spelled, strict=True)])
        print(f"words of {first + len(part):,} features", flush=True)


def asked(catalogue: Catalogue, queries: int) -> Iterator[tuple[str, list[Callable[[], Any]]]]:
    """What is timed: names, and calls that are all different."""
    rng, words = np.random.default_rng(4), Words()
    sample = words.draw(rng, (400,))
    count = {w: catalogue.searched.execute("SELECT count(*) FROM words WHERE words MATCH ?", (f'"{w}"',)).fetchone()[0]
             for w in {*sample.tolist(), *words.all[rng.integers(2000, VOCABULARY, 300)].tolist()}}  # fmt: skip
    few = len(catalogue) // 1000
    rare = [w for w in count if 0 < count[w] <= few]
    common = [w for w in sample.tolist() if count[w] > few]
    print(f"commonest word: in {max(count.values()) / len(catalogue):.1%} of the features")

    def filters() -> dict[str, Any]:
        low = float(10 ** rng.uniform(-6, -2))
        made: dict[str, Any] = {"density": (low, 10 * low), "f1_low": (float(rng.random()), 1.0), "max": (1.0, 8.0)}
        names = rng.choice(list(made), size=int(rng.integers(1, 4)), replace=False).tolist()
        return {name: made[name] for name in names} | {"kind": str(rng.choice(["", "token", "none"]))}

    def call(*arguments: Any, **options: Any) -> Callable[[], Any]:
        return lambda: catalogue.find(*arguments, **options)

    turns = range(queries)
    yield "filters", [call("", **filters()) for _ in turns]
    yield "rare word", [call(rare[i % len(rare)]) for i in turns]
    yield "common word", [call(common[i % len(common)]) for i in turns]
    yield "beginning of a word", [call(common[i % len(common)][:3]) for i in turns]
    yield "two common words", [call(" ".join(rng.choice(common, 2).tolist())) for _ in turns]
    yield "common word, 2,000 wanted", [call(common[i % len(common)], limit=2000) for i in turns]
    yield "common word and filters", [call(common[i % len(common)], **filters()) for i in turns]
    vectors = rng.standard_normal((queries, WIDTH))
    yield "vector", [call(v, "vector") for v in vectors]
    yield "vector and filters", [call(v, "vector", **filters()) for v in vectors]
    yield "feature", [call(int(rng.integers(len(catalogue))), "feature") for _ in turns]


def first_page(run: Path) -> dict[str, float]:
    """Opening, and the table's first hundred rows in its usual order, as the pages show them."""
    from monoscope.app.ui import payloads
    from monoscope.app.ui.table import FeatureTable, Query

    wall, cpu = time.perf_counter(), time.process_time()
    catalogue = Catalogue(run)
    ids = FeatureTable(catalogue).ids(Query())[:100]
    rows = [payloads.row(catalogue, int(i)) for i in ids]
    assert len(rows) == 100
    return {"wall_ms": 1e3 * (time.perf_counter() - wall), "cpu_ms": 1e3 * (time.process_time() - cpu)}


def measure(run: Path, queries: int) -> dict[str, Any]:
    """Every kind of query, after one of its kind that is not counted."""
    found: dict[str, Any] = {"open, first page": first_page(run)}
    print("open, first page", found["open, first page"])
    catalogue = Catalogue(run)
    for name, calls in asked(catalogue, queries):
        calls[-1]()
        walls, cpus = [], []
        for call in calls:
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            walls.append(1e3 * (time.perf_counter() - wall))
            cpus.append(1e3 * (time.process_time() - cpu))
        found[name] = {
            f"{kind}_ms_p{p}": round(float(np.percentile(times, p)), 2)
            for kind, times in (("wall", walls), ("cpu", cpus))
            for p in (50, 95)
        }
        print(f"{name:26}", found[name], flush=True)
    return {"features": len(catalogue), "queries": queries, "found": found}


def main() -> None:
    """See the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "time"))
    parser.add_argument("run", type=Path)
    parser.add_argument("--features", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.what == "make":
        make(given.run, given.features)
        return
    found = measure(given.run, given.queries)
    if given.json:
        folder.write_json(given.json, found)


if __name__ == "__main__":
    main()
