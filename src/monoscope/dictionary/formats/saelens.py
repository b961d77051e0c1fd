"""The format of SAELens: ``cfg.json`` and ``sae_weights.safetensors``; since version 6, and the flat one before it.

BatchTopK and Matryoshka dictionaries are ``jumprelu`` there once trained; checkpoints of their training hold k, and a
threshold that may not be set yet. Gated ones are written as ``jumprelu``: a gate is a threshold on the magnitude.
Transcoders, with a skip map or without, are ReLU or JumpReLU there. A matching pursuit has no encoder, and two more
ways to end. Inputs that were scaled by a constant are folded where the folder holds the constant; layer norm, which
differs from row to row, is the option ``row_norm``, a stream whose mean was taken out ``row_mean``. Rows brought to one
length, and transcoders of normalised rows, which write in other units than they read, are refused.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from monoscope import folder
from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.batch_topk import CALIBRATE
from monoscope.dictionary.formats import _config, _form, _sites, _stream, _weights, _windows
from monoscope.dictionary.formats._config import Config
from monoscope.dictionary.formats._form import Form
from monoscope.dictionary.formats._weights import Weights
from monoscope.dictionary.matching_pursuit import Architecture as Pursuing
from monoscope.errors import MonoscopeError, unknown_name

CONFIG, WEIGHTS, SCALER = "cfg.json", "sae_weights.safetensors", "activation_scaler.json"
FILES = (CONFIG, WEIGHTS, SCALER)
PURSUIT = "matching_pursuit"
VERSION = "6.0.0"  # the first whose configuration is written here
SCALED = "expected_average_only_in"
LAYER_NORM = "layer_norm"
HEADS = "hook_z"  # a row is all heads' outputs, one after the other; SAELens takes them apart and joins them itself
HARMLESS = ("dtype", "device", "d_out", "reshape_activations")  # what changes nothing that a dictionary computes
TRAINING = (  # nor does this, in a checkpoint of BatchTopK
    "topk_threshold_lr", "aux_loss_coefficient", "use_sparse_activations", "decoder_init_norm", "matryoshka_widths",
    "use_matryoshka_aux_loss",
)  # fmt: skip


def recognises(path: Path) -> bool:
    """Whether the folder holds a configuration and the tensors of an SAE or transcoder."""
    names = _weights.names_in(path / WEIGHTS) if (path / CONFIG).is_file() and (path / WEIGHTS).is_file() else set()
    return {"W_dec", "b_dec"} <= names


def load(path: Path) -> Dictionary:
    """Read a dictionary.

    Raises:
        MonoscopeError: the folder is damaged, or its dictionary computes what ours cannot.
    """
    config, weights = _config.read(path / CONFIG), _weights.load(path / WEIGHTS)
    name = _architecture(config)
    if name == PURSUIT:
        return _read_pursuit(weights, config, path)
    if name not in _READERS:
        raise MonoscopeError(
            f"SAELens' {name} dictionaries are not understood",
            where=str(path),
            fix=f"understood: {', '.join([*_READERS, PURSUIT])}",
        )
    _refuse_scaling(weights)
    form = _READERS[name](weights, config, name)
    weights.done()
    if (config.need("d_in", int), config.need("d_sae", int)) != tuple(reversed(form.w_enc.shape)):
        raise weights.error(f"{CONFIG} and {WEIGHTS} are of different dictionaries")
    form = _normalised(form, path, config, name.endswith("transcoder"))
    if form.threshold is not None and form.k is None:
        form = replace(form, k=config.part("metadata").part("monoscope").get("k", int))
    told, row_mean = _belongs(config, name, path)
    return replace(form, provenance=told, row_mean=row_mean).dictionary()


def save(dictionary: Dictionary, path: Path) -> None:
    """Write ``cfg.json`` and ``sae_weights.safetensors`` as SAELens ≥ 6 reads them.

    Raises:
        MonoscopeError: a dictionary without calibrated thresholds, a TopK transcoder, or another architecture.
    """
    config, tensors = _pursuing(dictionary) if isinstance(dictionary, Pursuing) else _selecting(dictionary)
    for name in (CONFIG, SCALER):
        (path / name).unlink(missing_ok=True)
    folder.write_bytes(path / WEIGHTS, save_tensors(_weights.apart(tensors)))
    folder.write_json(path / CONFIG, config)


def _selecting(dictionary: Dictionary) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors of a dictionary that selects among linear scores."""
    form = _form.of(dictionary, "saelens", skip=True, by_row=True)
    if not form.calibrated:
        raise MonoscopeError("the dictionary has no calibrated threshold", fix=CALIBRATE)
    config = _described(form)
    if not config["apply_b_dec_to_input"]:
        form = form.centre(False)
    tensors = {"W_enc": form.w_enc.T, "b_enc": form.b_enc, "W_dec": form.w_dec, "b_dec": form.b_dec}
    more = {"threshold": form.threshold, "W_skip": form.w_skip}
    return config, tensors | {name: tensor for name, tensor in more.items() if tensor is not None}


