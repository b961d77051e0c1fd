"""What writes into the residual stream, by name: ``embed``, ``attn.L``, ``mlp.L``, each with its matrices.

In a pre-norm transformer the stream is a sum, and every term of it comes out of a matrix: the embeddings, each
attention's output projection, each MLP's down projection. A linear map of the stream can therefore be multiplied into
them. Where a norm stands between matrix and stream it cannot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from monoscope.errors import MonoscopeError
from monoscope.models.layout import Layout
from monoscope.types import Site


@dataclass(frozen=True)
class Writer:
    """Some matrices whose sum enters the stream at ``site``; several for embeddings of tokens and of positions."""

    site: str
    matrices: tuple[nn.Module, ...]


def writers(model: nn.Module, layout: Layout, site: Site) -> Mapping[str, Writer]:
    """Everything that writes into the stream at or before ``site``, by name, in the order of the forward pass.

    ``attn_out.L`` and ``mlp_out.L`` are written by that attention or MLP alone.

    Raises:
        MonoscopeError: the site is no sum of writes, or a norm or something unknown lies between a matrix and it.
    """
    layer = site.layer or 0
    last = {
        "embed": (0, ()), "resid_pre": (layer, ()), "resid_mid": (layer, ("attn",)),
        "resid_post": (layer, ("attn", "mlp")), "attn_out": (0, ()), "mlp_out": (0, ()),
    }  # fmt: skip
    if site.kind not in last:
        raise MonoscopeError(
            f"{site} is not part of the residual stream, so no matrices write it",
            fix="use a dictionary of embed, resid_pre, resid_mid, resid_post, attn_out, mlp_out or mlp_act",
        )
    if site.kind in ("attn_out", "mlp_out"):
        part = site.kind.removesuffix("_out")
        return {f"{part}.{layer}": _part(layout, part, layer)}
    whole, then = last[site.kind]
    named = [(part, i) for i in range(whole) for part in ("attn", "mlp")] + [(part, layer) for part in then]
    found = {"embed": Writer("embed", _embeddings(model))}
    return found | {f"{part}.{i}": _part(layout, part, i) for part, i in named}


def _part(layout: Layout, part: str, index: int) -> Writer:
    layer = layout.layers[index]
    matrix = layer.attn_down if part == "attn" else layer.down
    if layer.attn_join is not None or layer.mlp_join is not None or layer.down_norm is not None:
        raise MonoscopeError(
            f"a norm stands between {part} {index} and the residual stream, which no matrix can be changed for",
            fix="use a dictionary of mlp_act, whose reader is a plain matrix",
        )
    if matrix is None or not isinstance(matrix, nn.Linear | Conv1D):
        raise MonoscopeError(
            f"{part} {index} does not end in a plain matrix (experts?)", fix="name other writers, or another site"
        )
    return Writer(f"{part}_out.{index}", (matrix,))


def _embeddings(model: nn.Module) -> tuple[nn.Module, ...]:
    """The token embedding first, then whatever other embedding is as wide (of positions)."""
    tokens: nn.Module = model.get_input_embeddings()  # type: ignore[operator]
    width = tokens.weight.shape[1]  # type: ignore[index]
    others = (m for m in model.modules() if isinstance(m, nn.Embedding) and m is not tokens)
    return (tokens, *(m for m in others if m.weight.shape[1] == width))


@torch.no_grad()
def map_output(module: nn.Module, a: Float[Tensor, "d d"], c: Float[Tensor, " d"] | None = None) -> None:
    """Change a linear module or an embedding so that it gives ``y @ a (+ c)`` where it gave ``y``.

    Raises:
        MonoscopeError: a constant is to be added and the module has no bias.
    """
    flipped = isinstance(module, nn.Linear)
    weight: nn.Parameter = module.weight  # type: ignore[assignment]
    bias: nn.Parameter | None = getattr(module, "bias", None)
    matrix = (weight.T if flipped else weight).double() @ a
    if isinstance(module, nn.Embedding):
        scale = getattr(module, "embed_scale", None)
        matrix = matrix if c is None else matrix + c / (1.0 if scale is None else float(scale))
    elif bias is not None:
        bias.copy_(bias.double() @ a + (0.0 if c is None else c))
    elif c is not None:
        raise MonoscopeError("a constant cannot be added by a matrix that has no bias", fix="leave the mean out")
    weight.copy_(matrix.T if flipped else matrix)


@torch.no_grad()
def map_input(module: nn.Module, a: Float[Tensor, "d d"], c: Float[Tensor, " d"]) -> None:
    """Change a linear module so that it gives for ``x`` what it gave for ``x @ a + c``.

    Raises:
        MonoscopeError: a constant would be needed and the module has no bias.
    """
    flipped = isinstance(module, nn.Linear)
    weight: nn.Parameter = module.weight  # type: ignore[assignment]
    matrix = (weight.T if flipped else weight).double()
    constant, bias = c @ matrix, getattr(module, "bias", None)
    if bias is not None:
        bias.copy_(bias.double() + constant)
    elif float(constant.abs().max()) > 0:
        raise MonoscopeError("a constant cannot be added to what a matrix without bias reads", fix="leave the mean out")
    changed = a @ matrix
    weight.copy_(changed.T if flipped else changed)
