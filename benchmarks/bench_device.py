"""Training speed of each architecture on one device, a GPU too, beside the encoder's bare product there.

python benchmarks/bench_device.py [WIDTH FEATURES K BATCH] [--device cuda]
"""

from __future__ import annotations

import argparse
import time

import torch

from monoscope.dictionary.base import architectures
from monoscope.ops import devices, product
from monoscope.train import rows
from monoscope.train.fit import Recipe, known_options
from monoscope.train.loop import normalised


def main(width: int = 512, features: int = 4096, k: int = 32, batch: int = 4096, device: str = "cpu") -> None:
    """Print tokens per second of a training step, the best of several."""
    place = devices.find(device)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4 * batch, width, generator=generator) @ torch.randn(width, width, generator=generator)
    weight, bias = torch.randn(features, width, generator=generator).to(place), torch.zeros(features, device=place)
    dtype, first = product.fastest(place.type), x[:batch].to(place)
    limit = batch / fastest(lambda: bare(first, weight, bias, dtype), place)
    where = f"{torch.get_num_threads()} threads" if place.type == "cpu" else torch.cuda.get_device_name(place)
    print(f"{width} x {features}, k {k}, batch {batch}, {where}, product in {dtype}")
    print(f"{'encoder product alone':24}{limit:12,.0f} tokens/s")
    for name in architectures():
        options = {"k": k, **known_options(name, {"l0": k})}
        data = rows.from_arrays(x, None, batch, None, 0, hold_back=False)
        trainee = Recipe.of(name, features, **options).trainee(data, device=place)
        row, _ = normalised(*data.first(batch), data.units)  # as training does: penalties depend on it
        pair = (row.to(place),) * 2
        speed = batch / fastest(lambda t=trainee, p=pair: t.step(*p, batch, 100 * batch), place)
        print(f"{name:24}{speed:12,.0f} tokens/s  {100 * speed / limit:5.1f} % of the product's limit")


def bare(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, dtype: torch.dtype) -> None:
    """The product and nothing else: on a CPU in blocks that fit its cache, on a device all at once."""
    if x.device.type == "cpu":
        for _, scores in product.blocks(x, weight, bias, dtype):
            scores[0, 0]
    else:
        torch.addmm(bias.to(dtype), x.to(dtype), weight.to(dtype).T)


def fastest(call, device: torch.device, turns: int = 6) -> float:  # type: ignore[no-untyped-def]
    """The least wall time of a call, in seconds, after one that compiles; time is taken when a device has finished."""
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    call()
    took = []
    for _ in range(turns):
        wait()
        began = time.perf_counter()
        call()
        wait()
        took.append(time.perf_counter() - began)
    return min(took)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, metavar="WIDTH FEATURES K BATCH")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    main(*given.sizes, device=given.device)
