"""Labelled texts and their parts: what fits, what sets thresholds, what tests."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from monoscope.errors import MonoscopeError
from monoscope.text import near_duplicates, splits

FIT, CALIBRATE, TEST = "fit", "calibrate", "test"
SHARES = {FIT: 0.4, CALIBRATE: 0.35, TEST: 0.25}  # a rate is promised by the number of negatives that set thresholds
LEAST = 8  # examples of each label in each part


@dataclass(frozen=True)
class Example:
    """A text and whether it holds what is to be detected.

    Args:
        text: at least one character.
        label: whether it does.
        spans: where, as (first, end) in characters; nothing says that it is everywhere.
        document: what the text was cut from; texts of one document stay together.
    """

    text: str
    label: bool
    spans: tuple[tuple[int, int], ...] = ()
    document: str | None = None


@dataclass(frozen=True)
class Texts:
    """Some examples, and the cluster that each belongs to: near-duplicates, and what is cut from one document.

    Args:
        examples: in any order.
        clusters: a number for each; those of different parts differ.
    """

    examples: tuple[Example, ...]
    clusters: Int[np.ndarray, " n"]

    @property
    def labels(self) -> Bool[np.ndarray, " n"]:
        """One for each text."""
        return np.array([e.label for e in self.examples], dtype=bool)

    def __len__(self) -> int:
        return len(self.examples)


def load(path: str | Path) -> list[Example]:
    """Read JSON lines: ``{"text": …, "label": true}``; where known ``"spans": [[first, end], …]``, ``"document": "…"``.

    Raises:
        MonoscopeError: a line is none; the message says which.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise MonoscopeError(
            f"{path} cannot be read: {error}", fix='name a file of lines {"text": …, "label": true}'
        ) from error
    return [_example(line, f"{path}, line {i + 1}") for i, line in enumerate(lines) if line.strip()]


def _example(line: str, where: str) -> Example:
    fix = 'write {"text": "…", "label": true or false}, and if you like "spans": [[first, end], …]'
    try:
        held: Any = json.loads(line)
    except ValueError as error:
        raise MonoscopeError(f"this is no JSON: {error}", where=where, fix=fix) from error
    if not isinstance(held, Mapping) or not isinstance(held.get("text"), str) or not held["text"]:
        raise MonoscopeError("there is no text", where=where, fix=fix)
    if held.get("label") not in (0, 1):  # False and True are these
        raise MonoscopeError(f"the label is {held.get('label')!r}", where=where, fix=fix)
    spans = held.get("spans") or []
    if not isinstance(spans, list) or not all(_is_span(span, len(held["text"])) for span in spans):
        raise MonoscopeError(f"the spans are {spans!r}", where=where, fix=fix)
    document = held.get("document")
    if not isinstance(document, str | None):
        raise MonoscopeError(f"the document is {document!r}", where=where, fix="give its name as a text")
    return Example(held["text"], bool(held["label"]), tuple((a, b) for a, b in spans), document)


def _is_span(span: Any, length: int) -> bool:
    pair = isinstance(span, list) and len(span) == 2 and all(isinstance(x, int) for x in span)
    return pair and 0 <= span[0] < span[1] <= length


def clusters(examples: Sequence[Example]) -> Int[np.ndarray, " n"]:
    """Near-duplicates, and texts of one document, have one number: the first's index."""
    found = near_duplicates.clusters(np.stack([near_duplicates.signature(e.text) for e in examples]))
    first: dict[str, int] = {}
    for i, e in enumerate(examples):
        one, other = int(found[i]), first.setdefault(e.document, int(found[i])) if e.document else int(found[i])
        if one != other:
            found[found == max(one, other)] = min(one, other)
            first = {name: min(one, other) if c == max(one, other) else c for name, c in first.items()}
    return found


def split(examples: Sequence[Example], seed: int = 0) -> dict[str, Texts]:
    """``fit``, ``calibrate`` and ``test``, clusters together.

    A cluster's part follows from its first text and the seed alone. The parts that set thresholds and test count
    texts, which must not depend on one another: of a cluster's texts with one label the first is kept there.

    Raises:
        MonoscopeError: a part has too few texts of a label.
    """
    if not examples:
        raise MonoscopeError("there are no examples", fix="give texts with and without what is to be detected")
    found = clusters(examples)
    names = [hashlib.sha256(e.text.encode()).hexdigest() for e in examples]
    sizes = [len(e.text) for e in examples]
    part_of = splits.assign(names, sizes, found, SHARES, seed=seed)
    parts = {}
    for part in SHARES:
        chosen = [i for i, name in enumerate(part_of) if name == part]
        made = Texts(tuple(examples[i] for i in chosen), found[chosen])
        parts[part] = made if part == FIT else distinct(made)
        check(parts[part], f"the part that is to {part}")
    return parts


def distinct(texts: Texts) -> Texts:
    """Of each cluster's texts with one label the first."""
    pairs = texts.clusters * 2 + texts.labels
    first = np.sort(np.unique(pairs, return_index=True)[1])
    return Texts(tuple(texts.examples[i] for i in first), texts.clusters[first])


def of(examples: Sequence[Example]) -> Texts:
    """Texts that only test: of each cluster's texts with one label the first."""
    return distinct(Texts(tuple(examples), clusters(examples)))


def check(texts: Texts, what: str) -> None:
    """Refuse texts of which too few have either label.

    Raises:
        MonoscopeError: there are too few; the message says of which.
    """
    for label in (True, False):
        n = len(np.unique(texts.clusters[texts.labels == label]))
        if n < LEAST:
            raise MonoscopeError(
                f"{what} has {n} examples labelled {str(label).lower()} that do not depend on each other",
                fix=f"give more, from other documents: about {round(2 * LEAST / min(SHARES.values()))} of each label",
            )
