"""Train one dictionary with another library, on rows from a file; run by path, by a Python that has the library.

    python contender.py check
    python contender.py LIBRARY:KIND ROWS.npy SETTING

``check`` prints the versions of the libraries that are installed. SETTING is JSON, see ``main``. Nothing of Monoscope
is imported here, so that the other libraries' environment needs none of it.

Prints lines of JSON: progress, and last the result. Every library has its own recipe, but for the learning rate and its
schedule: warm-up over 5 %, decay to 0 over the last 20 %. Reading rows is not timed.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor

PACKAGES = {"saelens": "sae-lens", "dictionary_learning": "dictionary-learning", "sparsify": "eai-sparsify"}
PROBE = 256  # rows on which the L0 is watched
BURIED = -100.0  # an encoder bias below every score
LONG = 1 << 40  # tokens or steps of silence that count as dead everywhere
GAIN, PROPORTION = 0.1, 1.0  # of leading a penalty's coefficient to a wanted L0

Codes = tuple[Tensor, Tensor]  # reconstruction, and the feature of every active entry


@dataclass
class Contender:
    """A library's trainer, as the clock and the judge see it."""

    step: Callable[[Tensor], object]  # one training step on a batch
    code: Callable[[Tensor], Tensor]  # dense codes as training has them
    infer: Callable[[], tuple[Callable[[Tensor], Codes], str]]  # the library's own inference, and a remark on it
    bias: Tensor | None = None  # of the encoder
    silence: Callable[[Tensor], None] | None = None  # count features as long dead
    lead: Callable[[float], None] | None = None  # multiply the penalty's coefficient
    select: Callable[[Tensor], Codes] | None = None  # as in training, where inference has another selection


