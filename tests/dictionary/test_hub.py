"""Dictionaries of the Hugging Face Hub, from a cache folder as the Hub's own client leaves it, without a network."""

from __future__ import annotations

import shutil
from pathlib import Path

import foreign_files as files
import huggingface_hub.constants
import pytest
import torch

from monoscope.dictionary import io
from monoscope.dictionary.formats import _hub
from monoscope.errors import MonoscopeError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER = "fedcba9876543210fedcba9876543210fedcba98"


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The snapshot of the repository org/repo in an otherwise empty cache."""
    repository = tmp_path / "hub/models--org--repo"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs/main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.chdir(tmp_path)
    return snapshot


def test_a_repository_and_folders_within(cached):
    for within in ("", "layer_3/width_16k"):
        meaning = files.gemma_scope(cached / within)
        made = io.load(f"org/repo:{within}" if within else "org/repo")
        torch.testing.assert_close(made(files.rows()), meaning(files.rows()), rtol=1e-4, atol=1e-5)
    files.openai(cached / "resid")
    assert io.load("org/repo:resid/3.pt").architecture == "l1_2023"


@pytest.mark.parametrize(
    ("repository", "within", "told"),
    [
        ("gemma-scope-2b-pt-res", "layer_20/width_16k/average_l0_71", ("google/gemma-2-2b", "resid_post.20")),
        ("gemma-scope-9b-it-res", "layer_9/width_16k/average_l0_1", ("google/gemma-2-9b-it", "resid_post.9")),
        ("gemma-scope-9b-pt-mlp", "layer_0/width_16k/canonical", ("google/gemma-2-9b", "mlp_out.0")),
        ("gemma-scope-2b-pt-att", "layer_3/w", ("google/gemma-2-2b", "model.layers.3.self_attn.o_proj:in")),
        ("gemma-scope-2b-pt-transcoders", "layer_3/width_16k", ("google/gemma-2-2b", None)),
        ("gemma-scope-2b-pt-res", "embedding/width_4k", ("google/gemma-2-2b", None)),
        ("something", "layer_20/width_16k", (None, None)),
    ],
)
def test_releases_of_gemma_scope_say_by_their_names_where_they_belong(repository, within, told, cached):
    theirs = cached.parents[2] / f"models--google--{repository}"
    shutil.copytree(cached.parents[1], theirs)
    files.gemma_scope(theirs / "snapshots" / COMMIT / within)
    for revision in ("", "@main"):
        known = io.load(f"google/{repository}{revision}:{within}").provenance
        assert (known.get("model"), known.get("site")) == told
    assert "model" not in io.load(theirs / "snapshots" / COMMIT / within).provenance  # a folder's name says nothing


@pytest.fixture
def revised(cached: Path) -> Path:
    """The same repository, with another commit that a branch and a tag name."""
    repository = cached.parents[1]
    for name in ("v1.0", "refs/pr/3"):
        (repository / "refs" / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / "refs" / name).write_text(OTHER)
    (repository / "snapshots" / OTHER).mkdir()
    return repository / "snapshots" / OTHER


@pytest.mark.parametrize("within", ["", "layer_3/width_16k"])
@pytest.mark.parametrize("revision", ["v1.0", "refs/pr/3", OTHER])
def test_a_revision_is_read_and_the_commit_kept(revision, within, cached, revised, tmp_path):
    files.openai(cached / within)
    files.gemma_scope(revised / within)
    rest = f":{within}" if within else ""
    made = io.load(f"org/repo@{revision}{rest}")
    assert made.architecture == "batch_topk" and made.provenance["source"] == f"org/repo@{OTHER}{rest}"
    assert io.load(made.provenance["source"]).provenance == made.provenance
    for name in (f"org/repo{rest}", f"org/repo@main{rest}"):
        assert (io.load(name).architecture, io.load(name).provenance["source"]) == (
            "l1_2023",
            f"org/repo@{COMMIT}{rest}",
        )
    for format in ("monoscope", "saelens"):
        made.save(tmp_path / format, format=format)
        assert io.load(tmp_path / format).provenance["source"] == f"org/repo@{OTHER}{rest}"


def test_a_file_at_a_revision(revised):
    files.openai(revised / "resid")
    assert io.load("org/repo@v1.0:resid/3.pt").provenance["source"] == f"org/repo@{OTHER}:resid/3.pt"


def test_a_revision_that_is_not_there_is_named(cached, tmp_path):
    files.gemma_scope(cached)
    with pytest.raises(MonoscopeError, match=r"'org/repo@v2' is no folder here, and not in the local cache"):
        io.load("org/repo@v2")
    files.sparsify(tmp_path / "runs/one")
    with pytest.raises(MonoscopeError, match=r"'runs/one' is here, and no repository.*\n→ leave out @8"):
        io.load("runs/one@8")


def test_what_is_read_here_has_no_source(tmp_path):
    files.sparsify(tmp_path)
    assert "source" not in io.load(tmp_path).provenance


def test_what_is_not_there_is_explained(cached):
    with pytest.raises(MonoscopeError, match="not in the local cache") as error:
        io.load("org/other")
    assert "HF_HUB_OFFLINE" in error.value.fix
    with pytest.raises(MonoscopeError, match="no dictionary at nowhere"):
        io.load("org/repo:nowhere")
    with pytest.raises(MonoscopeError, match="known format"):
        io.load("org/repo")


def test_a_hub_that_does_not_answer_is_not_waited_for(silent_hub):
    with pytest.raises(MonoscopeError, match=r"cannot be reached\n→ correct the name.*HF_HUB_OFFLINE"):
        io.load("org/other")


def test_a_path_in_a_folder_that_is_here_is_looked_up_in_the_cache_alone(cached, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *a, **k: pytest.fail("the Hub was asked"))
    (tmp_path / "org").mkdir()
    with pytest.raises(MonoscopeError, match="the folder org holds no 'other'"):
        io.load("org/other")
    files.sparsify(cached)
    assert io.load("org/repo").architecture == "topk"


def test_with_a_file_comes_what_describes_it(monkeypatch, tmp_path):
    asked = []
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *a, **k: None)
    monkeypatch.setattr(
        "huggingface_hub.snapshot_download",
        lambda repo, allow_patterns, **_: asked.extend(allow_patterns) or str(tmp_path),
    )
    for name in ("a/checkpoints/ae_5.pt", "ae.pt"):
        asked.clear()
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
        assert _hub.fetch(f"org/repo:{name}", ["ae.pt", "config.json"]) == tmp_path / name
        above = {"a/checkpoints/config.json", "a/config.json"} if "/" in name else {"config.json"}
        assert {p for p in asked if not p.startswith(f"{name}/")} == {name, *above}


def test_a_repository_of_many_says_to_name_one(cached):
    files.sparsify(cached / "layers.2/deep")
    for asked, name in (("org/repo", None), ("org/repo:layers.2", "org/repo:layers.2/deep")):
        with pytest.raises(MonoscopeError, match="known format") as error:
            io.load(asked)
        assert name is None or error.value.fix.endswith(f"such as {name}")
    files.sparsify(cached / "layers.3")
    with pytest.raises(MonoscopeError, match="known format") as error:
        io.load("org/repo")
    assert error.value.fix.endswith("such as org/repo:layers.3")


def test_a_folder_here_goes_first(cached, tmp_path):
    files.sparsify(tmp_path / "org/repo")
    files.gemma_scope(cached)
    assert io.load("org/repo").architecture == "topk"


def test_only_what_formats_read_is_asked_for(monkeypatch, tmp_path):
    asked = {}

    def download(repo: str, revision: str | None, allow_patterns: list[str], local_files_only: bool) -> str:
        asked.update(repo=repo, revision=revision, patterns=allow_patterns, cached=local_files_only)
        (tmp_path / "a[1]").mkdir(exist_ok=True)
        return str(tmp_path)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *a, **k: None)
    assert _hub.fetch("org/repo:a[1]", ["cfg.json", "dictionary/config.json"]) == tmp_path / "a[1]"
    assert asked == {
        "repo": "org/repo",
        "revision": None,
        "cached": False,
        "patterns": ["a[[]1]/cfg.json", "a[[]1]/dictionary/config.json", "a[[]1]"],
    }
    assert {"cfg.json", "params.npz", "ae.pt", "dictionary/manifest.json"} <= set(io._files())
    assert _hub.origin("org/repo:a[1]", tmp_path / "a[1]") == "org/repo:a[1]"  # nothing says which commit it is
    _hub.fetch("org/repo@some/branch:a[1]", ["cfg.json"])
    assert asked["revision"] == "some/branch"


@pytest.mark.parametrize(
    "text",
    [
        "one", "a/b.safetensors", "a/b/c", "org/repo:../up", "./a", "/a/b", "org/repo:a:b", "a b/c", "",
        "org/repo@", "org/repo@../up", "org/repo@a/../../up", "org/repo@/etc", "org/repo@a b", "org/repo@a@b", "repo@a",
    ],
)  # fmt: skip
def test_what_is_no_id(text):
    assert not _hub.is_id(text)


def test_what_is_an_id():
    assert _hub.is_id("google/gemma-scope-2b-pt-res:layer_20/width_16k/average_l0_71")