def _pursuing(dictionary: Pursuing) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Configuration and tensors of a matching pursuit, which has no encoder.

    Raises:
        MonoscopeError: it reads along other directions than it writes.
    """
    if dictionary.untied:
        raise MonoscopeError(
            "SAELens' matching pursuit reads along what it writes", fix="save it in the format monoscope"
        )
    told = dictionary.provenance
    config = {
        **_facts(told, PURSUIT, dictionary.d_in, dictionary.n_features, True, dictionary.row_norm),
        "max_iterations": dictionary.k,
        "residual_threshold": dictionary.enough,
        "stop_on_duplicate_support": dictionary.once,
        "metadata": _metadata(told, told, dictionary.row_mean),
    }
    return config, {name: getattr(dictionary, name.lower()).detach().cpu().float() for name in ("W_dec", "b_dec")}


def _read_pursuit(weights: Weights, config: Config, path: Path) -> Dictionary:
    """A matching pursuit; what the file does not say is SAELens' default."""
    config.asked.add("normalize_activations")
    normalised = config.values.get("normalize_activations")
    if normalised not in (None, False, "none", LAYER_NORM):
        raise MonoscopeError(
            "inputs of a matching pursuit are scaled, which changes the units of its activations",
            where=config.where,
            fix="fold it with SAELens and save again",
        )
    w_dec = weights.tensor("W_dec", None, config.need("d_in", int))
    b_dec = weights.tensor("b_dec", w_dec.shape[1])
    weights.done()
    n_features, d_in = w_dec.shape
    if config.need("d_sae", int) != n_features:
        raise weights.error(f"{CONFIG} and {WEIGHTS} are of different dictionaries")
    enough, once = config.get("residual_threshold", float), config.get("stop_on_duplicate_support", bool)
    k, centred = config.get("max_iterations", int) or d_in, config.get("apply_b_dec_to_input", bool) is not False
    told, row_mean = _belongs(config, PURSUIT, path)  # last, for it says what of the file was not read
    made = Pursuing(
        d_in,
        n_features,
        k=k,
        enough=1e-2 if enough is None else max(0.0, enough),  # 0 and below: never
        once=once is not False,
        row_norm=normalised == LAYER_NORM,
        row_mean=row_mean,
    )
    bias = b_dec if centred else torch.zeros_like(b_dec)  # which is not added either then
    made.load_state_dict({"w_dec": w_dec.contiguous(), "b_dec": bias})
    made.provenance = told
    return made.requires_grad_(False)


def _architecture(config: Config) -> str:
    """The architecture's name; older files call TopK by its activation function."""
    activation = config.get("activation_fn", str) or config.get("activation_fn_str", str) or "relu"
    name = config.get("architecture", str) or "standard"
    if activation.startswith("topk") and name == "standard":
        return "topk"
    if not (activation == "relu" or (activation.startswith("topk") and name == "topk")):
        raise unknown_name("activation function of SAELens", activation, ("relu", "topk"))
    if config.get("finetuning_scaling_factor", bool):
        raise MonoscopeError("activations are scaled after training, which is not understood", where=config.where)
    return name


def _refuse_scaling(weights: Weights) -> None:
    """Older versions wrote a scaling factor; ones have no effect."""
    if "scaling_factor" in weights:
        factor = weights.tensor("scaling_factor", None)
        if not torch.allclose(factor, torch.ones_like(factor)):
            raise weights.error("scales activations by a factor that is not understood")


