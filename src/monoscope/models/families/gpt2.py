"""GPT-2 and its kin (GPT-Neo, GPT-BigCode): pre-LayerNorm blocks of ``ln_1 attn ln_2 mlp``, one after the other."""

from __future__ import annotations

from torch import nn

from monoscope.models.layout import Layer, Layout, beside, blocks, child
from monoscope.models.taps import Place


def resolve(model: nn.Module) -> Layout | None:
    """Where the sites are, if the model is built this way."""
    found = blocks(model, "ln_1", "attn", "ln_2", "mlp.c_proj")
    if found is None:
        return None
    path, stack = found
    layers = tuple(_layer(f"{path}.{i}", block) for i, block in enumerate(stack))
    return Layout("gpt2", layers, final_norm=beside(model, path, "ln_f"), causal=True)


def _layer(path: str, block: nn.Module) -> Layer:
    places = {
        "resid_pre": Place(path, "in"),
        "attn_out": Place(f"{path}.attn", "out"),
        "resid_mid": Place(f"{path}.ln_2", "in", shared=True),
        "mlp_in": Place(f"{path}.mlp", "in"),
        "mlp_act": Place(f"{path}.mlp.c_proj", "in"),
        "mlp_out": Place(f"{path}.mlp", "out"),
        "resid_post": Place(path, "out"),
    }
    attention = child(block, "attn.c_proj") or child(block, "attn.attention.out_proj")
    return Layer(places, down=block.get_submodule("mlp.c_proj"), attn_down=attention)
