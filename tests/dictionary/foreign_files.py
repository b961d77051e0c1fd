"""Small files as the peers write them, each with what its library makes of a row, written out in dense torch."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

D, F, K = 6, 16, 3
Meaning = Callable[[Tensor], Tensor]


def rows(n: int = 200, d: int = D) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(7)) * 2


def parts(d_out: int = D, seed: int = 0) -> dict[str, Tensor]:
    """Random weights in our own orientation; directions of different lengths."""
    g = torch.Generator().manual_seed(seed)
    shapes = {
        "w_enc": (F, D), "b_enc": (F,), "w_dec": (F, d_out), "b_dec": (d_out,), "other": (F,), "more": (F,),
        "w_skip": (d_out, D),
    }  # fmt: skip
    return {name: torch.randn(shape, generator=g) / 2 for name, shape in shapes.items()}


def safetensors(path: Path, tensors: dict[str, Tensor]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, path)


def configuration(path: Path, values: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values))


def topk(scores: Tensor, k: int = K) -> Tensor:
    best = scores.topk(k, dim=1)
    return torch.zeros_like(scores).scatter(1, best.indices, best.values.relu())


def normalised(meaning: Meaning) -> Meaning:
    """The same of each row less its mean and by its standard deviation, both put back at the end."""

    def whole(x: Tensor) -> Tensor:
        mean, spread = x.mean(1, keepdim=True), x.std(1, keepdim=True)
        return meaning((x - mean) / (spread + 1e-5)) * spread + mean

    return whole


def saelens(
    folder: Path, architecture: str = "standard", centred: bool = True, legacy: bool = False, **more: Any
) -> Meaning:
    """``cfg.json`` and ``sae_weights.safetensors``."""
    p = parts(4 if "transcoder" in architecture else D)
    tensors = {"W_enc": p["w_enc"].T, "b_enc": p["b_enc"], "W_dec": p["w_dec"], "b_dec": p["b_dec"]}
    config = {"d_in": D, "d_sae": F, "dtype": "float32", "device": "cpu", "apply_b_dec_to_input": centred, **more}
    where = {"model_name": "gpt2", "hook_name": "blocks.3.hook_resid_post", "hook_head_index": None}
    scale = 0.5 if config.get("normalize_activations") == "expected_average_only_in" else 1.0
    if scale != 1:
        configuration(folder / "activation_scaler.json", {"scaling_factor": scale, "has_whitening": False})
    if "jumprelu" in architecture:
        tensors["threshold"] = p["other"]  # some below 0, where ReLU still cuts
    if architecture == "gated":
        del tensors["b_enc"]
        tensors |= {"b_gate": p["b_enc"], "b_mag": p["other"], "r_mag": p["more"]}
    if "skip" in architecture:
        tensors["W_skip"] = p["w_skip"]
    if "transcoder" in architecture:
        where["hook_name_out"] = "blocks.3.hook_mlp_out"
        config["d_out"] = 4
    if architecture == "topk":
        config["k"] = K
    if legacy:
        config |= {"hook_point": where["hook_name"], "model_name": "gpt2", "lr": 0.1, "normalize_activations": False}
        if architecture == "topk":
            config |= {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": config.pop("k")}}
        tensors["scaling_factor"] = torch.ones(F)
    else:
        config |= {"architecture": architecture, "metadata": {**where, "sae_lens_version": "6.54.12"}}
    safetensors(folder / "sae_weights.safetensors", tensors)
    configuration(folder / "cfg.json", config)

    def meaning(x: Tensor) -> Tensor:
        score = (x * scale - (p["b_dec"] if centred else 0)) @ p["w_enc"].T
        if architecture == "gated":
            code = (score * p["more"].exp() + p["other"]).relu() * (score + p["b_enc"] > 0)
            return code @ p["w_dec"] + p["b_dec"]
        score = score + p["b_enc"]
        if architecture == "topk":
            norm = p["w_dec"].norm(dim=1) if config.get("rescale_acts_by_decoder_norm") else 1
            code = topk(score * norm) / norm
        else:
            code = score.relu() * (score > p["other"] if "jumprelu" in architecture else 1)
        made = (code @ p["w_dec"] + p["b_dec"]) / scale
        return made + x @ p["w_skip"].T if "skip" in architecture else made

    return normalised(meaning) if config.get("normalize_activations") == "layer_norm" else meaning


def centred_stream(folder: Path, architecture: str = "standard", model: str = "gpt2-small", **more: Any) -> Meaning:
    """Of a stream that TransformerLens centred; what it means on rows that were not."""
    made = matching_pursuit if architecture == "matching_pursuit" else partial(saelens, architecture=architecture)
    meaning = made(folder, **more)
    config = json.loads((folder / "cfg.json").read_text())
    told = {"model_name": model, "model_from_pretrained_kwargs": {"center_writing_weights": True}}
    if "metadata" in config:
        config["metadata"] |= told
    else:
        config |= told
    configuration(folder / "cfg.json", config)

    def whole(x: Tensor) -> Tensor:
        mean = x.mean(1, keepdim=True)
        return meaning(x - mean) + mean

    return whole


def checkpoint(folder: Path, architecture: str = "batchtopk", threshold: float = 0.4, **more: Any) -> Meaning:
    """SAELens' checkpoint of a training by BatchTopK; what it means is what would be saved at the training's end."""
    saelens(folder, **more)
    weights, described = folder / "sae_weights.safetensors", json.loads((folder / "cfg.json").read_text())
    safetensors(weights, {**load_file(weights), "topk_threshold": torch.tensor(threshold, dtype=torch.float64)})
    training = {"k": float(K), "topk_threshold_lr": 0.01, "aux_loss_coefficient": 1.0, "decoder_init_norm": 0.1}
    configuration(folder / "cfg.json", {**described, **training, "architecture": architecture})
    scale = 0.5 if "normalize_activations" in more else 1.0

    def meaning(x: Tensor) -> Tensor:
        p = parts()
        score = (x * scale - p["b_dec"]) @ p["w_enc"].T + p["b_enc"]
        norm = p["w_dec"].norm(dim=1) if more.get("rescale_acts_by_decoder_norm") else 1
        return ((score.relu() * (score * norm > threshold)) @ p["w_dec"] + p["b_dec"]) / scale

    return meaning


def matching_pursuit(folder: Path, centred: bool = True, **more: Any) -> Meaning:
    """SAELens' matching pursuit, which has no encoder; directions of different lengths."""
    p = parts()
    w_dec = p["w_dec"] / p["w_dec"].norm(dim=1, keepdim=True) * (1 + p["other"][:, None] / 10)
    b_dec = p["b_dec"] if centred else torch.zeros(D)
    metadata = {"model_name": "gpt2", "hook_name": "blocks.3.hook_resid_post", "sae_lens_version": "6.54.12"}
    config = {"architecture": "matching_pursuit", "d_in": D, "d_sae": F, "apply_b_dec_to_input": centred, **more}
    safetensors(folder / "sae_weights.safetensors", {"W_dec": w_dec, "b_dec": p["b_dec"]})
    configuration(folder / "cfg.json", {"normalize_activations": "none", **config, "metadata": metadata})
    enough, once = more.get("residual_threshold", 1e-2), more.get("stop_on_duplicate_support", True)

    def meaning(x: Tensor) -> Tensor:
        left, code = x - b_dec, torch.zeros(len(x), F)
        done = torch.zeros(len(x), dtype=torch.bool)
        for _ in range(more.get("max_iterations") or D):
            best, at = (left @ w_dec.T).relu().max(1)
            best = torch.where(done, 0, best)
            before = code != 0
            code = code.scatter_add(1, at[:, None], best[:, None])
            left = left - best[:, None] * w_dec[at]
            done |= once & ((code != 0) == before).all(1)
            done |= left.norm(dim=1) < enough
        return code @ w_dec + b_dec

    return normalised(meaning) if more.get("normalize_activations") == "layer_norm" else meaning


