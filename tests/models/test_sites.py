"""The laws that sites obey, for every family."""

from __future__ import annotations

import pytest
import torch
from tiny_models import (
    CONFIGS,
    ENCODERS,
    EXPERTS,
    MLP,
    PARALLEL,
    VOCABULARY,
    D,
    block,
    close,
    language_model,
    transformer,
)
from tiny_models import tokeniser as single_bytes
from torch import nn

from monoscope import plugins
from monoscope.errors import MonoscopeError
from monoscope.models.language_model import LanguageModel
from monoscope.models.sites import FAMILIES

everywhere = pytest.mark.parametrize("family", CONFIGS)
sequential = pytest.mark.parametrize("family", [f for f in CONFIGS if f not in PARALLEL])
decoders = pytest.mark.parametrize("family", [f for f in CONFIGS if f not in ENCODERS])


def layers(lm: LanguageModel) -> int:
    return int(lm.model.config.num_hidden_layers)


def read_all(lm: LanguageModel) -> dict[str, torch.Tensor]:
    return lm.run(block(), read=lm.sites())


def test_every_family_file_is_resolved_by_some_model():
    used = {language_model(name)._sites.layout.family for name in CONFIGS}  # type: ignore[union-attr]
    assert used == set(plugins.names(FAMILIES))


@everywhere
def test_sites_are_read_at_their_widths(family: str):
    lm = language_model(family)
    values = read_all(lm)
    assert list(values) and set(values) == {str(s) for s in lm.sites()}
    for name, value in values.items():
        assert value.shape == (3, 12, lm.width(name))
    assert lm.width("resid_post.0") == lm.width("embed") == D
    assert family in EXPERTS or lm.width("mlp_act.1") == MLP
    assert lm.has_head == (family not in ENCODERS)
    assert not lm.has_head or lm.width("logits") == VOCABULARY


@sequential
def test_what_sub_layers_add_makes_the_stream(family: str):
    lm = language_model(family)
    at = read_all(lm)
    for i in range(layers(lm)):
        middle = at[f"resid_pre.{i}"] + at[f"attn_out.{i}"]
        end = at[f"resid_mid.{i}"] + at[f"mlp_out.{i}"]
        if family in ENCODERS:
            parts = lm.model.encoder.layer[i]
            middle, end = parts.attention.output.LayerNorm(middle), parts.output.LayerNorm(end)
        close(at[f"resid_mid.{i}"], middle)
        close(at[f"resid_post.{i}"], end)


@pytest.mark.parametrize("family", PARALLEL)
def test_parallel_blocks_add_both_at_once(family: str):
    lm = language_model(family)
    at = read_all(lm)
    for i in range(layers(lm)):
        close(at[f"resid_post.{i}"], at[f"resid_pre.{i}"] + at[f"attn_out.{i}"] + at[f"mlp_out.{i}"])
    with pytest.raises(MonoscopeError, match=r"no resid_mid\.0.*parallel"):
        lm.run(block(), read=["resid_mid.0"])


@everywhere
def test_stream_passes_from_layer_to_layer(family: str):
    lm = language_model(family)
    at = read_all(lm)
    for i in range(layers(lm) - 1):
        assert torch.equal(at[f"resid_post.{i}"], at[f"resid_pre.{i + 1}"])
    assert torch.equal(at["embed"], at["resid_pre.0"])


@everywhere
def test_stream_is_what_transformers_calls_hidden_states(family: str):
    lm = language_model(family)
    whole = lm.model(input_ids=block().tokens, output_hidden_states=True).hidden_states
    at = read_all(lm)
    for i in range(layers(lm)):  # the last of hidden_states is normed in decoders
        close(at[f"resid_pre.{i}"], whole[i])


@pytest.mark.parametrize("family", [f for f in CONFIGS if f not in ENCODERS])
def test_mlp_sites_are_the_mlp_applied(family: str):
    lm = language_model(family)
    at = read_all(lm)
    for i, layer in enumerate(lm._sites.layout.layers):  # type: ignore[union-attr]
        if family in EXPERTS:
            continue
        out = layer.down(at[f"mlp_act.{i}"])  # type: ignore[misc]
        mlp = lm.model.get_submodule(layer.places["mlp_in"].path)
        close(mlp(at[f"mlp_in.{i}"]), out)
        close(at[f"mlp_out.{i}"], out if layer.down_norm is None else layer.down_norm(out))


