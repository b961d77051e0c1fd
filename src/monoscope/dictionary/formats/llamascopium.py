"""The format of Llamascopium (once lm-saes): ``config.json`` and ``sae_weights.safetensors`` with ``W_E``, ``W_D``.

Read only. The input is not centred; scores count for selection in units of ‖w_dec‖ where the configuration says so;
inputs and outputs normalised by a whole data set's mean norm are folded. Its BatchTopK files hold no threshold: such a
dictionary wants ``monoscope.train.calibrate``.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import torch

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.formats import _config, _sites, _weights
from monoscope.dictionary.formats._config import Config
from monoscope.dictionary.formats._form import Form
from monoscope.dictionary.formats._weights import Weights
from monoscope.errors import MonoscopeError

CONFIG, WEIGHTS = "config.json", "sae_weights.safetensors"
FILES = (CONFIG, WEIGHTS)
NORM = "dataset_average_activation_norm."
LOG_THRESHOLD = "activation_function.log_jumprelu_threshold"


def recognises(path: Path) -> bool:
    """Whether the folder holds a configuration and the library's tensors."""
    names = _weights.names_in(path / WEIGHTS) if (path / CONFIG).is_file() and (path / WEIGHTS).is_file() else set()
    return {"W_E", "W_D"} <= names


def load(path: Path) -> Dictionary:
    """Read a sparse autoencoder or transcoder.

    Raises:
        MonoscopeError: the folder is damaged, or holds another kind of dictionary, a gated linear encoder, or inputs
            normalised row by row.
    """
    config, weights = _config.read(path / CONFIG), _weights.load(path / WEIGHTS)
    if config.get("sae_type", str, "sae") != "sae" or config.get("use_glu_encoder", bool):
        raise MonoscopeError("only its plain autoencoders and transcoders are understood", where=config.where)
    hook, hook_out = config.need("hook_point_in", str), config.need("hook_point_out", str)
    w_enc = weights.tensor("W_E", config.need("d_model", int), None).T
    n_features, d = w_enc.shape
    b_enc, w_dec = weights.tensor("b_E", n_features), weights.tensor("W_D", n_features, d)
    b_dec = weights.tensor("b_D", d) if config.get("use_decoder_bias", bool, True) else w_enc.new_zeros(d)
    form = Form(w_enc, b_enc, w_dec, b_dec, provenance=_sites.provenance(None, hook, hook_out))
    form = _selected(form, config, weights)
    form = _normalised(form, config, weights, hook, hook_out)
    weights.done()
    return form.dictionary()


def _selected(form: Form, config: Config, weights: Weights) -> Form:
    """The activation function, in scores that count by decoder norm where they do."""
    by_norm = config.get("sparsity_include_decoder_norm", bool, True)
    name = config.get("act_fn", str, "relu")
    if name in ("topk", "batchtopk"):
        form = replace(form.by_decoder_norm() if by_norm else form, k=config.get("top_k", int, 50))
        return form if name == "topk" else form.above(math.nan)
    if name == "jumprelu":
        threshold = weights.tensor(LOG_THRESHOLD, len(form.w_enc)).exp()
        return _above_by_norm(form, threshold) if by_norm else form.above(threshold)
    if name != "relu":
        raise MonoscopeError(f"the activation {str(name)[:40]} is not understood", where=config.where)
    return form


def _above_by_norm(form: Form, threshold: torch.Tensor) -> Form:
    """``h‖w_dec‖ > threshold`` with h kept as it is; a feature without a direction is never active, here as there."""
    norm = form.w_dec.norm(dim=1)
    silent = norm == 0
    lifted = torch.where(silent, 0, threshold / norm.clamp_min(torch.finfo(norm.dtype).tiny))
    w_enc, b_enc = form.w_enc.masked_fill(silent[:, None], 0), form.b_enc.masked_fill(silent, 0)
    return replace(form, w_enc=w_enc, b_enc=b_enc).above(lifted)


def _normalised(form: Form, config: Config, weights: Weights, hook: str, hook_out: str) -> Form:
    """Express a dictionary of inputs times s, outputs times t, in the model's units."""
    kind = config.get("norm_activation", str, "dataset-wise")
    if kind not in ("inference", "dataset-wise"):
        raise MonoscopeError(
            f"inputs are normalised {str(kind)[:40]}, which does not fold into a dictionary",
            where=config.where,
            fix="train with norm_activation dataset-wise",
        )
    if kind == "inference":
        weights.ignore(NORM + hook, NORM + hook_out)
        return form
    norms = {name: weights.number(NORM + name) for name in dict.fromkeys((hook, hook_out))}
    if min(norms.values()) <= 0:
        raise weights.error("the data set's mean norm is not positive")
    width = math.sqrt(form.w_enc.shape[1])
    s, t = width / norms[hook], width / norms[hook_out]
    form = replace(form, b_enc=form.b_enc / s, w_dec=form.w_dec * (s / t), b_dec=form.b_dec / t)
    return form if form.threshold is None else form.above(form.threshold / s)
