"""Dictionaries of streams that TransformerLens centred, on the streams of the model as it is."""

from __future__ import annotations

import json
from pathlib import Path

import foreign_files as files
import pytest
import torch
import transformers

from monoscope.dictionary import io

SITES = {"resid_pre": "h.1", "resid_post": "h.1", "attn_out": "h.1.attn", "mlp_out": "h.1.mlp"}


def stream(model: transformers.GPT2Model, place: str, tokens: torch.Tensor) -> torch.Tensor:
    """The rows of one place of block 1."""
    found: list[torch.Tensor] = []

    def keep(module: torch.nn.Module, given: tuple[torch.Tensor, ...], made: object) -> None:
        found.append(given[0] if place == "resid_pre" else made[0] if isinstance(made, tuple) else made)  # type: ignore

    hook = model.get_submodule(SITES[place]).register_forward_hook(keep)
    model(input_ids=tokens)
    hook.remove()
    return found[0].reshape(-1, files.D)


@torch.no_grad()
def centre(model: transformers.GPT2Model) -> None:
    """Take the mean out of whatever is written into the stream: embeddings and both down projections."""
    for name, parameter in model.named_parameters():
        if name in ("wte.weight", "wpe.weight") or "c_proj" in name:
            parameter.sub_(parameter.mean(-1, keepdim=True))


@torch.no_grad()
@pytest.mark.parametrize("architecture", ["standard", "topk", "jumprelu", "matching_pursuit"])
@pytest.mark.parametrize("place", SITES)
def test_it_computes_on_the_models_stream_what_it_computed_on_the_centred_one(place, architecture, tmp_path):
    torch.manual_seed(0)
    config = transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=files.D, n_layer=2, n_head=2)
    plain, centred = (transformers.GPT2Model(config).eval() for _ in range(2))
    for parameter in plain.parameters():
        parameter.copy_(torch.randn_like(parameter))
    centred.load_state_dict(plain.state_dict())
    centre(centred)
    tokens = torch.randint(0, 50, (4, 16))
    x, there = stream(plain, place, tokens), stream(centred, place, tokens)
    mean = x.mean(1, keepdim=True)
    torch.testing.assert_close(there, x - mean, rtol=1e-4, atol=1e-4)
    assert float(mean.abs().mean()) > 0.1  # so that it matters
    files.centred_stream(tmp_path, architecture)
    edit(tmp_path, hook_name=f"blocks.1.hook_{place}")
    made = io.load(tmp_path)
    assert made.provenance["site"] == f"{place}.1" and made.row_mean
    edit(tmp_path, model_from_pretrained_kwargs={"center_writing_weights": False})
    theirs = io.load(tmp_path)
    assert theirs.provenance["site"] == f"{place}.1" and not theirs.row_mean
    torch.testing.assert_close(made.encode(x).to_dense(), theirs.encode(there).to_dense(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(made(x), theirs(there) + mean, rtol=1e-3, atol=1e-3)
    unexplained = (x - made(x)).square().sum(), (there - theirs(there)).square().sum()
    torch.testing.assert_close(*unexplained, rtol=1e-3, atol=1e-3)  # the mean is neither lost nor gained


def edit(folder: Path, **changes: object) -> None:
    config = json.loads((folder / "cfg.json").read_text())
    config["metadata"] |= changes
    (folder / "cfg.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("model", "hook", "site", "row_mean"),
    [
        ("gpt2-small", "blocks.3.hook_resid_pre", "resid_pre.3", True),
        ("pythia-70m-deduped", "blocks.3.hook_mlp_out", "mlp_out.3", True),
        ("gpt2-small", "blocks.3.mlp.hook_post", "mlp_act.3", False),  # neurons are what they were
        ("gemma-2-2b", "blocks.3.hook_resid_post", "resid_post.3", False),  # RMSNorm: nothing was centred
        ("of-their-own", "blocks.3.hook_resid_post", None, False),
    ],
)
def test_it_depends_on_the_models_norm_and_on_the_place(model, hook, site, row_mean, tmp_path):
    files.centred_stream(tmp_path, model=model)
    edit(tmp_path, hook_name=hook)
    made = io.load(tmp_path)
    assert (made.provenance.get("site"), made.row_mean) == (site, row_mean)
    assert made.provenance.get("hook") == (None if site else hook) and "row_mean" not in made.provenance


def test_a_transcoder_of_a_centred_stream_stays_at_its_hook(tmp_path):
    files.centred_stream(tmp_path, "transcoder", centred=False)
    made = io.load(tmp_path)
    told = made.provenance
    assert (told["hook"], told["target"]) == ("blocks.3.hook_resid_post", "blocks.3.hook_mlp_out")
    assert "site" not in told and not made.row_mean
    edit(tmp_path, model_name="gemma-2-2b")
    assert {"site": "resid_post.3", "target": "mlp_out.3"}.items() <= io.load(tmp_path).provenance.items()


def test_layer_norm_takes_the_mean_off_in_any_case(tmp_path):
    for legacy in (False, True):
        files.centred_stream(tmp_path, legacy=legacy)
        config = json.loads((tmp_path / "cfg.json").read_text())
        (tmp_path / "cfg.json").write_text(json.dumps(config | {"normalize_activations": "layer_norm"}))
        made = io.load(tmp_path)
        assert (made.row_norm, made.row_mean, made.provenance["site"]) == (True, False, "resid_post.3")


def test_old_files_that_do_not_say_are_told_on(tmp_path):
    files.saelens(tmp_path / "old", legacy=True)
    assert io.load(tmp_path / "old").provenance["row_mean"] == "not stated"
    config = json.loads((tmp_path / "old/cfg.json").read_text())
    for told, row_mean in ((True, True), (False, False)):
        config["model_from_pretrained_kwargs"] = {"center_writing_weights": told}
        (tmp_path / "old/cfg.json").write_text(json.dumps(config))
        made = io.load(tmp_path / "old")
        assert made.row_mean is row_mean and "row_mean" not in made.provenance


def test_releases_that_are_known_to_be_centred_are(tmp_path):
    """As the Hub's cache lays them out."""
    for repository, row_mean in (("jbloom/GPT2-Small-SAEs-Reformatted", True), ("someone/else", False)):
        place = tmp_path / f"models--{repository.replace('/', '--')}" / "snapshots/abc/blocks.3.hook_resid_post"
        files.saelens(place, legacy=True)
        made = io.load(place)
        assert made.row_mean is row_mean
        assert made.provenance.get("row_mean") == (None if row_mean else "not stated")
