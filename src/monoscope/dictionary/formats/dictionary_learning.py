"""The format of ``dictionary_learning``: ``ae.pt``, a state dict, and ``config.json`` with its class and training.

Its dictionaries subtract ``b_dec`` from their input, except ``AutoEncoderNew`` and ``JumpReluAutoEncoder``. A BatchTopK
file of a short training has the threshold −1, "not set": such a dictionary wants ``monoscope.train.calibrate``.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from monoscope import folder
from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.formats import _config, _form, _sites, _weights, _windows
from monoscope.dictionary.formats._config import Config
from monoscope.dictionary.formats._form import Form
from monoscope.dictionary.formats._weights import Weights
from monoscope.errors import MonoscopeError, unknown_name

FILES = ("ae.pt", "config.json")
LINEAR = {"encoder.weight", "decoder.weight"}
MATRICES = {"W_enc", "W_dec", "b_enc", "b_dec", "threshold"}
OPENAI = {"pre_bias", "latent_bias"}  # another format's, with the same matrices
NOT_SET = -1.0


def recognises(path: Path) -> bool:
    """Whether there is a state dict of one of the library's classes."""
    found = _weights.holding(path, ".pt", LINEAR, MATRICES)
    return found is not None and not _weights.names_in(found) & OPENAI


def load(path: Path) -> Dictionary:
    """Read a dictionary from a folder with one ``.pt`` file, or from such a file.

    Raises:
        MonoscopeError: the file is damaged or is a backup of an unfinished training, or its class is unknown.
    """
    found = _weights.holding(path, ".pt", LINEAR, MATRICES)
    assert found is not None
    weights, config = _weights.load(found), _described(found)
    if "ae" in weights:
        raise MonoscopeError(
            "this is a backup of an unfinished training, not a dictionary", where=str(found), fix="finish the training"
        )
    trainer = config.part("trainer")
    name = trainer.get("dict_class", str) or _class_of(weights)
    if name not in _READERS:
        raise unknown_name("class of dictionary_learning", name, _READERS)
    form = _READERS[name](weights, trainer, _provenance(config, trainer))
    weights.done()
    return form.dictionary()


def save(dictionary: Dictionary, path: Path) -> None:
    """Write ``ae.pt`` and ``config.json``.

    Raises:
        MonoscopeError: a transcoder, or an architecture that the library lacks.
    """
    form = _form.of(dictionary, "dictionary_learning")
    if form.transcodes:
        raise MonoscopeError(
            "dictionary_learning has no transcoders", fix="save as monoscope; saelens and sparsify hold some of them"
        )
    name, tensors = _written(form)
    n_features, d_in = form.w_enc.shape
    site = str(form.provenance.get("site", ""))
    layer = re.fullmatch(r"resid_post\.(\d+)", site)
    trainer = {
        "dict_class": name,
        "activation_dim": d_in,
        "dict_size": n_features,
        "k": form.k,
        "lm_name": form.provenance.get("model"),
        "layer": int(layer[1]) if layer else None,
        "submodule_name": f"resid_post_layer_{layer[1]}" if layer else site or None,
    }
    buffer = io.BytesIO()
    torch.save(_weights.apart(tensors), buffer)
    (path / "config.json").unlink(missing_ok=True)
    folder.write_bytes(path / "ae.pt", buffer.getvalue())
    folder.write_json(path / "config.json", {"trainer": trainer, "monoscope": form.provenance})


def _described(found: Path) -> Config:
    """The configuration beside the file, or above a folder of checkpoints; empty if there is none."""
    for place in (found.parent, found.parent.parent):
        if (place / "config.json").is_file():
            return _config.read(place / "config.json")
    return Config({}, str(found))


def _provenance(config: Config, trainer: Config) -> dict[str, Any]:
    ours = config.get("monoscope", dict)
    if ours is not None:
        return ours
    told = _sites.provenance(trainer.get("lm_name", str), None)
    module, layer = trainer.values.get("submodule_name"), trainer.values.get("layer")
    if type(layer) is int and module == f"resid_post_layer_{layer}":
        told["site"] = f"resid_post.{layer}"
    elif isinstance(module, str):
        told["hook"] = module
    buffer = config.values.get("buffer")
    length = buffer.get("ctx_len") if isinstance(buffer, dict) else None
    return told | _windows.provenance({"context_size": length})


def _class_of(weights: Weights) -> str:
    if "k" in weights and "group_sizes" not in weights:
        raise MonoscopeError(
            "the file does not say whether its dictionary is TopK or BatchTopK",
            where=weights.where,
            fix='put the config.json of its training beside it, with {"trainer": {"dict_class": ...}}',
        )
    signs = {
        "r_mag": "GatedAutoEncoder",
        "group_sizes": "MatryoshkaBatchTopKSAE",
        "threshold": "JumpReluAutoEncoder",
        "decoder.bias": "AutoEncoderNew",
    }
    return next((name for sign, name in signs.items() if sign in weights), "AutoEncoder")