@pytest.mark.parametrize("family", ENCODERS)
def test_encoder_mlp_sites_are_the_mlp_applied(family: str):
    lm = language_model(family)
    at = read_all(lm)
    for i, parts in enumerate(lm.model.encoder.layer):
        assert torch.equal(at[f"mlp_in.{i}"], at[f"resid_mid.{i}"])
        close(at[f"mlp_act.{i}"], parts.intermediate(at[f"mlp_in.{i}"]))
        close(at[f"mlp_out.{i}"], parts.output.dense(at[f"mlp_act.{i}"]))


@decoders
def test_logits_are_the_models_own(family: str):
    lm = language_model(family)
    assert torch.equal(lm.run(block(), read=["logits"])["logits"], lm.model(input_ids=block().tokens).logits)


def test_gpt2_neurons_are_after_the_nonlinearity():
    lm = language_model("gpt2")
    at = read_all(lm)
    mlp = lm.model.transformer.h[1].mlp
    close(at["mlp_act.1"], mlp.c_fc(at["mlp_in.1"]).relu())


def test_gated_neurons_are_after_the_product():
    lm = language_model("llama")
    at = read_all(lm)
    mlp = lm.model.model.layers[1].mlp
    x = at["mlp_in.1"]
    close(at["mlp_act.1"], nn.functional.silu(mlp.gate_proj(x)) * mlp.up_proj(x))


def test_module_paths_are_sites_everywhere():
    lm = language_model("gpt2")
    at = lm.run(block(), read=["transformer.h.1:out", "resid_post.1", "transformer.h.0.attn.c_attn:out"])
    assert torch.equal(at["transformer.h.1:out"], at["resid_post.1"])
    assert lm.width("transformer.h.0.attn.c_attn:out") == 3 * D


def test_a_model_of_no_family_is_read_by_module_path():
    import transformers as hf

    config = hf.OPTConfig(
        vocab_size=VOCABULARY,
        hidden_size=D,
        ffn_dim=MLP,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=32,
        word_embed_proj_dim=D,
    )
    lm = LanguageModel(transformer(config), single_bytes(), name="foreign")
    assert [str(s) for s in lm.sites()] == ["logits"]
    with pytest.raises(MonoscopeError, match=r"no known family.*\n.*decoder\.layers\.\{0–1\}\.fc1"):
        lm.run(block(), read=["mlp_act.0"])
    assert lm.run(block(), read=["model.decoder.layers.1.fc2:in"])["model.decoder.layers.1.fc2:in"].shape[-1] == MLP
    doubled = {"model.decoder.layers.1.fc2:out": lambda x: 2 * x}  # this model flattens windows inside its MLP
    at = lm.run(block(), read=["model.decoder.layers.1.fc2:out", "model.decoder.layers.1:out"], write=doubled)
    plain = lm.run(block(), read=list(at))
    close(at["model.decoder.layers.1.fc2:out"], 2 * plain["model.decoder.layers.1.fc2:out"])
    assert not torch.allclose(at["model.decoder.layers.1:out"], plain["model.decoder.layers.1:out"])
    assert lm.unembedding() is None


def test_a_lookalike_that_adds_up_otherwise_is_not_taken_for_one():
    import transformers as hf

    shape = {"hidden_size": D, "intermediate_size": MLP, "num_attention_heads": 2, "num_hidden_layers": 1}
    granite = hf.GraniteConfig(vocab_size=VOCABULARY, residual_multiplier=0.5, max_position_embeddings=32, **shape)
    lm = LanguageModel(transformer(granite), single_bytes(), name="scaled")
    with pytest.raises(MonoscopeError, match="no known family"):
        lm.width("resid_mid.0")


@pytest.mark.parametrize(
    ("site", "message"),
    [
        ("resid_post.3", r"no layer 3.*\n.*0 to 2"),
        ("resid_pots.1", r"did you mean 'resid_post\.LAYER'"),
        ("transformer.h.0.mpl:out", r"did you mean 'transformer\.h\.0\.mlp'.*transformer\.h\.\{0–2\}\.mlp\.c_proj"),
        ("transformer.h:out", "never reaches transformer.h:out"),
        ("transformer.wte:in", "one vector a token"),
    ],
)
def test_errors_name_what_is_valid(site: str, message: str):
    with pytest.raises(MonoscopeError, match=message):
        language_model("gpt2").run(block(), read=[site])


def test_a_mixture_of_experts_says_why_it_has_no_neurons():
    with pytest.raises(MonoscopeError, match=r"no mlp_act\.0.*mixture of experts"):
        language_model("mixtral").width("mlp_act.0")


def test_an_encoder_says_that_it_has_no_logits():
    with pytest.raises(MonoscopeError, match="no language head"):
        language_model("bert").run(block(), read=["logits"])
