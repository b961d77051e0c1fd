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
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

PACKAGES = {"saelens": "sae-lens", "dictionary_learning": "dictionary-learning", "sparsify": "eai-sparsify"}
PROBE = 256  # rows on which the L0 is watched
BURIED = -100.0  # an encoder bias below every score
LONG = 1 << 40  # tokens or steps of silence that count as dead everywhere
GAIN, PROPORTION = 0.1, 1.0  # of leading a penalty's coefficient to a wanted L0
KEEP_EVERY = 300.0  # seconds of training that a power cut may cost

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
    parts: tuple[object, ...] = ()  # what holds all that training changes


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
    parts = (trainer, *trainer.coefficient_schedulers.values())
    return Contender(step, sae.encode, infer, bias, silence, led, select, parts)


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
    trainer, at = dictionary_learning_trainer(kind, width, setting), SimpleNamespace(step=0)
    ae = trainer.ae

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
    weight, at = (1 / 32 if setting["dead"] else 0.0), SimpleNamespace(first=True)
    parts = (at, SimpleNamespace(coder=coder, optimiser=optimiser, schedule=schedule, since=since))

    def step(batch: Tensor) -> None:
        if at.first:
            coder.b_dec.data.copy_(batch.mean(0))
            at.first = False
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

    return Contender(step, code, lambda: (run, ""), coder.encoder.bias, silence, parts=parts)


# --- one run ---------------------------------------------------------------------------------------------------------

LIBRARIES = {"saelens": saelens, "dictionary_learning": dictionary_learning, "sparsify": sparsify}


def say(**line: Any) -> None:
    """One line of JSON for whoever started this."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def refuse(why: str) -> NoReturn:
    """End, with words for whoever started this."""
    say(refused=why)
    sys.exit(1)


def batches(x: np.ndarray, size: int, seed: int, skipped: int = 0) -> Iterator[Tensor]:
    """Batches in random order, epoch after epoch, without the first ``skipped``."""
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(x))
        for first in range(0, len(x) - size + 1, size):
            skipped -= 1
            if skipped < 0:
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


@dataclass
class Progress:
    """How far a training is."""

    steps: int = 0
    led: float = 0.0  # what a coefficient was last led by
    elapsed: float = 0.0  # seconds, of reading rows too
    spent: list[float] = field(default_factory=list)  # seconds of every step
    l0s: list[float] = field(default_factory=list)


def state(part: object) -> dict[str, Any]:
    """The tensors and numbers of a library's object, and the state of its modules and optimisers."""
    held: dict[str, Any] = {}
    modules = getattr(part, "_modules", {})  # where a trainer is itself a module
    for name, value in {**vars(part), **modules}.items():
        if hasattr(value, "load_state_dict"):
            held[name] = value.state_dict()
        elif isinstance(value, Tensor):
            held[name] = value.detach()
        elif isinstance(value, (int, float, list)):
            held[name] = value
    return held


def restore(part: object, held: dict[str, Any]) -> None:
    """Put back what ``state`` found."""
    for name, value in held.items():
        now: Any = getattr(part, name, None)  # a loss, say, is not there before the first step
        if hasattr(now, "load_state_dict"):
            now.load_state_dict(value)
        elif isinstance(now, Tensor) and isinstance(value, Tensor):
            now.data.copy_(value)
        else:
            setattr(part, name, value)


class Kept:
    """The file that holds a training which is under way, so that hours of it are not lost; without a path: none."""

    def __init__(self, path: str | None, facts: dict[str, Any]) -> None:
        self.path, self.facts, self.written = Path(path) if path else None, facts, time.monotonic()

    def begin(self, made: Contender) -> Progress:
        """Go on with what the file has, or at the start where there is none."""
        if self.path is None or not self.path.is_file():
            return Progress()
        try:
            held = torch.load(self.path, weights_only=True)
        except Exception as error:
            refuse(f"{self.path} cannot be read: {error}; delete it to train anew")
        if held["facts"] != self.facts:
            refuse(f"{self.path} is of {held['facts']}, not of {self.facts}; delete it to train anew")
        for part, saved in zip(made.parts, held["parts"], strict=True):
            restore(part, saved)
        torch.set_rng_state(held["random"])
        return Progress(**held["progress"])

    def write(self, made: Contender, at: Progress, *, now: bool = False) -> None:
        """Write the file, where it is time."""
        if self.path is None or not (now or time.monotonic() > self.written + KEEP_EVERY):
            return
        held = {"facts": self.facts, "parts": [state(part) for part in made.parts], "progress": asdict(at)}
        partial = self.path.with_name(f"{self.path.name}.partial")
        torch.save({**held, "random": torch.get_rng_state()}, partial)
        partial.replace(self.path)
        self.written = time.monotonic()