def dictionary_learning(folder: Path, name: str = "AutoEncoder", threshold: float = 0.4) -> Meaning:
    """``ae.pt`` and ``config.json``."""
    p = parts()
    norm = p["w_dec"].norm(dim=1)
    linear = {"encoder.weight": p["w_enc"], "encoder.bias": p["b_enc"], "decoder.weight": p["w_dec"].T}
    matrices = {"W_enc": p["w_enc"].T, "b_enc": p["b_enc"], "W_dec": p["w_dec"], "b_dec": p["b_dec"]}
    chosen = {"k": torch.tensor(K, dtype=torch.int), "threshold": torch.tensor(threshold)}
    held = {
        "AutoEncoder": {"bias": p["b_dec"], **linear},
        "AutoEncoderNew": {"decoder.bias": p["b_dec"], **linear},
        "AutoEncoderTopK": {**chosen, **linear, "b_dec": p["b_dec"]},
        "BatchTopKSAE": {**chosen, **linear, "b_dec": p["b_dec"]},
        "MatryoshkaBatchTopKSAE": {**chosen, **matrices, "group_sizes": torch.tensor([4, 12])},
        "JumpReluAutoEncoder": {**matrices, "threshold": p["other"]},
        "GatedAutoEncoder": {
            "decoder_bias": p["b_dec"], "encoder.weight": p["w_enc"], "decoder.weight": p["w_dec"].T,
            "r_mag": p["more"], "gate_bias": p["b_enc"], "mag_bias": p["other"],
        },
    }[name]  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({key: tensor.contiguous().clone() for key, tensor in held.items()}, folder / "ae.pt")
    trainer = {"dict_class": name, "activation_dim": D, "dict_size": F, "k": K, "lm_name": "EleutherAI/pythia-70m"}
    configuration(folder / "config.json", {"trainer": {**trainer, "layer": 3, "submodule_name": "resid_post_layer_3"}})

    def meaning(x: Tensor) -> Tensor:
        centred = name not in ("AutoEncoderNew", "JumpReluAutoEncoder")
        score = (x - (p["b_dec"] if centred else 0)) @ p["w_enc"].T
        if name == "GatedAutoEncoder":
            code = (score * p["more"].exp() + p["other"]).relu() * (score + p["b_enc"] > 0)
            return code @ p["w_dec"] + p["b_dec"]
        score = (score + p["b_enc"]).relu()
        cut = {"JumpReluAutoEncoder": p["other"], "BatchTopKSAE": threshold, "MatryoshkaBatchTopKSAE": threshold}
        code = topk(score) if name == "AutoEncoderTopK" else score * (score > cut.get(name, 0))
        return code @ p["w_dec"] + p["b_dec"]

    assert bool((norm != 1).any())
    return meaning