def lengths(setting: dict[str, Any]) -> tuple[int, int, int]:
    """Steps in all, of warm-up, of decay."""
    steps = setting["steps"]
    return steps, max(1, steps // 20), max(1, steps // 5)


def autocast(setting: dict[str, Any]) -> contextlib.AbstractContextManager[Any]:
    """bf16 where the setting asks for it."""
    return torch.autocast("cpu", torch.bfloat16) if setting["autocast"] else contextlib.nullcontext()


def dense(encode: Callable[[Tensor], Tensor], decode: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Codes]:
    """Inference of a library whose codes are dense."""

    def run(x: Tensor) -> Codes:
        code = encode(x)
        return decode(code), code.nonzero()[:, 1]

    return run


# --- SAELens ---------------------------------------------------------------------------------------------------------


def saelens_sae(kind: str, width: int, setting: dict[str, Any], warm: int) -> Any:
    """The training SAE. JumpReLU has its penalty around a wanted L0; L1 and gated ones are led to it."""
    from sae_lens.saes import batchtopk_sae, gated_sae, jumprelu_sae, standard_sae, topk_sae

    k: dict[str, Any] = {"k": setting["k"]}
    penalised: dict[str, Any] = {"l1_warm_up_steps": warm}
    around = {"jumprelu_sparsity_loss_mode": "quadratic", "target_l0": float(setting["k"]), "l0_warm_up_steps": warm}
    config, made, options = {
        "topk": (topk_sae.TopKTrainingSAEConfig, topk_sae.TopKTrainingSAE, k),
        "batch_topk": (batchtopk_sae.BatchTopKTrainingSAEConfig, batchtopk_sae.BatchTopKTrainingSAE, k),
        "standard": (standard_sae.StandardTrainingSAEConfig, standard_sae.StandardTrainingSAE, penalised),
        "gated": (gated_sae.GatedTrainingSAEConfig, gated_sae.GatedTrainingSAE, penalised),
        "jumprelu": (jumprelu_sae.JumpReLUTrainingSAEConfig, jumprelu_sae.JumpReLUTrainingSAE, around),
    }[kind]
    return made(config(d_in=width, d_sae=setting["features"], device="cpu", **options))


def saelens(setting: dict[str, Any], width: int, kind: str) -> Contender:
    """SAELens' trainer and training SAE; what is judged is the inference SAE that it saves."""
    from sae_lens import SAE
    from sae_lens.config import LoggingConfig, SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    steps, warm, decay = lengths(setting)
    sae = saelens_sae(kind, width, setting, warm)
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
    bias = sae.b_gate if kind == "gated" else sae.b_enc
    select = dense(sae.encode, sae.decode) if kind == "batch_topk" else None
    return Contender(step, sae.encode, infer, bias, silence, led, select)


# --- dictionary_learning ---------------------------------------------------------------------------------------------


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


COEFFICIENTS = {"standard": "l1_penalty", "gated": "l1_penalty", "p_anneal": "sparsity_coeff"}


def dictionary_learning(setting: dict[str, Any], width: int, kind: str) -> Contender:
    """Its trainer's ``update``."""
    trainer, count = dictionary_learning_trainer(kind, width, setting), 0
    ae = trainer.ae

    def step(batch: Tensor) -> None:
        nonlocal count
        with autocast(setting):
            trainer.update(count, batch)
        count += 1

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
    return Contender(step, training_code, infer, bias, counted, led, select)


# --- sparsify --------------------------------------------------------------------------------------------------------


def sparsify(setting: dict[str, Any], width: int, kind: str) -> Contender:
    """Its coder, stepped as its trainer does with Adam; its AuxK, off by default, with ``dead`` features."""
    os.environ["SPARSIFY_DISABLE_TRITON"] = "1"  # its own switch: Triton has nothing to run on here
    from sparsify import SparseCoder, SparseCoderConfig

    steps, warm, decay = lengths(setting)
    coder = SparseCoder(width, SparseCoderConfig(num_latents=setting["features"], k=setting["k"]))
    optimiser = torch.optim.Adam(coder.parameters(), lr=setting["rate"])
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda i: min(1.0, (i + 1) / warm, (steps - i) / decay))
    since = torch.zeros(setting["features"], dtype=torch.long)
    weight, first = (1 / 32 if setting["dead"] else 0.0), True

    def step(batch: Tensor) -> None:
        nonlocal first
        if first:
            coder.b_dec.data.copy_(batch.mean(0))
            first = False
        coder.set_decoder_norm_to_unit_norm()
        with autocast(setting):
            out = coder(batch, dead_mask=since > 10_000_000 if weight else None)
        fired = torch.zeros_like(since, dtype=torch.bool)
        fired[out.latent_indices.flatten()] = True
        (out.fvu + weight * out.auxk_loss).backward()
        coder.remove_gradient_parallel_to_decoder_directions()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        since.add_(len(batch))
        since[fired] = 0

    def run(batch: Tensor) -> Codes:
        out = coder(batch)
        return out.sae_out, out.latent_indices[out.latent_acts > 0]

    def code(batch: Tensor) -> Tensor:
        values, indices, _ = coder.encode(batch)
        return torch.zeros(len(batch), setting["features"]).scatter(1, indices, values)

    def silence(places: Tensor) -> None:
        since[places] = LONG

    return Contender(step, code, lambda: (run, ""), coder.encoder.bias, silence)


# --- one run ---------------------------------------------------------------------------------------------------------

LIBRARIES = {"saelens": saelens, "dictionary_learning": dictionary_learning, "sparsify": sparsify}


def say(**line: Any) -> None:
    """One line of JSON for whoever started this."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def batches(x: np.ndarray, size: int, seed: int) -> Iterator[Tensor]:
    """Batches in random order, epoch after epoch."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(x))
        for first in range(0, len(x) - size + 1, size):
            yield torch.from_numpy(np.ascontiguousarray(x[np.sort(order[first : first + size])], dtype=np.float32))


def bury(made: Contender, share: float) -> None:
    """Make that share of the features dead: below every score, and counted as long silent."""
    if not share or made.bias is None:
        return
    places = torch.arange(round(share * len(made.bias)))
    with torch.no_grad():
        made.bias[places] = BURIED
    if made.silence is not None:
        made.silence(places)


