"""Our side of the benchmarks, in a process of its own: ``python -m monoscope.app.bench.ours NAME ROWS.npy SETTING``.

``NAME`` is ``monoscope:ARCHITECTURE``, or ``product`` for the fastest way to make the encoder's product. The arguments
and what is printed are those of ``peers/contender``. Speed is taken inside the loop that ``ms.fit`` runs; quality
comes from ``ms.fit`` itself.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor

from monoscope.app.bench import limit
from monoscope.app.bench.peers.contender.judged import judged
from monoscope.app.bench.peers.contender.lines import say
from monoscope.app.bench.peers.contender.run import batches, timings
from monoscope.app.bench.peers.contender.trainer import BURIED, LONG
from monoscope.errors import MonoscopeError
from monoscope.ops import product
from monoscope.train import rows
from monoscope.train.fit import Recipe, fit, known_options
from monoscope.train.loop import train
from monoscope.train.trainee import Trainee
from monoscope.train.transfer import Pair

STEADY = 10_000_000  # tokens after which a feature counts as dead in a long training
PRODUCTS = 6  # times that the bare product is taken before the steps, and again after them


def recipe(name: str, setting: dict[str, Any], **options: Any) -> Recipe:
    """The default recipe with the wanted L0."""
    l0 = known_options(name, {"l0": setting["k"]})
    return Recipe.of(name, setting["features"], k=setting["k"], seed=setting["seed"], **l0, **options)


def speed(name: str, x: np.ndarray, setting: dict[str, Any]) -> dict[str, Any]:
    """Seconds of every step of the training loop, and of the bare product before and after.

    What begins as TopK is timed as what it is, from the first step.
    """
    chosen = recipe(name, setting, **known_options(name, {"dead_after": STEADY, "topk_until": 0.0}))
    n_tokens = setting["steps"] * setting["batch"]
    data = rows.from_arrays(x, None, setting["batch"], n_tokens, setting["seed"], hold_back=chosen.calibrates)
    trainee = chosen.trainee(data)
    bury(trainee, setting["dead"])
    sample, _ = data.first(setting["batch"])
    scored = trainee.dictionary.w_enc if trainee.dictionary.own_encoder else trainee.dictionary.w_dec
    bare = limit.product(sample, scored.detach(), product.fastest(), tuple(setting["blocking"]))
    spent: list[float] = []
    l0s: list[float] = []
    began = 0.0

    def timed(start: int) -> Iterator[Pair]:
        nonlocal began
        for batch in batches(x, setting["batch"], setting["seed"]):
            began = time.perf_counter()
            yield batch, batch

    def tell(seen: int, shown: Mapping[str, Mapping[str, float]]) -> None:
        spent.append(time.perf_counter() - began)
        l0s.append(shown["main"]["l0"])
        say(step=len(spent), of=setting["steps"])

    products = limit.seconds(bare, PRODUCTS)
    train(replace(data, batches=timed), {"main": trainee}, logs=[tell])
    products += limit.seconds(bare, PRODUCTS)
    windows = timings(spent, l0s, setting["windows"])
    return {"windows": windows, "product": float(np.median(products)), "seconds": sum(spent), "finite": True}


def bury(trainee: Trainee, share: float) -> None:
    """Make that share of the features dead: below every score, and counted as long silent.

    Raises:
        MonoscopeError: the architecture has no encoder whose bias could do that.
    """
    if share and not trainee.dictionary.own_encoder:
        raise MonoscopeError(
            f"no feature of {trainee.dictionary.architecture} can be made dead: it has no encoder",
            fix="leave out --dead, or the architecture",
        )
    if share:
        places = torch.arange(round(share * trainee.dictionary.n_features))
        with torch.no_grad():
            trainee.dictionary.b_enc[places] = BURIED
        trainee.objective.silence.tokens[places] = LONG


def quality(name: str, x: np.ndarray, held_out: np.ndarray, setting: dict[str, Any]) -> dict[str, Any]:
    """What ``ms.fit`` reaches, on rows that it did not see; without a ``rate`` it has its default."""
    began, n_tokens = time.perf_counter(), setting["steps"] * setting["batch"]
    options = known_options(name, {"l0": setting["k"]}) | ({} if setting["rate"] is None else {"rate": setting["rate"]})
    made = fit(
        x, setting["features"], name, setting["k"], n_tokens, setting["batch"], setting["seed"], show_progress=False,
        **options,
    )  # fmt: skip
    elapsed = time.perf_counter() - began

    def run(part: Tensor) -> tuple[Tensor, Tensor]:
        code = made.encode(part)
        return made.decode(code, part), code.indices

    return {**judged(run, held_out, setting["features"]), "elapsed": elapsed, "remark": ""}


def blocked(x: np.ndarray, setting: dict[str, Any]) -> dict[str, Any]:
    """The machine's fastest precision, and the fastest blocking of the product in it."""
    batch = torch.from_numpy(np.array(x[: setting["batch"]], dtype=np.float32))
    weight = torch.randn(setting["features"], x.shape[1], generator=torch.Generator().manual_seed(0))
    dtype = product.fastest()
    return {"blocking": limit.fastest(batch, weight, dtype), "dtype": str(dtype).removeprefix("torch.")}


def main(name: str, path: str, setting: dict[str, Any]) -> None:
    """One run; SETTING is as in ``peers/contender``, with ``blocking`` for speed, and ``rate`` may be null."""
    torch.manual_seed(setting["seed"])
    if setting["threads"]:
        torch.set_num_threads(setting["threads"])
        numba.set_num_threads(setting["threads"])
    held = np.load(path, mmap_mode="c")
    x = held[: setting["rows"]]
    if name == "product":
        say(result=blocked(x, setting))
    elif setting["held_out"]:
        say(result=quality(name.split(":")[1], x, held[-setting["held_out"] :], setting))
    else:
        say(result=speed(name.split(":")[1], x, setting))


def answer(main: Callable[[str, str, dict[str, Any]], None]) -> None:
    """Call it with the arguments that were given; what cannot be done is passed on in words."""
    try:
        main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))
    except MonoscopeError as error:
        say(refused=str(error))


if __name__ == "__main__":
    answer(main)