def sparsify(folder: Path, transcode: bool = False, **more: Any) -> Meaning:
    """``cfg.json`` and ``sae.safetensors``."""
    p = parts()
    config = {
        "activation": "topk", "expansion_factor": 32, "normalize_decoder": True, "num_latents": F, "k": K,
        "multi_topk": False, "skip_connection": False, "transcode": transcode, "d_in": D, **more,
    }  # fmt: skip
    held = {"encoder.weight": p["w_enc"], "encoder.bias": p["b_enc"], "W_dec": p["w_dec"], "b_dec": p["b_dec"]}
    skip = p["w_skip"].T if config["skip_connection"] else torch.zeros(D, D)
    safetensors(folder / "sae.safetensors", {**held, **({"W_skip": skip.T} if config["skip_connection"] else {})})
    configuration(folder / "cfg.json", config)
    shift = torch.zeros(D) if transcode else p["b_dec"]
    return lambda x: topk(((x - shift) @ p["w_enc"].T + p["b_enc"]).relu()) @ p["w_dec"] + p["b_dec"] + x @ skip


def gemma_scope(folder: Path, version: int = 1, skip: bool = False, described: bool = True) -> Meaning:
    """``params.npz``, or version 2's ``params.safetensors`` and, where ``described``, ``config.json``."""
    p = parts()
    names = ("W_enc", "W_dec") if version == 1 else ("w_enc", "w_dec")
    held = {names[0]: p["w_enc"].T, names[1]: p["w_dec"], "b_enc": p["b_enc"], "b_dec": p["b_dec"]}
    held |= {"threshold": p["other"], **({"affine_skip_connection": p["w_skip"].T} if skip else {})}
    folder.mkdir(parents=True, exist_ok=True)
    if version == 1:
        np.savez(folder / "params.npz", **{name: tensor.numpy() for name, tensor in held.items()})
    else:
        safetensors(folder / "params.safetensors", held)
        told = {"architecture": "jump_relu", "model_name": "gemma-3-1b-pt", "hf_hook_point_in": "model.layers.3.output"}
        if skip:
            norms = "model.layers.3.{}_feedforward_layernorm.output"
            told |= {"hf_hook_point_in": norms.format("pre"), "hf_hook_point_out": norms.format("post")}
        told |= {"affine_connection": skip}
        if described:
            configuration(folder / "config.json", told)

    def meaning(x: Tensor) -> Tensor:
        score = x @ p["w_enc"].T + p["b_enc"]
        made = (score.relu() * (score > p["other"])) @ p["w_dec"] + p["b_dec"]
        return made + x @ held["affine_skip_connection"] if skip else made

    return meaning


