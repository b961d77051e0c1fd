"""The pass over ``transformers`` models built on the spot: laws that must hold whatever the architecture."""

from __future__ import annotations

import pytest
import torch
from transformers import BertConfig, BertModel, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from monoscope.evaluate import evaluate
from monoscope.evaluate.controls import Neurons, fit_pca
from monoscope.evaluate.splice import splice_with_error
from monoscope.harvest.stream import stream
from monoscope.models import LanguageModel
from monoscope.text import pack
from monoscope.types import Site

VOCABULARY = 257


def gpt2():
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCABULARY, n_positions=16, n_embd=16, n_layer=2, n_head=2, activation_function="relu")
    )


def llama():
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
        )
    )


def bert():
    return BertModel(
        BertConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=16,
        )
    )


def language_model(build, tokeniser) -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(build().eval().requires_grad_(False), tokeniser, name=build.__name__)


@pytest.mark.parametrize("build", [gpt2, llama])
@pytest.mark.parametrize("site", ["mlp_act.0", "resid_post.0", "mlp_out.1"])
def test_explained_plus_error_is_the_original(build, site, tokeniser, store):
    lm = language_model(build, tokeniser)
    block = next(pack.blocks(store, store.documents(), tokeniser, lm.context))
    logits, spliced = splice_with_error(lm, Site.parse(site), Neurons(lm.width(site), 3), block)
    keep = block.is_text  # what a model says of padding means nothing
    torch.testing.assert_close(spliced[keep], logits[keep], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("build", [gpt2, llama])
def test_keeping_everything_recovers_everything(build, tokeniser, store):
    lm = language_model(build, tokeniser)
    site = Site.parse("mlp_act.1")
    width = lm.width(site)
    blocks = [a.values[str(site)] for a in stream(lm, store, store.documents(), [site])]
    known = {"all": Neurons(width, width), "none": Neurons(width, 1), "pca": fit_pca(blocks, width)}
    found = evaluate(lm, site, known, store, store.documents(), n_tokens=600, n_loss_tokens=300)
    assert found.metrics["fvu"].value == 0
    assert found.metrics["ce_spliced"].value == pytest.approx(found.metrics["ce"].value, abs=1e-9)
    assert found.metrics["kl"].value == 0
    assert found.controls["none"]["fvu"].low > 0.1
    assert found.controls["pca"]["fvu"].value == pytest.approx(0, abs=1e-9)
    assert found.controls["pca"]["kl"].value == pytest.approx(0, abs=1e-6)


def test_an_encoder_without_a_head_has_no_losses(tokeniser, store):
    lm = language_model(bert, tokeniser)
    found = evaluate(lm, "resid_post.0", {"d": Neurons(16, 4)}, store, store.documents(), n_tokens=300)
    assert found.metrics["loss_recovered_mean"].value is None
    assert 0 < found.metrics["fvu"].value < 1
