"""Phi: parallel blocks with one LayerNorm, ``x ← x + attention(norm(x)) + mlp(norm(x))``."""

from __future__ import annotations

from torch import nn

from monoscope.models.layout import PARALLEL, Layer, Layout, beside, blocks
from monoscope.models.taps import Place


def resolve(model: nn.Module) -> Layout | None:
    """Where the sites are, if the model is built this way."""
    found = blocks(model, "input_layernorm", "self_attn.dense", "mlp.fc2")
    if found is None:
        return None
    path, stack = found
    layers = tuple(_layer(f"{path}.{i}", block) for i, block in enumerate(stack))
    return Layout("phi", layers, final_norm=beside(model, path, "final_layernorm"), causal=True)


def _layer(path: str, block: nn.Module) -> Layer:
    places = {
        "resid_pre": Place(path, "in"),
        "attn_out": Place(f"{path}.self_attn", "out"),
        "mlp_in": Place(f"{path}.mlp", "in"),
        "mlp_act": Place(f"{path}.mlp.fc2", "in"),
        "mlp_out": Place(f"{path}.mlp", "out"),
        "resid_post": Place(path, "out"),
    }
    down, attention = block.get_submodule("mlp.fc2"), block.get_submodule("self_attn.dense")
    return Layer(places, {"resid_mid": PARALLEL}, down=down, attn_down=attention)
