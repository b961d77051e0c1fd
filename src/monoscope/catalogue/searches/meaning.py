"""By meaning: features whose label or explanations say something like the query, in other words.

With a model of sentences (``sentences.embedder``) the score is the cosine between the query and what is said of a
feature: its label and explanations, or, where nothing is, its top tokens. What is said is turned into vectors once,
which takes minutes for a large catalogue, and kept in ``catalogue/meaning.npz``; what is said anew is added.

Without such a model the words of the query find ``SEEDS`` features as ``words`` does, and those point to the others:
the score is the largest over the seeds of ``(1 + q) / 2`` times the cosine between both directions, or times the
correlation of their firing (phi) where the seed's record lists it; ``q`` is the seed's quality.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from monoscope import folder, progress
from monoscope.catalogue import sentences
from monoscope.catalogue.searches import words
from monoscope.catalogue.searching import Found, Query, best, one_text
from monoscope.errors import MonoscopeError

if TYPE_CHECKING:
    from monoscope.catalogue.store import Catalogue

SEEDS = 8
SHOWN = 10  # top tokens that stand for a feature of which nothing is said
KEPT = "meaning.npz"
AT_ONCE = 1024  # texts between two savings
Kept = Bool[np.ndarray, " n_features"] | None


def search(query: Query, catalogue: Catalogue, kept: Kept) -> Found:
    """``query.what`` is words."""
    text = one_text(query, "words").replace("\0", " ").encode("utf-8", "replace").decode()
    if not text.strip():
        return words.search(query, catalogue, kept)
    model = sentences.embedder(catalogue.at_hand.embedder)
    if model is None:
        return _by_geometry(text, query, catalogue, kept)
    vectors, place = _said(catalogue, model)
    likeness = vectors @ sentences.embed(model, [text])[0]
    return best(likeness[place].astype(np.float64), kept, query.limit)


def texts_of(catalogue: Catalogue) -> Iterator[str]:
    """What is said of each feature, in the order of their numbers."""
    said: dict[int, list[str]] = {}
    for e in catalogue.explanations():
        said.setdefault(e.feature, []).extend(text for text in (e.fires_on, e.promotes) if text)
    rows = catalogue.select(
        "SELECT id, ifnull(words, ''), by_mean FROM features LEFT JOIN labels ON feature = id ORDER BY id"
    )
    for feature, label, by_mean in rows:
        told = [text for text in (label, *said.get(feature, ())) if text]
        yield ". ".join(told) or " ".join(text for _, text, *_ in json.loads(by_mean)[:SHOWN])


def _said(catalogue: Catalogue, model: Path) -> tuple[Float32[np.ndarray, "m d"], Int[np.ndarray, " n_features"]]:
    """A vector for everything that is said, and for each feature which of them; kept until something else is said."""
    columns = catalogue.features
    if catalogue.said is None or catalogue.said[0] is not columns or catalogue.said[1] != model:
        texts = list(texts_of(catalogue))
        different = list(dict.fromkeys(texts))
        number = {text: i for i, text in enumerate(different)}
        vectors = _vectors(catalogue.run / "catalogue" / KEPT, model, different)
        catalogue.said = (columns, model, vectors, np.array([number[text] for text in texts]))
    return catalogue.said[2:]


def _vectors(path: Path, model: Path, texts: list[str]) -> Float32[np.ndarray, "m d"]:
    """The vectors of some texts; those that the file lacks are made, and added to it."""
    digests = [hashlib.sha256(text.encode()).digest()[:16] for text in texts]
    known = _read(path, model)
    missing = [i for i, digest in enumerate(digests) if digest not in known]
    with progress.bar("reading labels", len(missing), unit="labels") as report:
        for first in range(0, len(missing), AT_ONCE):
            part = missing[first : first + AT_ONCE]
            made = sentences.embed(model, [texts[i] for i in part])
            known |= {digests[i]: vector for i, vector in zip(part, made, strict=True)}
            _write(path, model, known)
            report(len(part))
    return np.stack([known[digest] for digest in digests])


def _read(path: Path, model: Path) -> dict[bytes, Float32[np.ndarray, " d"]]:
    if not path.is_file():
        return {}
    try:
        with np.load(path, allow_pickle=False) as held:
            if held["model"].item() != _name(model):
                return {}
            return {digest.tobytes(): vector for digest, vector in zip(held["digests"], held["vectors"], strict=True)}
    except (OSError, ValueError, KeyError) as error:
        raise MonoscopeError(f"{path.name} is damaged: {error}", where=str(path), fix="remove the file") from error


def _write(path: Path, model: Path, known: dict[bytes, Float32[np.ndarray, " d"]]) -> None:
    digests = np.frombuffer(b"".join(known), np.uint8).reshape(len(known), -1)
    if not os.access(path.parent, os.W_OK):
        return  # a run that may only be read is searched all the same; the next search begins anew
    with folder.replacing(path) as partial, partial.open("wb") as file:
        np.savez(file, model=_name(model), digests=digests, vectors=np.stack([*known.values()]))


def _name(model: Path) -> str:
    """What tells one model from another: a hash of its configuration and of the size of its weights."""
    sizes = sorted((p.name, p.stat().st_size) for p in model.iterdir() if p.suffix == ".safetensors")
    return hashlib.sha256((model / "config.json").read_bytes() + repr(sizes).encode()).hexdigest()


def _by_geometry(text: str, query: Query, catalogue: Catalogue, kept: Kept) -> Found:
    seeds = words.search(replace(query, what=text, limit=SEEDS), catalogue, None)
    scores = np.full(len(catalogue), np.nan)
    weights = [(1 + score % 1) / 2 for score in seeds.scores.tolist()]
    nearest, rows = catalogue.directions, [catalogue.directions.rows[seed] for seed in seeds.ids.tolist()]
    together = [dict(catalogue[seed].cofiring) for seed in seeds.ids.tolist()]
    pointed = [row.any() for row in rows]
    found = [nearest.best(row, query.limit, kept).ids for row, is_one in zip(rows, pointed, strict=True) if is_one]
    candidates = np.unique(np.concatenate([np.zeros(0, np.int64), seeds.ids, *found, *map(_ids, together)]))
    for row, is_one, weight, fires in zip(rows, pointed, weights, together, strict=True):
        like: Float[np.ndarray, " m"] = nearest.cosines(row, candidates) if is_one else np.zeros(len(candidates))
        phi = np.array([fires.get(i, 0.0) for i in candidates.tolist()])
        scores[candidates] = np.fmax(scores[candidates], weight * np.maximum(like, phi))
    scores[seeds.ids] = np.fmax(scores[seeds.ids], weights)
    return best(scores, kept, query.limit)


def _ids(listed: dict[int, float]) -> Int[np.ndarray, " m"]:
    return np.array([*listed], np.int64)
