"""What a family says about a model: where the sites of each layer are and what its sums are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import nn

from monoscope.models.taps import Place

PARALLEL = "attention and MLP of its blocks run in parallel, so nothing lies between them; use resid_pre or resid_post"


@dataclass(frozen=True)
class Layer:
    """One block. ``places`` maps a kind of site to its place; ``absent`` says why a kind is missing.

    ``down`` is the linear map from ``mlp_act``, ``down_norm`` the norm between it and the residual stream if any,
    ``attn_down`` the linear map that attention ends with (and is followed by such a norm where ``down`` is);
    ``attn_join`` and ``mlp_join`` are the norms applied to the sum after a sub-layer (post-layernorm blocks only).
    """

    places: Mapping[str, Place]
    absent: Mapping[str, str] = field(default_factory=dict)
    down: nn.Module | None = None
    down_norm: nn.Module | None = None
    attn_down: nn.Module | None = None
    attn_join: nn.Module | None = None
    mlp_join: nn.Module | None = None


@dataclass(frozen=True)
class Layout:
    """A whole model. ``causal``: no token sees a later one, so that padding on the right needs no mask."""

    family: str
    layers: tuple[Layer, ...]
    final_norm: nn.Module | None
    causal: bool


def has(module: nn.Module, path: str) -> bool:
    """Whether there is a module at the dotted ``path`` inside ``module``."""
    try:
        return isinstance(module.get_submodule(path), nn.Module)
    except AttributeError:
        return False


def child(module: nn.Module, path: str) -> nn.Module | None:
    """The module at the dotted ``path`` inside ``module``, or None."""
    return module.get_submodule(path) if has(module, path) else None


def blocks(model: nn.Module, *children: str) -> tuple[str, list[nn.Module]] | None:
    """The path and the blocks of the one module list whose blocks all have these children; None without or with two."""
    found = [
        (path, list(module))
        for path, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
        and len(module)
        and all(has(block, c) for block in module for c in children)
    ]
    return found[0] if len(found) == 1 else None


def beside(model: nn.Module, path: str, name: str) -> nn.Module | None:
    """The module called ``name`` beside the module list at ``path``: a final norm."""
    return child(model.get_submodule(path.rpartition(".")[0]), name)


def module_paths(model: nn.Module) -> list[str]:
    """The model's module paths for a person to read: numbered ones once, as ``h.{0–11}.mlp``."""
    spans: dict[str, list[int]] = {}
    for path, _ in model.named_modules():
        if path:
            numbers = [int(n) for n in re.findall(r"(?<=\.)\d+(?=\.|$)", path)]
            spans.setdefault(re.sub(r"(?<=\.)\d+(?=\.|$)", "{}", path, count=1), []).append(
                numbers[0] if numbers else 0
            )
    return [path.replace("{}", _span(numbers), 1) for path, numbers in spans.items()]


def _span(numbers: list[int]) -> str:
    low, high = min(numbers), max(numbers)
    return str(low) if low == high else f"{{{low}–{high}}}"
