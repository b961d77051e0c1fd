"""GPT-NeoX (Pythia): attention and MLP either both read the block's input (parallel) or follow each other."""

from __future__ import annotations

from torch import nn

from monoscope.models.layout import PARALLEL, Layer, Layout, beside, blocks, child, has
from monoscope.models.taps import Place


def resolve(model: nn.Module) -> Layout | None:
    """Where the sites are, if the model is built this way."""
    found = blocks(model, "input_layernorm", "post_attention_layernorm", "attention", "mlp.dense_4h_to_h")
    if found is None:
        return None
    path, stack = found
    layers = tuple(_layer(f"{path}.{i}", block) for i, block in enumerate(stack))
    return Layout("neox", layers, final_norm=beside(model, path, "final_layer_norm"), causal=True)


def _layer(path: str, block: nn.Module) -> Layer:
    parallel = bool(getattr(block, "use_parallel_residual", False))
    places = {
        "resid_pre": Place(path, "in"),
        "attn_out": _added(path, block, "attention", "post_attention_dropout"),
        "mlp_in": Place(f"{path}.mlp", "in"),
        "mlp_act": Place(f"{path}.mlp.dense_4h_to_h", "in"),
        "mlp_out": _added(path, block, "mlp", "post_mlp_dropout"),
        "resid_post": Place(path, "out"),
    }
    if not parallel:
        places["resid_mid"] = Place(f"{path}.post_attention_layernorm", "in", shared=True)
    absent = {"resid_mid": PARALLEL} if parallel else {}
    down, attention = block.get_submodule("mlp.dense_4h_to_h"), child(block, "attention.dense")
    return Layer(places, absent, down=down, attn_down=attention)


def _added(path: str, block: nn.Module, part: str, dropout: str) -> Place:
    """What a sub-layer adds to the stream: after its dropout where it has one."""
    return Place(f"{path}.{dropout if has(block, dropout) else part}", "out")
