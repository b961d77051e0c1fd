"""Hooks that a foreign dictionary names by transformers' modules are read where these modules are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_models import block, language_model

from monoscope.dictionary.formats._sites import site_of
from monoscope.types import Site


@pytest.mark.parametrize(
    ("hook", "site"),
    [
        ("model.layers.1.output", "resid_post.1"),
        ("model.layers.0.pre_feedforward_layernorm.output", "mlp_in.0"),
        ("model.layers.1.post_feedforward_layernorm.output", "mlp_out.1"),
        ("model.layers.0.post_attention_layernorm.output", "model.layers.0.post_attention_layernorm:out"),
        ("model.layers.1.self_attn.o_proj.input", "model.layers.1.self_attn.o_proj:in"),
        ("model.layers.1.mlp.output", "model.layers.1.mlp:out"),
    ],
)
def test_what_gemma_scope_2_names(hook, site):
    assert site_of(hook) == site
    lm, seen = language_model("gemma3"), dict[str, torch.Tensor]()
    path, _, side = hook.rpartition(".")

    def hear(module: Any, given: Any, *made: Any) -> None:
        (found,) = made or given[:1]
        seen["it"] = (found[0] if isinstance(found, tuple) else found).detach()

    module = lm.model.get_submodule(path)
    handle = (module.register_forward_hook if side == "output" else module.register_forward_pre_hook)(hear)
    found = lm.run(block(), read=[Site.parse(site)])[site]
    handle.remove()
    assert torch.equal(found, seen["it"])


@pytest.mark.parametrize("hook", [None, "", "embed", "layers.1", "blocks.3.hook_q", ".output", "a b.output", "output"])
def test_what_is_no_hook_of_a_module(hook):
    assert site_of(hook) is None
