"""What models are called elsewhere: known names become the Hub's, others stay, and two names of one model are one."""

from __future__ import annotations

import json

import foreign_files as files
import pytest

from monoscope import model_names
from monoscope.dictionary import io
from monoscope.errors import MonoscopeError
from monoscope.models import load_model


@pytest.mark.parametrize(
    ("there", "on_hub"),
    [
        ("gpt2-small", "gpt2"), ("gpt2-medium", "gpt2-medium"), ("pythia-70m-deduped", "EleutherAI/pythia-70m-deduped"),
        ("gemma-2b", "google/gemma-2b"), ("gemma-2-9b-it", "google/gemma-2-9b-it"), ("qwen3-0.6b", "Qwen/Qwen3-0.6B"),
        ("gemma-3-1b-pt", "google/gemma-3-1b-pt"), ("mistral-7b", "mistralai/Mistral-7B-v0.1"),
        ("Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("tiny-stories-1L-21M", "roneneldan/TinyStories-1Layer-21M"), ("gelu-2l", None), ("gemma-2-3b", None),
        ("pythia-71m", None), ("someone/gpt2-small", None), ("", None),
    ],
)  # fmt: skip
def test_known_names_and_others(there, on_hub):
    assert model_names.on_hub(there) == on_hub


def test_every_id_is_known_by_itself_or_has_an_organisation():
    for name, model in model_names.NAMES.items():
        assert model.count("/") == (0 if model in model_names.NAMES else 1), name
        assert model_names.same(name, model)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("gpt2-small", "openai-community/gpt2", True), ("gpt2", "gpt2@main", None), ("gpt2@a", "gpt2@a", True),
        ("EleutherAI/pythia-70m", "pythia-70m", True), ("eleutherai/Pythia-70m", "pythia-70m", True),
        ("meta-llama/Meta-Llama-3.1-8B", "Llama-3.1-8B", True), ("pythia-70m", "pythia-70m-deduped", False),
        ("gpt2", "EleutherAI/pythia-160m", False), ("someone/gpt2", "gpt2", None), ("a/tuned", "b/tuned", None),
        ("pythia-14m", "reference-a", False), ("reference-a", "reference-b", False),
        ("gpt2", "EleutherAI/pythia-160m@step0", False),
        ("gpt2", "/models/gpt2", None), ("mine", "gpt2", None), ("gpt2 (shuffled 0)", "gpt2", None), ("", "gpt2", None),
    ],
)  # fmt: skip
def test_two_names_of_one_model(one, other, same):
    assert model_names.same(one, other) is same
    assert model_names.same(other, one) is same
    assert not model_names.tuned(one, other)


@pytest.mark.parametrize(
    ("one", "other", "tuned"),
    [
        ("gemma-2-2b", "google/gemma-2-2b-it", True), ("google/gemma-3-1b-pt", "google/gemma-3-1b-it", True),
        ("Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-8B-Instruct", True), ("Llama-2-7b", "Llama-2-7b-chat", True),
        ("mistral-7b", "mistral-7b-instruct", True), ("Qwen3-8B", "Qwen/Qwen3-8B-Base", True),
        ("gemma-2-2b", "gemma-2-9b-it", False), ("Llama-3.2-1B", "Llama-3.2-3B-Instruct", False),
        ("tiny-stories-1M", "tiny-stories-instruct-1M", False),
    ],
)  # fmt: skip
def test_a_model_and_what_was_tuned_from_it(one, other, tuned):
    assert model_names.tuned(one, other) is model_names.tuned(other, one) is tuned
    assert model_names.same(one, other) is (None if tuned else False)


def named(folder, name: str) -> None:
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"]["model_name"] = name
    (folder / "cfg.json").write_text(json.dumps(config))


def test_a_file_of_saelens_keeps_the_name_that_it_has(tmp_path):
    files.saelens(tmp_path / "theirs")
    named(tmp_path / "theirs", "gpt2-small")
    made = io.load(tmp_path / "theirs")
    assert made.provenance == {"model": "gpt2", "model_there": "gpt2-small", "site": "resid_post.3"}
    made.save(tmp_path / "ours", format="saelens")
    assert json.loads((tmp_path / "ours/cfg.json").read_text())["metadata"]["model_name"] == "gpt2-small"
    assert io.load(tmp_path / "ours").provenance == made.provenance
    named(tmp_path / "theirs", "of-their-own")
    assert io.load(tmp_path / "theirs").provenance["model"] == "of-their-own"


def test_other_formats_name_models_too(tmp_path):
    files.gemma_scope(tmp_path, 2)
    assert io.load(tmp_path).provenance["model"] == "google/gemma-3-1b-pt"


def test_who_asks_for_a_model_by_such_a_name_is_told_the_hubs(monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *a, **k: pytest.fail("the Hub was asked"))
    with pytest.raises(MonoscopeError, match=r"on the Hub, gpt2-small is gpt2\n→ name it gpt2"):
        load_model("gpt2-small")