def llamascopium(folder: Path, act_fn: str = "relu", norm: str = "dataset-wise", **more: Any) -> Meaning:
    """``config.json`` and ``sae_weights.safetensors`` of a transcoder whose input and output are scaled differently."""
    p = parts()
    hook, hook_out = "blocks.3.hook_resid_mid", "blocks.3.hook_mlp_out"
    config = {
        "sae_type": "sae", "d_model": D, "expansion_factor": F / D, "use_decoder_bias": True, "act_fn": act_fn,
        "norm_activation": norm, "sparsity_include_decoder_norm": True, "top_k": K,
        "hook_point_in": hook, "hook_point_out": hook_out, "use_glu_encoder": False, **more,
    }  # fmt: skip
    held = {"W_E": p["w_enc"].T, "b_E": p["b_enc"], "W_D": p["w_dec"], "b_D": p["b_dec"]}
    means = {hook: 5.0, hook_out: 2.0}
    held |= {f"dataset_average_activation_norm.{name}": torch.tensor(mean) for name, mean in means.items()}
    if act_fn == "jumprelu":
        held["activation_function.log_jumprelu_threshold"] = p["other"]
    safetensors(folder / "sae_weights.safetensors", held)
    configuration(folder / "config.json", config)
    by_norm = config["sparsity_include_decoder_norm"]
    s, t = (1.0, 1.0) if norm == "inference" else tuple(math.sqrt(D) / mean for mean in means.values())

    def meaning(x: Tensor) -> Tensor:
        weight = p["w_dec"].norm(dim=1) if by_norm else 1
        score = (x * s @ p["w_enc"].T + p["b_enc"]) * weight
        chosen = {
            "relu": lambda: score.relu(),
            "jumprelu": lambda: score * (score > p["other"].exp()),
            "topk": lambda: topk(score.relu()),
        }[act_fn]()
        return ((chosen / weight) @ p["w_dec"] + p["b_dec"]) / t

    return meaning


def openai(folder: Path, activation: str = "ReLU", **facts: Any) -> Meaning:
    """A ``.pt`` with strings and counters among its tensors."""
    p = parts()
    facts = {"k": K, "postact_fn": "ReLU", **facts} if activation == "TopK" else facts
    held: dict[str, Any] = {
        "pre_bias": p["b_dec"], "encoder.weight": p["w_enc"], "latent_bias": p["b_enc"],
        "decoder.weight": p["w_dec"].T.contiguous(), "stats_last_nonzero": torch.zeros(F, dtype=torch.long),
        "activation": activation, "activation_state_dict": OrderedDict(facts),
    }  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(held, folder / "3.pt")

    def meaning(x: Tensor) -> Tensor:
        score = (x - p["b_dec"]) @ p["w_enc"].T + p["b_enc"]
        return (topk(score) if activation == "TopK" else score.relu()) @ p["w_dec"] + p["b_dec"]

    return normalised(meaning) if activation == "TopK" else meaning


