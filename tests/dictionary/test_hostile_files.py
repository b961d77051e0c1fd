"""Whatever is done to a file, loading gives a dictionary that works or says what is wrong; nothing else is raised."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from foreign_files import CASES, D, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monoscope.dictionary import io
from monoscope.errors import MonoscopeError

ATTACKED = [
    ("saelens", "jumprelu"),
    ("saelens", "legacy topk"),
    ("saelens", "scaled"),
    ("dictionary_learning", "BatchTopKSAE"),
    ("sparsify", "topk"),
    ("gemma_scope", "npz"),
    ("gemma_scope", "2"),
    ("llamascopium", "jumprelu"),
    ("openai", "relu"),
]
JSON = ["null", "true", "-1", "0", "1e999", "NaN", '"x"', "[]", "{}", "17", "99999999999999999999999", "[" * 5000]


@pytest.fixture(scope="module", params=ATTACKED, ids=" ".join)
def whole(request: pytest.FixtureRequest) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        CASES[request.param](Path(folder))
        yield Path(folder)


def damage(data: st.DataObject, content: bytes, is_json: bool) -> bytes:
    """A few bytes changed, cut, repeated or put in; in JSON also a value replaced."""
    at = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(
        st.sampled_from(["flip", "cut", "insert", "repeat", "header", *(["value"] * 3 if is_json else [])])
    )
    if kind == "cut":
        return content[:at]
    if kind == "insert":
        return content[:at] + data.draw(st.binary(min_size=1, max_size=8)) + content[at:]
    if kind == "repeat":
        return content[:at] + content[max(0, at - 40) :]
    if kind == "header":  # lengths, shapes and names are at a file's beginning
        at = min(at, 200)
    if kind == "value":
        marks = [i for i, byte in enumerate(content) if byte == ord(":")]
        start = data.draw(st.sampled_from(marks)) + 1
        ends = [e for e in (content.find(b",", start), content.find(b"}", start)) if e >= 0]
        return content[:start] + data.draw(st.sampled_from(JSON)).encode() + content[min(ends, default=start) :]
    changed = bytearray(content)
    for i in data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=3)):
        changed[min(at + i, len(changed) - 1)] = data.draw(st.integers(0, 255))
    return bytes(changed)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_is_refused_or_is_still_a_dictionary(whole: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "d"
        shutil.copytree(whole, folder)
        target = data.draw(st.sampled_from(sorted(folder.iterdir())))
        target.write_bytes(damage(data, target.read_bytes(), target.suffix == ".json"))
        try:
            made = io.load(folder)
            if getattr(made, "calibrated", True):
                out = made(rows(4, made.d_in))
                assert out.shape == (4, made.d_out) and made.d_in == D
                assert bool(torch.isfinite(made.w_enc).all() and torch.isfinite(made.w_dec).all())
            made.save(Path(name) / "again")
            assert torch.equal(io.load(Path(name) / "again").w_enc, made.w_enc)
        except MonoscopeError as error:
            assert str(error)
