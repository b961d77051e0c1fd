"""What people say is kept, whole or not at all, beside a catalogue that stays as it was built."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.catalogue.annotations import LONGEST_LABEL, LONGEST_NOTE, NAME, Annotation, Annotations
from monoscope.errors import MonoscopeError

N = 40
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
SAID = st.builds(
    Annotation, feature=st.integers(0, N - 1), label=WORDS, vote=st.sampled_from([-1, 0, 1]), note=WORDS,
    bookmarked=st.booleans(), changed=st.just("2026-11-28T00:00:00+00:00"),
)  # fmt: skip


@pytest.fixture
def held(tmp_path: Path) -> Annotations:
    return Annotations(tmp_path, "key", N)


def test_nothing_is_written_before_something_is_said(held: Annotations) -> None:
    assert held.get(3) == Annotation(3) and held.all() == [] and held.bookmarked() == []
    assert not held.path.exists()
    said = held.put(Annotation(3, "mine", 1, "why", True))
    assert held.get(3) == said and said.changed and held.bookmarked() == [3]
    held.put(Annotation(3))
    assert held.all() == [] and held.path.exists()


@settings(deadline=None)  # databases are written to disk
@given(said=st.lists(SAID, max_size=12))
def test_export_and_import_are_the_identity(tmp_path_factory: pytest.TempPathFactory, said: list[Annotation]) -> None:
    held = Annotations(tmp_path_factory.mktemp("a"), "key", N)
    held.take(said)
    last = {a.feature: a for a in said}
    assert held.all() == sorted((a for a in last.values() if not a.is_empty), key=lambda a: a.feature)
    other = Annotations(tmp_path_factory.mktemp("b"), "key", N)
    assert other.from_json(json.dumps(held.to_json()), "here") == len(held.all())
    assert other.to_json() == held.to_json()


@pytest.mark.parametrize(
    "wrong",
    [
        Annotation(N), Annotation(-1), Annotation(0, vote=2), Annotation(0, label="x" * (LONGEST_LABEL + 1)),
        Annotation(0, note="x" * (LONGEST_NOTE + 1)), Annotation(True), Annotation(0, bookmarked=1),  # type: ignore[arg-type]
        Annotation(0, label=None),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_what_is_not_valid_is_refused_whole(held: Annotations, wrong: Any) -> None:
    with pytest.raises(MonoscopeError):
        held.take([Annotation(1, "good"), wrong])
    assert held.all() == []


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"format": "x", "annotations": []}', '{"format": "monoscope annotations 1"}',
     '{"format": "monoscope annotations 1", "catalogue": "key", "annotations": [{"evil": 1}]}',
     '{"format": "monoscope annotations 1", "catalogue": "another", "annotations": []}', "[" * 100_000],
)  # fmt: skip
def test_files_of_something_else_are_refused(held: Annotations, text: str) -> None:
    with pytest.raises(MonoscopeError):
        held.from_json(text, "file.json")


def test_annotations_of_another_catalogue_and_damaged_files_are_said(held: Annotations, tmp_path: Path) -> None:
    held.put(Annotation(1, "mine"))
    with pytest.raises(MonoscopeError, match="another catalogue"):
        Annotations(tmp_path, "another key", N)
    (tmp_path / NAME).write_bytes(b"not a database at all, but long enough to be looked at" * 20)
    with pytest.raises(MonoscopeError, match="cannot be used"):
        Annotations(tmp_path, "key", N)


def test_several_threads_may_write(held: Annotations) -> None:
    threads = [threading.Thread(target=lambda i=i: held.put(Annotation(i, f"label {i}"))) for i in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert [a.label for a in held.all()] == [f"label {i}" for i in range(8)]