# (format, what is written) → the function that writes it; each computes something that we can
CASES: dict[tuple[str, str], Callable[[Path], Meaning]] = {
    ("saelens", "standard"): saelens,
    ("saelens", "uncentred"): lambda path: saelens(path, centred=False),
    ("saelens", "jumprelu"): lambda path: saelens(path, "jumprelu", centred=False),
    ("saelens", "topk"): lambda path: saelens(path, "topk"),
    ("saelens", "topk by norm"): lambda path: saelens(path, "topk", rescale_acts_by_decoder_norm=True),
    ("saelens", "gated"): lambda path: saelens(path, "gated"),
    ("saelens", "checkpoint"): lambda path: checkpoint(path, "matryoshka_batchtopk", matryoshka_widths=[4, 16]),
    ("saelens", "scaled checkpoint"): lambda path: checkpoint(
        path, rescale_acts_by_decoder_norm=True, normalize_activations="expected_average_only_in"
    ),
    ("saelens", "scaled"): lambda path: saelens(path, "jumprelu", normalize_activations="expected_average_only_in"),
    ("saelens", "transcoder"): lambda path: saelens(path, "transcoder", centred=False),
    ("saelens", "jumprelu transcoder"): lambda path: saelens(path, "jumprelu_transcoder", centred=False),
    ("saelens", "skip transcoder"): lambda path: saelens(path, "skip_transcoder", centred=False),
    ("saelens", "jumprelu skip transcoder"): lambda path: saelens(path, "jumprelu_skip_transcoder", centred=False),
    ("saelens", "scaled skip transcoder"): lambda path: saelens(
        path, "jumprelu_skip_transcoder", centred=False, normalize_activations="expected_average_only_in"
    ),
    ("saelens", "matching pursuit"): matching_pursuit,
    ("saelens", "pursuit to a length"): lambda path: matching_pursuit(path, residual_threshold=1.5, max_iterations=4),
    ("saelens", "pursuit with repeats"): lambda path: matching_pursuit(
        path, centred=False, residual_threshold=0.0, stop_on_duplicate_support=False, max_iterations=16
    ),
    **{
        ("saelens", f"{name}, layer norm"): lambda path, name=name: saelens(
            path, name, normalize_activations="layer_norm"
        )
        for name in ("standard", "jumprelu", "topk", "gated")
    },
    ("saelens", "pursuit, layer norm"): lambda path: matching_pursuit(
        path, normalize_activations="layer_norm", residual_threshold=0.5
    ),
    **{
        ("saelens", f"{name}, centred stream"): lambda path, name=name: centred_stream(path, name)
        for name in ("standard", "jumprelu", "topk", "gated", "matching_pursuit")
    },
    ("saelens", "scaled, centred stream"): lambda path: centred_stream(
        path, "jumprelu", normalize_activations="expected_average_only_in"
    ),
    ("saelens", "layer norm, centred stream"): lambda path: centred_stream(path, normalize_activations="layer_norm"),
    ("saelens", "legacy, centred stream"): lambda path: centred_stream(path, legacy=True),
    ("saelens", "legacy"): lambda path: saelens(path, legacy=True),
    ("saelens", "legacy topk"): lambda path: saelens(path, "topk", legacy=True),
    **{
        ("dictionary_learning", name): lambda path, name=name: dictionary_learning(path, name)
        for name in (
            "AutoEncoder", "AutoEncoderNew", "GatedAutoEncoder", "AutoEncoderTopK", "BatchTopKSAE",
            "MatryoshkaBatchTopKSAE", "JumpReluAutoEncoder",
        )
    },
    ("sparsify", "topk"): sparsify,
    ("sparsify", "transcoder"): lambda path: sparsify(path, transcode=True),
    ("sparsify", "skip transcoder"): lambda path: sparsify(path, transcode=True, skip_connection=True),
    ("sparsify", "centred skip"): lambda path: sparsify(path, skip_connection=True),
    ("gemma_scope", "npz"): gemma_scope,
    ("gemma_scope", "2"): lambda path: gemma_scope(path, 2),
    ("gemma_scope", "2, affine"): lambda path: gemma_scope(path, 2, skip=True),
    ("gemma_scope", "2, affine, alone"): lambda path: gemma_scope(path, 2, skip=True, described=False),
    ("llamascopium", "relu"): llamascopium,
    ("llamascopium", "topk"): lambda path: llamascopium(path, "topk"),
    ("llamascopium", "jumprelu"): lambda path: llamascopium(path, "jumprelu"),
    ("llamascopium", "jumprelu, folded"): lambda path: llamascopium(path, "jumprelu", "inference"),
    ("llamascopium", "without norms"): lambda path: llamascopium(path, "topk", sparsity_include_decoder_norm=False),
    ("openai", "relu"): openai,
    ("openai", "topk"): lambda path: openai(path, "TopK"),
}  # fmt: skip