def _parts(weights: Weights, config: Config, name: str, bias: str | None = "b_enc") -> Form:
    w_enc = weights.tensor("W_enc", None, None).T
    n_features, d_in = w_enc.shape
    transcodes = name.endswith("transcoder")
    w_dec = weights.tensor("W_dec", n_features, None if transcodes else d_in)
    b_enc = weights.tensor(bias, n_features) if bias else w_enc.new_zeros(n_features)
    centred = config.get("apply_b_dec_to_input", bool, not transcodes)
    if centred and transcodes:
        raise weights.error("a transcoder cannot subtract from its input what it adds to its output")
    d_out = w_dec.shape[1]
    w_skip = weights.tensor("W_skip", d_out, d_in) if "skip" in name else None
    return Form(w_enc, b_enc, w_dec, weights.tensor("b_dec", d_out), bool(centred), w_skip=w_skip)


def _jumprelu(weights: Weights, config: Config, name: str) -> Form:
    if "log_threshold" in weights and "threshold" not in weights:
        form = _parts(weights, config, name)
        return form.above(weights.tensor("log_threshold", len(form.w_enc)).exp())
    form = _parts(weights, config, name)
    return form.above(weights.tensor("threshold", len(form.w_enc)))


def _topk(weights: Weights, config: Config, name: str) -> Form:
    k = config.get("k", int) or config.part("activation_fn_kwargs").need("k", int)
    form = replace(_parts(weights, config, name), k=k)
    return form.by_decoder_norm() if config.get("rescale_acts_by_decoder_norm", bool) else form


def _batch_topk(weights: Weights, config: Config, name: str) -> Form:
    """A checkpoint of a training. Its threshold, a running mean that begins at 0, is void before the first step.

    k is an average there and may have a fraction; here it is rounded.
    """
    form, k = _parts(weights, config, name), config.need("k", float)
    if not 1 <= k <= len(form.w_enc):
        raise weights.error(f"k is {k} with {len(form.w_enc)} features")
    held = weights.number("topk_threshold") if "topk_threshold" in weights else 0.0
    form = form.by_decoder_norm() if config.get("rescale_acts_by_decoder_norm", bool) else form
    return replace(form, k=round(k)).above(held if held > 0 else math.nan)


def _gated(weights: Weights, config: Config, name: str) -> Form:
    form = _parts(weights, config, name, bias=None)
    n = len(form.w_enc)
    return form.gated(*(weights.tensor(part, n) for part in ("r_mag", "b_gate", "b_mag")))


def _normalised(form: Form, path: Path, config: Config, transcodes: bool) -> Form:
    """Fold the constant that inputs were multiplied by, if they were; note whether each row is normalised by itself.

    A skip map stays: outputs are divided by the same constant.
    """
    asked = config.values.get("normalize_activations")
    config.asked.add("normalize_activations")
    if asked in (None, False, "none"):
        return form
    if asked == LAYER_NORM and not transcodes:
        return replace(form, row_norm=True)
    if asked not in (True, SCALED):
        raise MonoscopeError(
            f"inputs are normalised by {str(asked)[:40]}, which does not fold into "
            + ("a transcoder" if transcodes else "a dictionary"),
            where=config.where,
            fix="train one without, or fold it with SAELens where that can",
        )
    scale = _config.read(path / SCALER).get("scaling_factor", float) if (path / SCALER).is_file() else None
    if scale is None or not (math.isfinite(scale) and scale > 0):
        raise MonoscopeError(
            "inputs were scaled by a constant that the folder does not hold",
            where=config.where,
            fix=f"add {SCALER} with the constant, or fold it with SAELens and save again",
        )
    return replace(form, w_enc=form.w_enc * scale, w_dec=form.w_dec / scale, b_dec=form.b_dec / scale)


def _belongs(config: Config, name: str, path: Path) -> tuple[dict[str, Any], bool]:
    """Where a dictionary belongs, and whether its rows are those of its site less each row's own mean."""
    inner = config.part("metadata")
    ours = inner.get("monoscope", dict)
    if ours is not None:
        centred = inner.part("model_from_pretrained_kwargs").get(_stream.KEY, bool)
        return {key: value for key, value in ours.items() if key != "k"}, bool(centred)
    told = inner if inner.values else config
    made, transcodes = _provenance(config, name), name.endswith("transcoder")
    if config.values.get("normalize_activations") == LAYER_NORM:
        return made, False  # which takes each row's mean off in any case
    centred = told.part("model_from_pretrained_kwargs").get(_stream.KEY, bool)
    site, model = made.get("site"), made.get("model")
    row_mean = _stream.centred(site, model, centred, path)
    if row_mean is None or (row_mean and transcodes):
        made["hook"] = _hook(told)  # a residual stream whose mean was taken out is not our site
        del made["site"]
    elif centred is None and not row_mean and not inner.values:
        made |= _stream.unclear(site, model)
    if transcodes and _stream.centred(made["target"], model, centred, path) is not False:
        made["target"] = told.get("hook_name_out", str)
    return made, bool(row_mean) and not transcodes


