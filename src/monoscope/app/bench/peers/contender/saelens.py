"""SAELens."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .trainer import LONG, Codes, Contender, dense, lengths


def saelens_sae(kind: str, width: int, setting: dict[str, Any], warm: int) -> Any:
    """The training SAE. JumpReLU has its penalty around a wanted L0; L1 and gated ones are led to it.

    A matching pursuit takes k steps at most, and ends where it would pick a feature again, which is its default.
    """
    from sae_lens.saes import batchtopk_sae, gated_sae, jumprelu_sae, matching_pursuit_sae, standard_sae, topk_sae

    k: dict[str, Any] = {"k": setting["k"]}
    penalised: dict[str, Any] = {"l1_warm_up_steps": warm}
    around = {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": float(setting["k"]), "l0_warm_up_steps": warm}
    config, made, options = {
        "topk": (topk_sae.TopKTrainingSAEConfig, topk_sae.TopKTrainingSAE, k),
        "batch_topk": (batchtopk_sae.BatchTopKTrainingSAEConfig, batchtopk_sae.BatchTopKTrainingSAE, k),
        "standard": (standard_sae.StandardTrainingSAEConfig, standard_sae.StandardTrainingSAE, penalised),
        "gated": (gated_sae.GatedTrainingSAEConfig, gated_sae.GatedTrainingSAE, penalised),
        "matching_pursuit": (
            matching_pursuit_sae.MatchingPursuitTrainingSAEConfig,
            matching_pursuit_sae.MatchingPursuitTrainingSAE,
            {"max_iterations": setting["k"], "decoder_init_norm": 1.0},
        ),
        "jumprelu": (jumprelu_sae.JumpReLUTrainingSAEConfig, jumprelu_sae.JumpReLUTrainingSAE, around),
    }[kind]
    return made(config(d_in=width, d_sae=setting["features"], device="cpu", **options))


def contender(setting: dict[str, Any], width: int, kind: str) -> Contender:
    """SAELens' trainer and training SAE; what is judged is the inference SAE that it saves."""
    from sae_lens import SAE
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    steps, warm, decay = lengths(setting)
    sae = saelens_sae(kind, width, setting, warm)
    if setting.get("compiled"):  # what its runner does where ``compile_sae`` is set
        sae.training_forward_pass = torch.compile(sae.training_forward_pass, backend="inductor")
    told = setting.get("silence")
    window = {"dead_feature_window": max(1, told // setting["batch"])} if told else {}
    trainer = SAETrainer(
        SAETrainerConfig(
            **window,
            total_training_samples=steps * setting["batch"],
            train_batch_size_samples=setting["batch"],
            lr=setting["rate"],
            lr_end=setting["rate"] / 10,
            lr_warm_up_steps=warm,
            lr_decay_steps=decay,
            autocast=setting["autocast"],
            logger=LoggingConfig(log_to_wandb=False),
        ),
        sae=sae,
        data_provider=iter(()),
    )

    def step(batch: Tensor) -> None:
        trainer.step(batch)
        trainer.n_training_steps += 1

    def infer() -> tuple[Callable[[Tensor], Codes], str]:
        if kind == "batch_topk" and not float(sae.topk_threshold) > 0:
            return dense(sae.encode, sae.decode), "no threshold was set: selected by batch, as in training"
        with tempfile.TemporaryDirectory() as folder:
            sae.save_inference_model(folder)
            used = SAE.load_from_disk(folder)
        return dense(used.encode, used.decode), ""

    def silence(places: Tensor) -> None:
        trainer.n_forward_passes_since_fired[places] = float(LONG)

    def lead(ratio: float) -> None:
        trainer.coefficient_schedulers["l1"].final_value *= ratio

    led = lead if kind in ("standard", "gated") else None
    bias = getattr(sae, "b_gate" if kind == "gated" else "b_enc", None)  # a pursuit has none
    select = dense(sae.encode, sae.decode) if kind == "batch_topk" else None
    parts = (trainer, *trainer.coefficient_schedulers.values())
    return Contender(step, sae.encode, infer, bias, silence, led, select, parts)
