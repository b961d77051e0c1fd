"""The format of sparsify: ``cfg.json`` and ``sae.safetensors``. TopK; the input is centred unless it transcodes.

A skip map, with or without transcoding, sees the input as it is. What has one is written as a transcoder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors

from monoscope import folder
from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.formats import _config, _form, _weights
from monoscope.dictionary.formats._form import Form
from monoscope.errors import MonoscopeError

CONFIG, WEIGHTS = "cfg.json", "sae.safetensors"
FILES = (CONFIG, WEIGHTS)
EXPANSION = 32  # the library's default, unused where the number of features is stated
# These change nothing that a dictionary computes. With multi_topk the library's ``forward`` gives what 4k features
# reconstruct, for its loss; its ``encode`` finds k.
TRAINING = ("expansion_factor", "normalize_decoder", "multi_topk")


def recognises(path: Path) -> bool:
    """Whether the folder holds a configuration and sparsify's tensors."""
    names = _weights.names_in(path / WEIGHTS) if (path / CONFIG).is_file() and (path / WEIGHTS).is_file() else set()
    return {"encoder.weight", "W_dec"} <= names


def load(path: Path) -> Dictionary:
    """Read a dictionary.

    Raises:
        MonoscopeError: the folder is damaged, or its activation is not TopK of what is positive.
    """
    config, weights = _config.read(path / CONFIG), _weights.load(path / WEIGHTS)
    activation = config.get("activation", str, "topk")
    if activation != "topk":
        what = f"the activation {str(activation)[:40]}"
        raise MonoscopeError(f"{what} is not understood", where=config.where, fix="understood: topk")
    if config.get("signed", bool):  # an early release: the k largest by absolute value
        raise MonoscopeError("activations that may be negative are not understood", where=config.where)
    w_enc = weights.tensor("encoder.weight", config.get("num_latents", int) or None, config.need("d_in", int))
    n_features, d_in = w_enc.shape
    b_enc, w_dec = weights.tensor("encoder.bias", n_features), weights.tensor("W_dec", n_features, d_in)
    k = config.need("k", int)
    transcodes, skips = bool(config.get("transcode", bool)), bool(config.get("skip_connection", bool))
    ours = config.get("monoscope", dict)
    told: dict[str, Any] = ({"target": "unknown"} if transcodes else {}) if ours is None else ours
    if unread := config.unread(TRAINING):
        told = {**told, "unread": unread}
    b_dec = weights.tensor("b_dec", d_in)
    w_skip = weights.tensor("W_skip", d_in, d_in) if skips else None
    weights.done()
    form = Form(w_enc, b_enc, w_dec, b_dec, centred=not transcodes, k=k, provenance=told, w_skip=w_skip)
    return form.dictionary()


def save(dictionary: Dictionary, path: Path) -> None:
    """Write ``cfg.json`` and ``sae.safetensors``.

    Raises:
        MonoscopeError: not TopK, or what is written is wider or narrower than what is read.
    """
    form = _form.of(dictionary, "sparsify", skip=True)
    (n_features, d_in), d_out = form.w_enc.shape, form.w_dec.shape[1]
    if form.k is None or form.threshold is not None:
        raise MonoscopeError(
            f"sparsify holds TopK dictionaries, and this is {dictionary.architecture}",
            fix="save as saelens or monoscope",
        )
    if d_in != d_out:
        raise MonoscopeError(f"sparsify has no transcoders from {d_in} to {d_out} numbers", fix="save as monoscope")
    form = form.centre(not form.transcodes)
    norms = form.w_dec.norm(dim=1)
    config = {
        "activation": "topk",
        "expansion_factor": EXPANSION,
        "normalize_decoder": torch.allclose(norms, torch.ones_like(norms)),
        "num_latents": n_features,
        "k": form.k,
        "multi_topk": False,
        "skip_connection": form.w_skip is not None,
        "transcode": form.transcodes,
        "d_in": d_in,
        "monoscope": form.provenance,
    }
    tensors = {
        "encoder.weight": form.w_enc,
        "encoder.bias": form.b_enc,
        "W_dec": form.w_dec,
        "b_dec": form.b_dec,
        **({} if form.w_skip is None else {"W_skip": form.w_skip}),
    }
    (path / CONFIG).unlink(missing_ok=True)
    folder.write_bytes(path / WEIGHTS, save_tensors(_weights.apart(tensors)))
    folder.write_json(path / CONFIG, config)
