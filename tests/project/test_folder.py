"""Sealed folders: whole, or known not to be."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

import pytest

from monoscope import folder
from monoscope.errors import MonoscopeError


@pytest.fixture
def sealed(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.bin").write_bytes(b"0123456789" * 1000)
    (tmp_path / "sub" / "b.txt").write_text("text")
    folder.seal(tmp_path, "thing", {"seed": 3}, ["a.bin", "sub/b.txt"])
    return tmp_path


def test_a_sealed_folder_opens(sealed: Path) -> None:
    manifest = folder.unseal(sealed, "thing")
    assert manifest["seed"] == 3
    assert manifest["files"]["a.bin"] == {"bytes": 10_000, "sha256": hashlib.sha256(b"0123456789" * 1000).hexdigest()}
    assert folder.is_sealed(sealed) and folder.verify(sealed) == []


def test_without_a_manifest_it_is_not_complete(sealed: Path) -> None:
    (sealed / "manifest.json").unlink()
    assert not folder.is_sealed(sealed)
    with pytest.raises(MonoscopeError, match="is not complete"):
        folder.unseal(sealed, "thing")
    with pytest.raises(MonoscopeError, match="does not exist"):
        folder.unseal(sealed / "nowhere", "thing")


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "3", '{"kind": "thing"}', '{"files": {}}', '{"kind": "thing", "files": []}']
)
def test_a_damaged_manifest_is_reported(sealed: Path, content: str) -> None:
    (sealed / "manifest.json").write_text(content)
    with pytest.raises(MonoscopeError, match=r"manifest\.json is damaged"):
        folder.unseal(sealed, "thing")
    with pytest.raises(MonoscopeError, match=r"manifest\.json is damaged"):
        folder.verify(sealed)


@pytest.mark.parametrize("name", ["a.bin", "sub/b.txt"])
def test_truncation_and_loss_are_seen_at_once_and_changes_by_the_hash(sealed: Path, name: str) -> None:
    whole = (sealed / name).read_bytes()
    (sealed / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    folder.unseal(sealed, "thing")  # the sizes still agree
    assert folder.verify(sealed) == [name]
    (sealed / name).write_bytes(whole[:-1])
    with pytest.raises(MonoscopeError, match=f"{name} is {len(whole) - 1} bytes long, not {len(whole)}"):
        folder.unseal(sealed, "thing")
    (sealed / name).unlink()
    assert folder.verify(sealed) == [name]
    with pytest.raises(MonoscopeError, match=f"{name} is missing"):
        folder.unseal(sealed, "thing")


def test_another_kind_is_refused(sealed: Path) -> None:
    with pytest.raises(MonoscopeError, match="holds 'thing', not 'other'"):
        folder.unseal(sealed, "other")


def test_writing_replaces_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "value.json"
    folder.write_json(path, {"é": 1})
    assert folder.read_json(path) == {"é": 1}

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MonoscopeError, match=r"cannot write value\.json: No space left"):
        folder.write_json(path, {"é": 2})
    assert folder.read_json(path) == {"é": 1}
    assert [p.name for p in path.parent.iterdir()] == ["value.json"]


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MonoscopeError, match="cannot write"):
        folder.write_bytes(tmp_path / "file" / "value", b"")


def test_reading_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MonoscopeError, match=r"there is no value\.json"):
        folder.read_json(tmp_path / "value.json")
    (tmp_path / "value.json").write_bytes(b"\xff\xfe")
    with pytest.raises(MonoscopeError, match=r"value\.json is damaged"):
        folder.read_json(tmp_path / "value.json")
