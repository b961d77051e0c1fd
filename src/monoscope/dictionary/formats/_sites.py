"""Sites and models in the words of TransformerLens and transformers, where it is known what they are in ours."""

from __future__ import annotations

import re
from typing import Any

from monoscope import model_names

HOOKS = {
    "resid_pre": "hook_resid_pre",
    "resid_mid": "hook_resid_mid",
    "resid_post": "hook_resid_post",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "mlp_act": "mlp.hook_post",
}
_KINDS = {hook: kind for kind, hook in HOOKS.items()}
_HOOK = re.compile(r"blocks\.(\d{1,6})\.([a-z_.]+)")
_MODULE = re.compile(r"([A-Za-z_][\w.]{0,200})\.(input|output)")
_LAYER = re.compile(r"model\.layers\.(\d{1,6})(?:\.([\w.]+))?\.output")
_OUTPUTS = {  # of a layer, by the module, where it is the same in every family; of the layer itself that of None
    None: "resid_post",
    "pre_feedforward_layernorm": "mlp_in",
    "post_feedforward_layernorm": "mlp_out",
}
_SITE = re.compile(r"([a-z_]+)\.(\d{1,6})")


def site_of(hook: str | None) -> str | None:
    """``blocks.3.hook_resid_post`` is ``resid_post.3``; None for hooks that are no site of ours.

    So is ``model.layers.3.output``, as Gemma Scope 2 has it; the input or output of another module is that module's.
    """
    if found := _HOOK.fullmatch(hook or ""):
        return f"{_KINDS[found[2]]}.{int(found[1])}" if found[2] in _KINDS else None
    if (found := _LAYER.fullmatch(hook or "")) and found[2] in _OUTPUTS:
        return f"{_OUTPUTS[found[2]]}.{int(found[1])}"
    found = _MODULE.fullmatch(hook or "")
    return f"{found[1]}:{found[2].removesuffix('put')}" if found else None


def hook_of(site: Any) -> str | None:
    """The hook at a named site; None where TransformerLens has none."""
    found = _SITE.fullmatch(site) if isinstance(site, str) else None
    return f"blocks.{found[2]}.{HOOKS[found[1]]}" if found and found[1] in HOOKS else None


def provenance(model: str | None, hook: str | None, hook_out: str | None = None) -> dict[str, Any]:
    """What a foreign file says about where its dictionary belongs; a hook that is no site of ours stays a hook.

    ``model`` is the Hub's id of a model that is known by another name there, which is kept as ``model_there``.
    """
    ours = model_names.on_hub(model or "") or model
    told = {"model": ours, "model_there": None if ours == model else model}
    told |= {"site": site_of(hook), "hook": None if site_of(hook) else hook}
    if hook_out and hook_out != hook:
        told["target"] = site_of(hook_out) or hook_out
    return {name: value for name, value in told.items() if value}
