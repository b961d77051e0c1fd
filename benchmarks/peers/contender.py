"""Train one dictionary with one library on rows from a file, timed; run by a Python that has the library.

python contender.py NAME ROWS.npy SETTING

where SETTING is JSON: ``{"features", "k", "batch", "tokens", "rate", "autocast", "threads", "held_out", "untimed"}``.

Prints one line of JSON: the seconds of the timed steps, and the FVU on the last ``held_out`` rows by the library's own
forward pass in fp32. Every library sees the same rows in the same order and has its own recipe, but for the learning
rate and its schedule (warm-up over 5 %, decay to 0 over the last 20 %). Reading rows is not timed.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

Step = Callable[[torch.Tensor], object]
Forward = Callable[[torch.Tensor], torch.Tensor]


def lengths(setting: dict[str, Any]) -> tuple[int, int, int]:
    """Steps in all, of warm-up, of decay."""
    steps = setting["tokens"] // setting["batch"]
    return steps, max(1, steps // 20), max(1, steps // 5)


def monoscope(setting: dict[str, Any], x: torch.Tensor, architecture: str) -> tuple[Step, Forward]:
    """Ours: the training step that ``ms.fit`` takes."""
    from monoscope.train import rows
    from monoscope.train.fit import Recipe

    data = rows.from_arrays(x, None, setting["batch"], None, 0, hold_back=False)
    trainee = Recipe.of(architecture, setting["features"], k=setting["k"], rate=setting["rate"]).trainee(data)
    units, seen = data.units, 0

    def step(batch: torch.Tensor) -> None:
        nonlocal seen
        batch = batch.sub(units.mean_in).div_(units.scale_in)
        trainee.step(batch, batch, seen, setting["tokens"])
        seen += len(batch)

    def forward(batch: torch.Tensor) -> torch.Tensor:
        if architecture == "batch_topk" and not bool(trainee.dictionary.threshold.any()):
            trainee.objective.finish(trainee.dictionary, (x[-65_536:-32_768] - units.mean_in) / units.scale_in)
        return trainee.dictionary((batch - units.mean_in) / units.scale_in) * units.scale_in + units.mean_in

    return step, forward


def saelens(setting: dict[str, Any], x: torch.Tensor, kind: str) -> tuple[Step, Forward]:
    """SAELens' trainer and training SAE."""
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.saes import batchtopk_sae, topk_sae
    from sae_lens.training.sae_trainer import SAETrainer

    steps, warm, decay = lengths(setting)
    config, made = {
        "topk": (topk_sae.TopKTrainingSAEConfig, topk_sae.TopKTrainingSAE),
        "batch_topk": (batchtopk_sae.BatchTopKTrainingSAEConfig, batchtopk_sae.BatchTopKTrainingSAE),
    }[kind]
    sae = made(config(d_in=x.shape[1], d_sae=setting["features"], k=setting["k"], device="cpu"))
    trainer = SAETrainer(
        SAETrainerConfig(
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

    def step(batch: torch.Tensor) -> None:
        trainer.step(batch)
        trainer.n_training_steps += 1

    return step, lambda batch: sae.decode(sae.encode(batch))


def dictionary_learning(setting: dict[str, Any], x: torch.Tensor, kind: str) -> tuple[Step, Forward]:
    """dictionary_learning's trainers."""
    from dictionary_learning.trainers import batch_top_k, top_k

    steps, warm, decay = lengths(setting)
    trainer = {"topk": top_k.TopKTrainer, "batch_topk": batch_top_k.BatchTopKTrainer}[kind](
        steps=steps,
        activation_dim=x.shape[1],
        dict_size=setting["features"],
        k=setting["k"],
        layer=0,
        lm_name="rows",
        lr=setting["rate"],
        warmup_steps=warm,
        decay_start=steps - decay,
        threshold_start_step=steps // 2,
        seed=0,
        device="cpu",
    )
    count = 0

    def step(batch: torch.Tensor) -> None:
        nonlocal count
        with torch.autocast("cpu", torch.bfloat16) if setting["autocast"] else contextlib.nullcontext():
            trainer.update(count, batch)
        count += 1

    return step, lambda batch: trainer.ae(batch)


def sparsify(setting: dict[str, Any], x: torch.Tensor, kind: str) -> tuple[Step, Forward]:
    """sparsify's coder, stepped as its trainer does with Adam."""
    from sparsify import SparseCoder, SparseCoderConfig

    assert kind == "topk"
    steps, warm, decay = lengths(setting)
    coder = SparseCoder(x.shape[1], SparseCoderConfig(num_latents=setting["features"], k=setting["k"]))
    optimiser = torch.optim.Adam(coder.parameters(), lr=setting["rate"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: min(1.0, (i + 1) / warm, (steps - i) / decay))
    coder.b_dec.data.copy_(x[: setting["batch"]].mean(0))

    def step(batch: torch.Tensor) -> None:
        coder.set_decoder_norm_to_unit_norm()
        with torch.autocast("cpu", torch.bfloat16) if setting["autocast"] else contextlib.nullcontext():
            out = coder(batch)
        out.fvu.backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()

    return step, lambda batch: coder(batch).sae_out


LIBRARIES = {
    "monoscope": monoscope,
    "saelens": saelens,
    "dictionary_learning": dictionary_learning,
    "sparsify": sparsify,
}


def batches(x: torch.Tensor, size: int) -> Iterator[torch.Tensor]:
    """Batches in random order, epoch after epoch."""
    rng = np.random.default_rng(0)
    while True:
        order = torch.from_numpy(rng.permutation(len(x)))
        for first in range(0, len(x) - size + 1, size):
            yield x[order[first : first + size]]


def main(name: str, path: str, setting: dict[str, Any]) -> None:
    """Train, time, judge, print."""
    torch.manual_seed(0)
    if setting["threads"]:
        torch.set_num_threads(setting["threads"])
    every = torch.from_numpy(np.load(path)).float()
    x, held_out = every[: -setting["held_out"]], every[-setting["held_out"] :]
    library, kind = name.split(":")
    step, forward = LIBRARIES[library](setting, x, kind)
    untimed, spent = setting["untimed"], []
    source = batches(x, setting["batch"])
    for _ in range(setting["tokens"] // setting["batch"]):
        batch = next(source)
        began = time.perf_counter()
        step(batch)
        spent.append(time.perf_counter() - began)
    with torch.no_grad():
        left = torch.cat([part - forward(part) for part in held_out.split(4096)])
        fvu = float(left.square().sum() / (held_out - held_out.mean(0)).square().sum())
    timed = spent[untimed:]
    print(json.dumps({"steps": len(timed), "seconds": sum(timed), "median": float(np.median(timed)), "fvu": fvu}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
