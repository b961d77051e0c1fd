"""An evaluation in the layout of SAEBench's ``core`` results, for tools that read those.

The names are SAEBench's, the definitions ours: ablation is to zero, ``explained_variance`` is 1 − FVU (a ratio of
totals, where SAEBench averages a ratio over tokens), ``mse`` is the mean over tokens of the squared error;
``normalized_freq_over_1_percent`` is the share of all activations that such features have. What does not apply is -1,
as there; numbers of single features are not written. Intervals stand in ``eval_result_unstructured``.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from typing import Any

from monoscope import __version__
from monoscope.dictionary.base import Dictionary
from monoscope.evaluate.evaluation import Metrics
from monoscope.evaluate.measures.decoder_geometry import cosines

NOTHING = -1.0
FIELDS = {  # category → SAEBench's name → ours
    "model_behavior_preservation": {"kl_div_with_ablation": "kl_zero", "kl_div_with_sae": "kl"},
    "model_performance_preservation": {
        "ce_loss_score": "loss_recovered_zero",
        "ce_loss_with_ablation": "ce_zero",
        "ce_loss_with_sae": "ce_spliced",
        "ce_loss_without_sae": "ce",
    },
    "reconstruction_quality": {"mse": "mse", "cossim": "cosine"},
    "shrinkage": {
        "l2_norm_in": "norm_in",
        "l2_norm_out": "norm_out",
        "l2_ratio": "norm_ratio",
        "relative_reconstruction_bias": "reconstruction_bias",
    },
    "sparsity": {"l0": "l0", "l1": "l1"},
    "misc_metrics": {
        "average_max_decoder_cosine_sim": "decoder_nearest_cosine",
    },
}
COMPUTED = ("kl", "ce_loss", "l2_norms", "sparsity_metrics", "variance_metrics")


def core(
    name: str, metrics: Metrics, facts: Mapping[str, Any], dictionary: Dictionary, text: str, density: Mapping[str, Any]
) -> dict[str, Any]:
    """The content of one results file.

    Args:
        name: of the dictionary.
        metrics: its metrics.
        facts: those of the evaluation.
        dictionary: for its configuration.
        text: what it was judged on, as a corpus is named.
        density: what that measure shows of it beyond its numbers.
    """
    found: dict[str, dict[str, float]] = {
        category: {theirs: _value(metrics, ours) for theirs, ours in names.items()}
        for category, names in FIELDS.items()
    }
    kl, ablated, fvu = (_value(metrics, ours) for ours in ("kl", "kl_zero", "fvu"))
    dead = _value(metrics, "dead_fraction")
    found["model_behavior_preservation"]["kl_div_score"] = 1 - kl / ablated if ablated > 0 else NOTHING
    found["reconstruction_quality"]["explained_variance"] = NOTHING if fvu == NOTHING else 1 - fvu
    found["misc_metrics"]["frac_alive"] = NOTHING if dead == NOTHING else 1 - dead
    found["misc_metrics"] |= _frequencies(density["frequent"])
    found["misc_metrics"]["average_max_encoder_cosine_sim"] = (
        float(cosines(dictionary.w_enc.detach())[0].mean()) if dictionary.own_encoder else NOTHING
    )
    found["token_stats"] = {
        "total_tokens_eval_reconstruction": facts["n_loss_tokens"],
        "total_tokens_eval_sparsity_variance": facts["n_tokens"],
    }
    return {
        "eval_type_id": "core",
        "eval_config": {
            "model_name": facts["model"],
            "llm_dtype": "float32",  # a run's model is judged in no other, whatever its weights were saved in
            "dataset": text,
            "context_size": facts["context"],
            "exclude_special_tokens_from_reconstruction": True,
            **{f"compute_{what}": True for what in COMPUTED},
        },
        "eval_id": str(uuid.uuid4()),
        "datetime_epoch_millis": time.time_ns() // 1_000_000,
        "eval_result_metrics": found,
        "eval_result_details": [],
        "eval_result_unstructured": {"intervals": {n: e.to_json() for n, e in metrics.items()}},
        "sae_bench_commit_hash": f"monoscope {__version__}",
        "sae_lens_id": name,
        "sae_lens_release_id": facts["site"],
        "sae_lens_version": "none",
        "sae_cfg_dict": {
            "architecture": dictionary.architecture,
            "d_in": dictionary.d_in,
            "d_sae": dictionary.n_features,
            "hook_name": facts["site"],
            "hook_name_out": facts["target"],
            "model_name": facts["model"],
            **dictionary.options(),
        },
    }


def _frequencies(frequent: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    named = {"1": frequent["0.01"], "10": frequent["0.1"]}
    shares = {f"freq_over_{percent}_percent": shown["features"] for percent, shown in named.items()}
    return shares | {f"normalized_freq_over_{percent}_percent": s["activations"] for percent, s in named.items()}


def _value(metrics: Metrics, name: str) -> float:
    value = metrics[name].value
    return NOTHING if value is None else value
