"""Gemma Scope (Lieberum et al. 2024) in ``.npz``, Gemma Scope 2 in safetensors: JumpReLU, the input not centred.

Read only. The files of the first say nothing of model and site; from the Hub their repository and folder do. Its
embedding dictionaries were trained on inputs times √d_in; nothing in the file says so, and the numbers are taken as
they stand. An affine skip connection becomes a skip map; cross-layer transcoders are refused.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.formats import _config, _sites, _weights, monoscope
from monoscope.dictionary.formats._form import Form
from monoscope.errors import MonoscopeError

FILES = ("params.npz", "params.safetensors", "config.json")
UPPER = {"W_enc", "W_dec", "b_enc", "b_dec", "threshold"}
LOWER = {"w_enc", "w_dec", "b_enc", "b_dec", "threshold"}
SKIP = "affine_skip_connection"
ARCHITECTURE = "jump_relu"
_RELEASED = re.compile(
    r"google/gemma-scope-(?P<size>\d+b)-(?P<tuned>pt|it)-(?P<kind>\w+)(?:@[^:]*)?:(?:layer_(?P<layer>\d{1,3})/)?.*"
)
_SITES = {"res": "resid_post.{}", "mlp": "mlp_out.{}", "att": "model.layers.{}.self_attn.o_proj:in"}


def recognises(path: Path) -> bool:
    """Whether there is one ``.npz`` or ``.safetensors`` file with the five tensors."""
    return _found(path) is not None


def load(path: Path) -> Dictionary:
    """Read a dictionary from a folder with one such file, or from the file.

    Raises:
        MonoscopeError: the file is damaged, lacks a skip connection that its configuration speaks of, or holds several
            layers.
    """
    found = _found(path)
    assert found is not None
    weights, (told, skips) = _weights.load(found), _described(found)
    small = "w_enc" in weights
    w_enc = weights.tensor("w_enc" if small else "W_enc", None, None).T
    n_features, d_in = w_enc.shape
    w_dec = weights.tensor("w_dec" if small else "W_dec", n_features, None)
    b_enc, b_dec = weights.tensor("b_enc", n_features), weights.tensor("b_dec", w_dec.shape[1])
    threshold = weights.tensor("threshold", n_features)
    w_skip = None
    if skips or SKIP in weights:
        w_skip = weights.tensor(SKIP, d_in, w_dec.shape[1]).T
        told = {"target": "unknown", **told}
    weights.done()
    return Form(w_enc, b_enc, w_dec, b_dec, provenance=told, w_skip=w_skip).above(threshold).dictionary()


def told_by(name: str) -> dict[str, Any]:
    """What the name of a release on the Hub says of its dictionaries: the model, and the site where that is sure."""
    found = _RELEASED.fullmatch(name)
    if found is None:
        return {}
    told = {"model": f"google/gemma-2-{found['size']}{'-it' if found['tuned'] == 'it' else ''}"}
    if found["layer"] and found["kind"] in _SITES:
        told["site"] = _SITES[found["kind"]].format(int(found["layer"]))
    return told


def _found(path: Path) -> Path | None:
    found = _weights.holding(path, ".npz", UPPER, LOWER) or _weights.holding(path, ".safetensors", LOWER)
    return None if found and monoscope.recognises(found.parent) else found  # our tensors have the same names


def _described(found: Path) -> tuple[dict[str, Any], bool]:
    """What a ``config.json`` beside the file says, if there is one: the provenance, and whether there is a skip map."""
    if not (found.parent / "config.json").is_file():
        return {}, False
    config = _config.read(found.parent / "config.json")
    if config.get("architecture", str, ARCHITECTURE) != ARCHITECTURE:
        raise MonoscopeError(f"the architecture is not {ARCHITECTURE}", where=config.where, fix="is it the right file?")
    hook, hook_out = config.get("hf_hook_point_in", str), config.get("hf_hook_point_out", str)
    told = _sites.provenance(config.get("model_name", str), hook, hook_out)
    return told, bool(config.get("affine_connection", bool))