def _linear(weights: Weights, bias: str, **more: Any) -> Form:
    w_enc = weights.tensor("encoder.weight", None, None)
    n_features, d_in = w_enc.shape
    b_enc = weights.tensor("encoder.bias", n_features) if "encoder.bias" in weights else w_enc.new_zeros(n_features)
    w_dec = weights.tensor("decoder.weight", d_in, n_features).T
    return Form(w_enc, b_enc, w_dec, weights.tensor(bias, d_in), **more)


def _matrices(weights: Weights, **more: Any) -> Form:
    w_enc = weights.tensor("W_enc", None, None).T
    n_features, d_in = w_enc.shape
    w_dec, b_dec = weights.tensor("W_dec", n_features, d_in), weights.tensor("b_dec", d_in)
    return Form(w_enc, weights.tensor("b_enc", n_features), w_dec, b_dec, **more)


def _relu(weights: Weights, trainer: Config, told: dict[str, Any]) -> Form:
    """The library's loader scales directions to unit length unless they have it; activations are then in its units."""
    form = _linear(weights, "bias", centred=True, provenance=told)
    return form if _of_unit_length(form) else form.by_decoder_norm()


def _of_unit_length(form: Form) -> bool:
    norms = form.w_dec.norm(dim=1)
    return torch.allclose(norms, torch.ones_like(norms))


def _relu_uncentred(weights: Weights, trainer: Config, told: dict[str, Any]) -> Form:
    return _linear(weights, "decoder.bias", provenance=told)


def _gated(weights: Weights, trainer: Config, told: dict[str, Any]) -> Form:
    form = _linear(weights, "decoder_bias", centred=True, provenance=told)
    n = len(form.w_enc)
    return form.gated(*(weights.tensor(name, n) for name in ("r_mag", "gate_bias", "mag_bias")))


def _topk(weights: Weights, trainer: Config, told: dict[str, Any]) -> Form:
    weights.ignore("threshold")  # it is for another mode of the library's class; what the class does is TopK
    return _linear(weights, "b_dec", centred=True, k=_k(weights, trainer), provenance=told)


def _batch_topk(weights: Weights, trainer: Config, told: dict[str, Any]) -> Form:
    k = _k(weights, trainer)
    made = _linear if "encoder.weight" in weights else _bare_matrices
    held = weights.number("threshold") if "threshold" in weights else NOT_SET
    form = made(weights, "b_dec", centred=True, k=k, provenance=told)
    return form.above(held if held >= 0 else float("nan"))


def _bare_matrices(weights: Weights, bias: str, **more: Any) -> Form:
    return _matrices(weights, **more)


def _matryoshka(weights: Weights, trainer: Config, told: dict[str, Any]) -> Form:
    """Groups are a matter of training; with all of them in use, the dictionary is BatchTopK's."""
    weights.ignore("group_sizes")
    return _batch_topk(weights, trainer, told)


def _jumprelu(weights: Weights, trainer: Config, told: dict[str, Any]) -> Form:
    form = _matrices(weights, provenance=told)
    return form.above(weights.tensor("threshold", len(form.w_enc)))


def _k(weights: Weights, trainer: Config) -> int:
    return weights.integer("k") if "k" in weights else trainer.need("k", int)


def _written(form: Form) -> tuple[str, dict[str, Tensor]]:
    """The library's class for a form, and its tensors."""
    if form.k is None and form.threshold is None:
        form = form.centre(_of_unit_length(form))  # the class that centres is loaded with directions of unit length
        linear = {"encoder.weight": form.w_enc, "encoder.bias": form.b_enc, "decoder.weight": form.w_dec.T}
        name, bias = ("AutoEncoder", "bias") if form.centred else ("AutoEncoderNew", "decoder.bias")
        return name, {bias: form.b_dec, **linear}
    threshold = torch.tensor(NOT_SET)
    if form.threshold is not None and form.calibrated:
        threshold = form.threshold[0]
        if form.k is None or not bool((form.threshold == threshold).all()):
            names = {"W_enc": form.w_enc.T, "b_enc": form.b_enc, "W_dec": form.w_dec, "b_dec": form.b_dec}
            return "JumpReluAutoEncoder", {**names, "threshold": form.threshold}
    form = form.centre(True)
    return "AutoEncoderTopK" if form.threshold is None else "BatchTopKSAE", {
        "k": torch.tensor(form.k, dtype=torch.int),
        "threshold": threshold.clone(),
        "encoder.weight": form.w_enc,
        "encoder.bias": form.b_enc,
        "decoder.weight": form.w_dec.T,
        "b_dec": form.b_dec,
    }


_READERS: dict[str, Callable[[Weights, Config, dict[str, Any]], Form]] = {
    "AutoEncoder": _relu,
    "AutoEncoderNew": _relu_uncentred,
    "GatedAutoEncoder": _gated,
    "AutoEncoderTopK": _topk,
    "BatchTopKSAE": _batch_topk,
    "MatryoshkaBatchTopKSAE": _matryoshka,
    "JumpReluAutoEncoder": _jumprelu,
}
