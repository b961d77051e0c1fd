"""Run by the peers' Python, without Monoscope: trains other libraries' dictionaries on rows from a file.

    python truth_peer.py ROWS.npy JOBS.json

``JOBS.json`` is a list of ``{"contender", "setting", "seed", "out"}``. ``setting`` holds ``features``, ``batch`` and
``rate``, and ``k``, ``penalty`` or ``target``, as the contender has it. All go through the rows once, in the order of
the file; a contender uses its library's own training loop where there is one, with its library's normalisation, and its
own initialisation, auxiliary losses and optimiser. Common to all are a warm-up over 5 % of the steps and a decay over
the last 20 %. Each dictionary is saved as its library saves it, into ``out``, with the processor's seconds that it took
in ``seconds.json``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

INNER = (1 / 8, 3 / 8)  # of the features: the inner widths of the nested dictionaries, as shares that add up


@dataclass(frozen=True)
class Task:
    """One dictionary to be trained: on which rows, how, and where it is saved."""

    x: torch.Tensor
    setting: dict[str, Any]
    seed: int
    out: Path

    @property
    def steps(self) -> int:
        """Whole batches in the rows."""
        return len(self.x) // int(self.setting["batch"])

    @property
    def warm(self) -> int:
        """Steps of warm-up."""
        return max(1, self.steps // 20)

    @property
    def decay(self) -> int:
        """Steps of decay."""
        return max(1, self.steps // 5)

    def __iter__(self) -> Iterator[torch.Tensor]:
        """Batches in order, from the start again when the rows end; copies, because one library scales in place."""
        while True:
            for first in range(0, self.steps * self.setting["batch"], self.setting["batch"]):
                yield self.x[first : first + self.setting["batch"]].clone()


def saelens(task: Task, kind: str) -> None:
    """SAELens' trainer on its training SAEs."""
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.saes import batchtopk_sae, jumprelu_sae, matryoshka_batchtopk_sae, standard_sae, topk_sae
    from sae_lens.training.sae_trainer import SAETrainer

    given, d_sae = task.setting, task.setting["features"]
    widths = [round(d_sae * sum(INNER[: i + 1])) for i in range(len(INNER))]
    made, own = {
        "topk": (topk_sae.TopKTrainingSAE, lambda: {"k": given["k"]}),
        "batch_topk": (batchtopk_sae.BatchTopKTrainingSAE, lambda: {"k": given["k"]}),
        "matryoshka": (
            matryoshka_batchtopk_sae.MatryoshkaBatchTopKTrainingSAE,
            lambda: {"k": given["k"], "matryoshka_widths": [*widths, d_sae]},
        ),
        "jumprelu": (
            jumprelu_sae.JumpReLUTrainingSAE,
            lambda: {"l0_coefficient": given["penalty"], "l0_warm_up_steps": task.warm},
        ),
        "standard": (
            standard_sae.StandardTrainingSAE,
            lambda: {"l1_coefficient": given["penalty"], "l1_warm_up_steps": task.warm},
        ),
    }[kind]
    module = sys.modules[made.__module__]
    config = getattr(module, f"{made.__name__}Config")
    norm = "expected_average_only_in"
    sae = made(config(d_in=task.x.shape[1], d_sae=d_sae, device="cpu", normalize_activations=norm, **own()))
    trainer = SAETrainer(
        SAETrainerConfig(
            total_training_samples=task.steps * given["batch"],
            train_batch_size_samples=given["batch"],
            lr=given["rate"],
            lr_end=given["rate"] / 10,
            lr_warm_up_steps=task.warm,
            lr_decay_steps=task.decay,
            n_batches_for_norm_estimate=20,
            logger=LoggingConfig(log_to_wandb=False),
        ),
        sae=sae,
        data_provider=iter(task),
    )
    trainer.fit().save_inference_model(task.out)


def dictionary_learning(task: Task, kind: str) -> None:
    """dictionary_learning's training loop and trainers, on rows that it brings to unit mean squared norm."""
    from dictionary_learning import trainers, training
    from dictionary_learning.trainers.matryoshka_batch_top_k import MatryoshkaBatchTopKTrainer

    given = task.setting
    slow = {"sparsity_warmup_steps": task.warm}
    trainer, own = {
        "topk": (trainers.TopKTrainer, lambda: {"k": given["k"], "threshold_start_step": task.steps // 2}),
        "batch_topk": (trainers.BatchTopKTrainer, lambda: {"k": given["k"], "threshold_start_step": task.steps // 2}),
        "matryoshka": (
            MatryoshkaBatchTopKTrainer,
            lambda: {
                "k": given["k"],
                "group_fractions": [*INNER, 1 - sum(INNER)],
                "threshold_start_step": task.steps // 2,
            },
        ),
        "jumprelu": (trainers.JumpReluTrainer, lambda: {"target_l0": given["target"], "bandwidth": 0.02, **slow}),
        "standard": (trainers.StandardTrainer, lambda: {"l1_penalty": given["penalty"], **slow}),
        "p_anneal": (
            trainers.PAnnealTrainer,
            lambda: {
                "initial_sparsity_penalty": given["penalty"],
                "anneal_start": task.steps // 5,
                "p_end": 0.2,
                "sparsity_function": "Lp^p",
                **slow,
            },
        ),
    }[kind]
    training.trainSAE(
        task,
        [
            {
                "trainer": trainer,
                "steps": task.steps,
                "activation_dim": task.x.shape[1],
                "dict_size": given["features"],
                "layer": 0,
                "lm_name": "rows",
                "lr": given["rate"],
                "warmup_steps": task.warm,
                "decay_start": task.steps - task.decay,
                "seed": task.seed,
                "device": "cpu",
                **own(),
            }
        ],
        steps=task.steps,
        save_dir=str(task.out),
        normalize_activations=True,
        device="cpu",
    )
    for name in ("ae.pt", "config.json"):
        (task.out / "trainer_0" / name).rename(task.out / name)
    (task.out / "trainer_0").rmdir()


def sparsify(task: Task, kind: str) -> None:
    """sparsify's coder, stepped as its trainer does with Adam; that trainer itself wants a language model."""
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # its kernels need a GPU
    from sparsify import SparseCoder, SparseCoderConfig

    assert kind == "topk"
    given = task.setting
    coder = SparseCoder(task.x.shape[1], SparseCoderConfig(num_latents=given["features"], k=given["k"]))
    coder.b_dec.data.copy_(task.x[: given["batch"]].mean(0))
    optimiser = torch.optim.Adam(coder.parameters(), lr=given["rate"])
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda i: min(1.0, (i + 1) / task.warm, (task.steps - i) / task.decay)
    )
    for _, batch in zip(range(task.steps), task):
        coder.set_decoder_norm_to_unit_norm()
        coder(batch).fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    coder.set_decoder_norm_to_unit_norm()
    coder.save_to_disk(task.out)


LIBRARIES: dict[str, Callable[[Task, str], None]] = {
    "saelens": saelens,
    "dictionary_learning": dictionary_learning,
    "sparsify": sparsify,
}


def main(path: Path, jobs: list[dict[str, Any]]) -> None:
    """Train and save every job's dictionary; what exists already is kept."""
    torch.set_num_threads(1)
    x = torch.from_numpy(np.load(path, mmap_mode="r+"))
    for job in jobs:
        out = Path(job["out"])
        library, kind = job["contender"].split(":")
        torch.manual_seed(job["seed"])
        began = time.process_time()
        LIBRARIES[library](Task(x, job["setting"], job["seed"], out), kind)
        (out / "seconds.json").write_text(json.dumps(time.process_time() - began))


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text()))
