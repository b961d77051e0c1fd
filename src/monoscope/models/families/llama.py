"""Llama, Mistral, Qwen, Gemma, OLMo, Cohere: blocks of ``self_attn`` and ``mlp``, told apart by the norms around them.

- ``input_layernorm, post_attention_layernorm``: pre-norm; the second norm reads the stream after attention.
- with ``pre_feedforward_layernorm`` and ``post_feedforward_layernorm`` (Gemma 2, 3): what a sub-layer adds is normed
  first, so ``attn_out`` and ``mlp_out`` are what comes out of those norms.
- with ``post_feedforward_layernorm`` alone (OLMo 2): likewise, and sub-layers read the stream itself.
- ``input_layernorm`` alone (Cohere): attention and MLP run in parallel.

The MLP is gated: ``mlp_act`` is the product that its ``down_proj`` reads.
"""

from __future__ import annotations

from torch import nn

from monoscope.models.layout import PARALLEL, Layer, Layout, beside, blocks, child, has
from monoscope.models.taps import Place

EXPERTS = "its MLP is a mixture of experts, without one down projection; use mlp_in or mlp_out"


def resolve(model: nn.Module) -> Layout | None:
    """Where the sites are, if the model is built this way."""
    found = blocks(model, "self_attn.o_proj", "mlp")
    if found is None:
        return None
    path, stack = found
    if not all(has(block, "input_layernorm") or has(block, "post_feedforward_layernorm") for block in stack):
        return None
    layers = tuple(_layer(f"{path}.{i}", block) for i, block in enumerate(stack))
    return Layout("llama", layers, final_norm=beside(model, path, "norm"), causal=True)


def _layer(path: str, block: nn.Module) -> Layer:
    normed = has(block, "post_feedforward_layernorm")
    middle = _middle(path, block)
    down = child(block, "mlp.down_proj")
    places = {
        "resid_pre": Place(path, "in"),
        "attn_out": Place(f"{path}.post_attention_layernorm" if normed else f"{path}.self_attn", "out"),
        "mlp_in": Place(f"{path}.mlp", "in"),
        "mlp_out": Place(f"{path}.post_feedforward_layernorm" if normed else f"{path}.mlp", "out"),
        "resid_post": Place(path, "out"),
    }
    absent = {}
    if middle is None:
        absent["resid_mid"] = PARALLEL
    else:
        places["resid_mid"] = middle
    if down is None:
        absent["mlp_act"] = EXPERTS
    else:
        places["mlp_act"] = Place(f"{path}.mlp.down_proj", "in")
    norm, attention = child(block, "post_feedforward_layernorm"), block.get_submodule("self_attn.o_proj")
    return Layer(places, absent, down=down, down_norm=norm, attn_down=attention)


def _middle(path: str, block: nn.Module) -> Place | None:
    """The stream between attention and MLP: what the next module to read it is given."""
    if has(block, "pre_feedforward_layernorm"):
        return Place(f"{path}.pre_feedforward_layernorm", "in", shared=True)
    if has(block, "post_feedforward_layernorm"):
        return Place(f"{path}.mlp", "in", shared=True)
    if has(block, "post_attention_layernorm"):
        return Place(f"{path}.post_attention_layernorm", "in", shared=True)
    return None
