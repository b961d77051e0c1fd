"""dictionary_learning."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from torch import Tensor

from .trainer import LONG, Codes, Contender, autocast, dense, lengths


def dictionary_learning_trainer(kind: str, width: int, setting: dict[str, Any]) -> Any:
    """One of its trainers. JumpReLU has its penalty around a wanted L0; the other penalties are led to it."""
    from dictionary_learning.trainers import batch_top_k, gdm, jumprelu, p_anneal, standard, top_k

    steps, warm, decay = lengths(setting)
    # thresholds are running means that hardly move in a short training, so they are begun where the rate falls
    selecting = {"k": setting["k"], "threshold_start_step": steps - decay}
    penalised = {"sparsity_warmup_steps": warm}
    annealed = {**penalised, "anneal_start": steps // 5, "n_sparsity_updates": min(10, steps - steps // 5)}
    made, options = {
        "topk": (top_k.TopKTrainer, selecting),
        "batch_topk": (batch_top_k.BatchTopKTrainer, selecting),
        "standard": (standard.StandardTrainer, penalised),
        "standard_april": (standard.StandardTrainerAprilUpdate, penalised),
        "gated": (gdm.GatedSAETrainer, penalised),
        "jumprelu": (jumprelu.JumpReluTrainer, {**penalised, "target_l0": float(setting["k"])}),
        "p_anneal": (p_anneal.PAnnealTrainer, {**annealed, "sparsity_function": "Lp^p"}),
    }[kind]
    return made(
        steps=steps,
        activation_dim=width,
        dict_size=setting["features"],
        layer=0,
        lm_name="rows",
        lr=setting["rate"],
        warmup_steps=warm,
        decay_start=steps - decay,
        seed=setting["seed"],
        device="cpu",
        **options,
    )


COEFFICIENTS = {
    "standard": "l1_penalty", "standard_april": "l1_penalty", "gated": "l1_penalty", "p_anneal": "sparsity_coeff",
}  # fmt: skip


def contender(setting: dict[str, Any], width: int, kind: str) -> Contender:
    """Its trainer's ``update``."""
    trainer, at = dictionary_learning_trainer(kind, width, setting), SimpleNamespace(step=0)
    ae = trainer.ae
    if setting.get("silence"):
        trainer.dead_feature_threshold = setting["silence"]

    def step(batch: Tensor) -> None:
        with autocast(setting):
            trainer.update(at.step, batch)
        at.step += 1

    selecting: dict[str, Any] = {"use_threshold": False} if kind == "batch_topk" else {}

    def training_code(batch: Tensor) -> Tensor:
        return ae.encode(batch, **selecting)

    def infer() -> tuple[Callable[[Tensor], Codes], str]:
        if kind == "batch_topk" and not float(ae.threshold) > 0:
            return dense(training_code, ae.decode), "its threshold was never set: selected by batch, as in training"
        return dense(ae.encode, ae.decode), ""

    def silence(places: Tensor) -> None:
        trainer.num_tokens_since_fired[places] = LONG

    def lead(ratio: float) -> None:
        setattr(trainer, COEFFICIENTS[kind], getattr(trainer, COEFFICIENTS[kind]) * ratio)

    bias = ae.gate_bias if kind == "gated" else ae.b_enc if kind == "jumprelu" else ae.encoder.bias
    counted = silence if hasattr(trainer, "num_tokens_since_fired") else None
    led = lead if kind in COEFFICIENTS else None
    select = dense(training_code, ae.decode) if kind == "batch_topk" else None
    return Contender(step, training_code, infer, bias, counted, led, select, (trainer, at))
