"""Specificity by level: counts against brute force, intervals that are honest about few documents."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from interpret_world import programs

from monoscope.concepts import concept
from monoscope.errors import MonoscopeError
from monoscope.interpret.specificity import levels

CONCEPT = "in_docstring"


class Index:
    """One feature's values on every row."""

    def __init__(self, values):
        self.values = values

    def of(self, feature):
        rows = np.flatnonzero(self.values)
        return rows, self.values[rows]

    def dense(self, feature, first, last):
        return self.values[first:last]


class Catalogue:
    """As much of a catalogue as levels need."""

    run = Path("run")

    def __init__(self, values, label=CONCEPT):
        self.rows = programs(24)
        self.store = self.rows.store
        self.index = Index(values)
        self.record = SimpleNamespace(label=label and SimpleNamespace(concept=label), max=float(values.max()))

    def __getitem__(self, feature):
        return self.record


@pytest.fixture(scope="module")
def rows():
    return programs(24)


@pytest.fixture(scope="module")
def mask(rows):
    return np.concatenate([concept(CONCEPT).mask(rows.store.document(d)) for d in rows.documents])


@pytest.fixture(scope="module")
def values(rows, mask):
    """Fires on the concept strongly, and elsewhere weakly."""
    rng = np.random.default_rng(0)
    return (rng.random(len(rows)) < 0.4) * np.where(mask, rng.uniform(0, 1, len(rows)), rng.uniform(0, 0.5, len(rows)))


def test_levels_against_brute_force(rows, mask, values):
    found = levels(Catalogue(values), 0)
    test = rows.in_split("test")
    for i, (low, high) in enumerate(zip(found.edges[:-1], found.edges[1:], strict=True)):
        here = test & (values > low) & (values <= high)
        assert found.counts[i] == here.sum()
        assert found.fraction[i] == pytest.approx(mask[here].mean())
    assert found.silent == pytest.approx(mask[test & (values == 0)].mean())
    assert found.documents == 12
    assert (found.low <= found.fraction).all() and (found.fraction <= found.high).all()
    assert found.fraction[0] < 0.8 < found.low[-1] == 1.0


def test_every_value_is_in_one_level(values):
    found = levels(Catalogue(values), 0, n_levels=3)
    test = programs(24).in_split("test")
    assert found.counts.sum() == (values[test] > 0).sum()
    assert len(found.edges) == 4 and found.edges[-1] == values.max()


def test_fewer_documents_are_drawn_by_seed(values):
    one, again, other = (levels(Catalogue(values), 0, documents=4, seed=s) for s in (1, 1, 2))
    assert one.documents == 4
    assert np.array_equal(one.counts, again.counts) and not np.array_equal(one.counts, other.counts)


def test_one_document_has_no_interval_and_an_empty_level_no_share(rows, values):
    last = np.where(np.arange(len(rows)) >= rows.offsets[-2], values, 0) * (values < 0.5)
    last[-1] = 1.0
    found = levels(Catalogue(last), 0)
    assert np.isnan(found.low).all() and np.isnan(found.high).all()
    assert np.isfinite(found.fraction[0]) and np.isnan(found.fraction[7])


@pytest.mark.parametrize(
    ("label", "part", "says"), [(None, slice(None), "no label"), (CONCEPT, slice(0, 40), "no test")]
)
def test_what_cannot_be_shown_is_refused(values, label, part, says):
    kept = np.zeros_like(values)
    kept[part] = values[part]
    with pytest.raises(MonoscopeError, match=says):
        levels(Catalogue(kept, label), 0)
