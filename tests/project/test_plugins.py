"""A folder is a registry, and an error names the nearest thing that would have been right."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from monoscope import plugins
from monoscope.errors import MonoscopeError, unknown_name


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    folder = tmp_path / "some_registry"
    folder.mkdir()
    for name in ("__init__", "beta", "alpha", "_helper"):
        (folder / f"{name}.py").write_text(f"NAME = {name!r}\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield "some_registry"
    for name in [n for n in sys.modules if n.partition(".")[0] == "some_registry"]:
        del sys.modules[name]


def test_files_are_plugins(registry: str) -> None:
    assert plugins.names(registry) == ["alpha", "beta"]
    assert plugins.load(registry, "beta").NAME == "beta"


def test_a_new_file_is_a_plugin_unasked(registry: str, tmp_path: Path) -> None:
    (tmp_path / "some_registry" / "gamma.py").write_text("NAME = 'gamma'\n")
    assert plugins.names(registry) == ["alpha", "beta", "gamma"]
    assert plugins.load(registry, "gamma").NAME == "gamma"


def test_a_dotted_name_is_a_module(registry: str) -> None:
    assert plugins.load(registry, "os.path").join("a", "b")
    with pytest.raises(MonoscopeError, match=r"'not_there\.at_all' cannot be imported"):
        plugins.load(registry, "not_there.at_all")


def test_a_misspelt_name_gets_the_nearest(registry: str) -> None:
    with pytest.raises(MonoscopeError, match=r"did you mean 'alpha'\? valid: alpha, beta"):
        plugins.load(registry, "alhpa")
    with pytest.raises(MonoscopeError, match="valid: alpha, beta"):
        plugins.load(registry, "_helper")


def test_an_error_says_what_where_and_what_to_do() -> None:
    error = MonoscopeError("the shard is damaged", where="run/3.bin", fix="make it again")
    assert str(error) == "the shard is damaged (run/3.bin)\n→ make it again"
    assert (error.what, error.where, error.fix) == ("the shard is damaged", "run/3.bin", "make it again")
    assert "did you mean" not in str(unknown_name("site", "zzzz", ["alpha"]))
