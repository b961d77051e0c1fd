"""BERT, RoBERTa, MiniLM: post-LayerNorm encoder blocks.

Each sub-layer's output is added and the sum is normed: ``x ← LayerNorm(x + f(x))``. The stream that the next
sub-layer reads is the normed one, so ``resid_mid`` and ``resid_post`` are taken after the LayerNorm, and
``resid_mid.L == LayerNorm(resid_pre.L + attn_out.L)``. ``attn_out`` and ``mlp_out`` are what is added to that sum.
"""

from __future__ import annotations

from torch import nn

from monoscope.models.layout import Layer, Layout, blocks
from monoscope.models.taps import Place


def resolve(model: nn.Module) -> Layout | None:
    """Where the sites are, if the model is built this way."""
    found = blocks(
        model,
        "attention.output.dropout",
        "attention.output.LayerNorm",
        "intermediate",
        "output.dense",
        "output.LayerNorm",
    )
    if found is None:
        return None
    path, stack = found
    layers = tuple(_layer(f"{path}.{i}", block) for i, block in enumerate(stack))
    return Layout("bert", layers, final_norm=None, causal=False)


def _layer(path: str, block: nn.Module) -> Layer:
    places = {
        "resid_pre": Place(path, "in"),
        "attn_out": Place(f"{path}.attention.output.dropout", "out"),
        "resid_mid": Place(f"{path}.attention", "out"),
        "mlp_in": Place(f"{path}.intermediate", "in"),
        "mlp_act": Place(f"{path}.output.dense", "in"),
        "mlp_out": Place(f"{path}.output.dropout", "out"),
        "resid_post": Place(path, "out"),
    }
    return Layer(
        places,
        down=block.get_submodule("output.dense"),
        attn_join=block.get_submodule("attention.output.LayerNorm"),
        mlp_join=block.get_submodule("output.LayerNorm"),
    )