def _hook(told: Config) -> str | None:
    return told.get("hook_name", str) or told.get("hook_point", str)


def _provenance(config: Config, name: str) -> dict[str, Any]:
    inner = config.part("metadata")
    told = inner if inner.values else config
    hook = _hook(told)
    head = told.values.get("hook_head_index", told.values.get("hook_point_head_index"))
    made = _sites.provenance(told.get("model_name", str), hook, told.get("hook_name_out", str))
    made |= _windows.provenance(told.values)
    if "site" in made and head is not None:
        made.pop("site")  # one head of many: not our site
        made["hook"] = hook
    if type(head) is int:
        made["head"] = head
    before = HEADS if not inner.values and HEADS in (hook or "") else None
    if config.get("reshape_activations", str, before) == HEADS:
        made["reshape"] = HEADS
    if name.endswith("transcoder"):
        made.setdefault("target", "unknown")
    if inner.values:  # before version 6, the whole training's configuration lay here
        unread = config.unread(HARMLESS + TRAINING)
        made |= {"unread": unread} if unread else {}
    return made


def _described(form: Form) -> dict[str, Any]:
    """``cfg.json`` for a form."""
    n_features, d_in = form.w_enc.shape
    if form.transcodes and form.k is not None and form.threshold is None:
        raise MonoscopeError("SAELens has no TopK transcoders", fix='save with format="sparsify" or "monoscope"')
    if form.transcodes and form.row_norm:
        raise MonoscopeError(
            "the format saelens cannot hold a transcoder of normalised rows in units of the rows",
            fix='save with format="monoscope"',
        )
    kind = "standard" if form.k is None else "topk"
    kind = kind if form.threshold is None else "jumprelu"
    if form.transcodes:
        skip = "" if form.w_skip is None else "skip_"
        kind = {"standard": f"{skip}transcoder", "jumprelu": f"jumprelu_{skip}transcoder"}[kind]
    told = form.provenance
    ours = {name: value for name, value in told.items() if name != "k"}
    if form.threshold is not None and form.k is not None:
        ours["k"] = form.k
    metadata = _metadata(told, ours, form.row_mean)
    if form.transcodes:
        metadata["hook_name_out"] = _sites.hook_of(told.get("target")) or told.get("target")
    return {
        **_facts(told, kind, d_in, n_features, form.centred, form.row_norm),
        **({"k": form.k, "rescale_acts_by_decoder_norm": False} if kind == "topk" else {}),
        **({"d_out": form.w_dec.shape[1]} if form.transcodes else {}),
        "metadata": metadata,
    }


def _facts(
    told: dict[str, Any], kind: str, d_in: int, n_features: int, centred: bool, row_norm: bool
) -> dict[str, Any]:
    """What ``cfg.json`` says of every dictionary."""
    return {
        "architecture": kind,
        "d_in": d_in,
        "d_sae": n_features,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": centred,
        "normalize_activations": LAYER_NORM if row_norm else "none",
        "reshape_activations": HEADS if told.get("reshape") == HEADS else "none",
    }


def _metadata(told: dict[str, Any], ours: dict[str, Any], row_mean: bool) -> dict[str, Any]:
    """Where a dictionary belongs, in SAELens' words, and ``ours`` as it is."""
    return {
        "sae_lens_version": VERSION,
        "model_name": told.get("model_there") or told.get("model"),
        "hook_name": _sites.hook_of(told.get("site")) or told.get("hook") or told.get("site"),
        **({"hook_head_index": told["head"]} if "head" in told else {}),
        **(told["windows"] if isinstance(told.get("windows"), dict) else {}),
        **({"model_from_pretrained_kwargs": {_stream.KEY: True}} if row_mean else {}),
        "monoscope": ours,
    }


_READERS: dict[str, Callable[[Weights, Config, str], Form]] = {
    "standard": _parts,
    "jumprelu": _jumprelu,
    "topk": _topk,
    "batchtopk": _batch_topk,
    "matryoshka_batchtopk": _batch_topk,
    "gated": _gated,
    "transcoder": _parts,
    "jumprelu_transcoder": _jumprelu,
    "skip_transcoder": _parts,
    "jumprelu_skip_transcoder": _jumprelu,
}