@contextlib.contextmanager
def interruptions() -> Iterator[list[int]]:
    """Signals to stop, noted instead of followed, so that a step is not left half done."""
    noted: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        noted.append(number)

    before = {s: signal.signal(s, note) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def train(made: Contender, x: np.ndarray, setting: dict[str, Any], kept: Kept) -> Progress:
    """Step through the batches, from where it stopped."""
    at = kept.begin(made)
    for _ in range(at.steps):
        say(step=1, of=setting["steps"])
    source = batches(x, setting["batch"], setting["seed"], at.steps)
    with interruptions() as noted:
        while at.steps < setting["steps"]:
            began = time.perf_counter()
            advance(made, next(source), setting, at)
            at.elapsed += time.perf_counter() - began
            kept.write(made, at, now=bool(noted))
            if noted:
                refuse(f"stopped after {at.steps} of {setting['steps']} steps; the same command goes on from there")
            say(step=at.steps, of=setting["steps"])
    return at


def advance(made: Contender, batch: Tensor, setting: dict[str, Any], at: Progress) -> None:
    """One step, timed. A coefficient that has no wanted L0 of its own is led to one, off the clock."""
    began = time.perf_counter()
    made.step(batch)
    at.spent.append(time.perf_counter() - began)
    at.steps += 1
    if made.lead is not None or setting["windows"]:
        with torch.no_grad():
            at.l0s.append(float((made.code(batch[:PROBE]) != 0).sum()) / min(PROBE, len(batch)))
    if made.lead is not None:
        error = max(-1.0, min(1.0, math.log(max(at.l0s[-1], 0.1) / setting["k"])))
        made.lead(math.exp(GAIN * error + PROPORTION * (error - at.led)))
        at.led = error


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
    ``held_out`` (the last, judged; 0: nothing is), ``windows`` (name: [first step, last]), and where a training is long
    ``kept``: the file that holds it while it is under way, which is whoever's that started this to delete.
    """
    library, kind = name.split(":")
    torch.manual_seed(setting["seed"])
    if setting["threads"]:
        torch.set_num_threads(setting["threads"])
    held = np.load(path, mmap_mode="r")
    made = LIBRARIES[library](setting, held.shape[1], kind)
    bury(made, setting["dead"])
    path_kept = setting.pop("kept", None)
    kept = Kept(path_kept, {"contender": name, "versions": versions(library), "setting": setting})
    at = train(made, held[: setting["rows"]], setting, kept)
    result: dict[str, Any] = {
        "windows": timings(at.spent, at.l0s, setting["windows"]),
        "seconds": sum(at.spent),
        "elapsed": at.elapsed,
        "finite": made.bias is None or bool(torch.isfinite(made.bias).all()),
    }
    if setting["held_out"]:
        run, remark = made.infer()
        held_out = held[-setting["held_out"] :]
        result |= {**judged(run, held_out, setting["features"]), "remark": remark}
        if made.select is not None:
            result["by_selection"] = judged(made.select, held_out, setting["features"])
    say(result=result)


def versions(*libraries: str) -> dict[str, str | None]:
    """The versions of torch and of the libraries; None of one that is not installed."""
    found: dict[str, str | None] = {"torch": str(torch.__version__)}
    for library in libraries:
        try:
            found[library] = metadata.version(PACKAGES[library])
        except metadata.PackageNotFoundError:
            found[library] = None
    return found


if __name__ == "__main__":
    if sys.argv[1] == "check":
        say(result=versions(*PACKAGES))
    else:
        main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