def train(made: Contender, source: Iterator[Tensor], setting: dict[str, Any]) -> tuple[list[float], list[float]]:
    """Seconds and L0 of every step. A coefficient that has no wanted L0 of its own is led to one, off the clock."""
    spent: list[float] = []
    l0s: list[float] = []
    led = 0.0
    for i in range(setting["steps"]):
        batch = next(source)
        began = time.perf_counter()
        made.step(batch)
        spent.append(time.perf_counter() - began)
        if made.lead is not None or setting["windows"]:
            with torch.no_grad():
                l0s.append(float((made.code(batch[:PROBE]) != 0).sum()) / min(PROBE, len(batch)))
        if made.lead is not None:
            error = max(-1.0, min(1.0, math.log(max(l0s[-1], 0.1) / setting["k"])))
            made.lead(math.exp(GAIN * error + PROPORTION * (error - led)))
            led = error
        say(step=i + 1, of=setting["steps"])
    return spent, l0s


def timings(spent: list[float], l0s: list[float], windows: dict[str, list[int]]) -> dict[str, dict[str, float]]:
    """Of each window of steps the median seconds, and the mean L0."""
    return {
        name: {"median": float(np.median(spent[first:last])), "l0": float(np.mean(l0s[first:last]))}
        for name, (first, last) in windows.items()
    }


def judged(run: Callable[[Tensor], Codes], x: np.ndarray, features: int, rows: int = 2048) -> dict[str, Any]:
    """FVU (None where it is not finite), L0 and the share of features that are silent, on these rows."""
    left, entries, alive = 0.0, 0, torch.zeros(features, dtype=torch.bool)
    for first in range(0, len(x), rows):
        part = torch.from_numpy(np.array(x[first : first + rows], dtype=np.float32))
        with torch.no_grad():
            made, active = run(part)
        left += float((part - made).double().square().sum())
        entries += len(active)
        alive[active.long()] = True
    whole = float(np.var(x, axis=0, dtype=np.float64).sum()) * len(x)
    fvu = left / whole if math.isfinite(left) else None
    return {"fvu": fvu, "l0": entries / len(x), "dead": 1 - float(alive.float().mean())}


def main(name: str, path: str, setting: dict[str, Any]) -> None:
    """Train, time and judge.

    SETTING: ``features``, ``k``, ``batch``, ``steps``, ``rate``, ``seed``, ``autocast``, ``threads`` (0: as it is),
    ``dead`` (share of features made dead at the start), ``rows`` (that are trained on, the first of the file),
    ``held_out`` (the last, judged; 0: nothing is), ``windows`` (name: [first step, last]).
    """
    library, kind = name.split(":")
    torch.manual_seed(setting["seed"])
    if setting["threads"]:
        torch.set_num_threads(setting["threads"])
    held = np.load(path, mmap_mode="r")
    made = LIBRARIES[library](setting, held.shape[1], kind)
    bury(made, setting["dead"])
    source = batches(held[: setting["rows"]], setting["batch"], setting["seed"])
    began = time.perf_counter()
    spent, l0s = train(made, source, setting)
    result: dict[str, Any] = {
        "windows": timings(spent, l0s, setting["windows"]),
        "seconds": sum(spent),
        "elapsed": time.perf_counter() - began,
        "finite": made.bias is None or bool(torch.isfinite(made.bias).all()),
    }
    if setting["held_out"]:
        run, remark = made.infer()
        held_out = held[-setting["held_out"] :]
        result |= {**judged(run, held_out, setting["features"]), "remark": remark}
        if made.select is not None:
            result["by_selection"] = judged(made.select, held_out, setting["features"])
    say(result=result)


def check() -> None:
    """The versions of torch and of the libraries that are installed."""
    found: dict[str, str | None] = {"torch": torch.__version__}
    for library, package in PACKAGES.items():
        try:
            found[library] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[library] = None
    say(result=found)


if __name__ == "__main__":
    if sys.argv[1] == "check":
        check()
    else:
        main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
