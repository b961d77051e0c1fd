"""Training speed of each architecture, beside the encoder's bare product in the same precision.

python benchmarks/bench_train.py [WIDTH FEATURES K BATCH]
"""

from __future__ import annotations

import sys
import time

import torch

from monoscope.dictionary.base import architectures
from monoscope.ops import product
from monoscope.train import rows
from monoscope.train.fit import Recipe, known_options
from monoscope.train.loop import normalised


def main(width: int = 512, features: int = 4096, k: int = 32, batch: int = 4096) -> None:
    """Print tokens per second of a training step, the best of several."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4 * batch, width, generator=generator) @ torch.randn(width, width, generator=generator)
    weight, bias = torch.randn(features, width, generator=generator), torch.zeros(features)
    dtype = product.fastest()
    limit = batch / fastest(lambda: [s[0, 0] for _, s in product.blocks(x[:batch], weight, bias, dtype)])
    print(f"{width} x {features}, k {k}, batch {batch}, {torch.get_num_threads()} threads, product in {dtype}")
    print(f"{'encoder product alone':24}{limit:12,.0f} tokens/s")
    for name in architectures():
        options = {"k": k, **known_options(name, {"l0": k})}
        data = rows.from_arrays(x, None, batch, None, 0, hold_back=False)
        trainee = Recipe.of(name, features, **options).trainee(data)
        pair = normalised(*data.first(batch), data.units)  # as training does: penalties depend on it
        speed = batch / fastest(lambda t=trainee, p=pair: t.step(*p, batch, 100 * batch))
        print(f"{name:24}{speed:12,.0f} tokens/s  {100 * speed / limit:5.1f} % of the product's limit")


def fastest(call, turns: int = 6) -> float:  # type: ignore[no-untyped-def]
    """The least wall time of a call, in seconds, after one that compiles."""
    call()
    took = []
    for _ in range(turns):
        began = time.perf_counter()
        call()
        took.append(time.perf_counter() - began)
    return min(took)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
