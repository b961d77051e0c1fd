"""Compiles every Triton kernel to machine code for two kinds of device, with the arguments that its callers give it.

The operations are called with ``launch`` replaced by what notes its arguments. Prints what was made, as JSON. With
``--tiny`` also for sizes of 1, which Triton takes for constants.
"""

from __future__ import annotations

import importlib
import json
import sys
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from monoscope.ops import adam, devices, nested, reconstruct, select, transpose, triton_kernels, weighted_rows
from monoscope.types import Code

TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int32: "*i32", torch.int64: "*i64"}


def made(kernel: Any, arguments: tuple[Any, ...], constants: dict[str, Any], capability: int) -> dict[str, Any]:
    """One kernel, compiled as Triton would for this call: 1 is a constant, tensors and multiples of 16 are aligned."""
    signature: dict[str, str] = {}
    known: dict[tuple[int], Any] = {}
    aligned: dict[tuple[int], Any] = {}
    for i, (name, value) in enumerate(zip(kernel.arg_names, arguments, strict=False)):
        is_tensor = isinstance(value, torch.Tensor)
        signature[name] = TYPES[value.dtype] if is_tensor else "fp32" if isinstance(value, float) else "i32"
        if isinstance(value, int) and value == 1:
            signature[name], known[(i,)] = "constexpr", 1
        elif is_tensor or (isinstance(value, int) and value % 16 == 0):
            aligned[(i,)] = [["tt.divisibility", 16]]
    for i, name in enumerate(kernel.arg_names):
        if name in constants:
            signature[name], known[(i,)] = "constexpr", constants[name]
    options = {name: constants[name] for name in ("num_warps", "num_stages") if name in constants}
    target = GPUTarget("cuda", capability, 32)
    done = compile(ASTSource(kernel, signature, known, aligned), target=target, options=options)
    return {"name": kernel.__name__, "capability": capability, "shared": done.metadata.shared}


def call_all(n: int, n_features: int, d: int, k: int) -> None:
    """Every operation once, as a training step of every kind calls it."""
    weight, bias = torch.randn(n_features, d, requires_grad=True), torch.zeros(n_features)
    x, fixed = torch.randn(n, d), weight.detach()
    code = Code.from_dense((torch.rand(n, n_features) > 0.95).float())
    by = transpose.transpose(code)
    weighted_rows.gather(code, fixed)
    weighted_rows.dots(code, x, fixed)
    reconstruct.squared_error(x, x, (weight, bias, weight, torch.zeros(d)), code, by)[0].backward()
    stages = torch.zeros(len(code.values), dtype=torch.long)
    nested.squared(x, code.values, weight, torch.zeros(d), code, by, stages, 3)[0].backward()
    for unit_rows in (False, True):
        adam.adam(fixed, fixed, fixed, fixed, step=1, rate=0.1, betas=(0.9, 0.999), scale=1.0, unit_rows=unit_rows)
    select.topk(x, fixed, bias, k, torch.bfloat16)


def main() -> None:
    """Note the calls, then compile what they start."""
    calls: dict[tuple[Any, ...], tuple[Any, tuple[Any, ...], dict[str, Any]]] = {}

    def note(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
        kinds = tuple(TYPES[a.dtype] if isinstance(a, torch.Tensor) else type(a) for a in arguments)
        tiny = any(isinstance(a, int) and a == 1 for a in arguments)
        calls[(kernel.__name__, tiny, kinds, tuple(constants.items()))] = kernel, arguments, constants

    for name in ("adam", "nested", "reconstruct", "select", "weighted_rows"):
        importlib.import_module(f"{triton_kernels.__name__}.{name}").launch = note
    devices.on_cuda = lambda *tensors: True
    call_all(32, 2048, 768, 8)
    if "--tiny" in sys.argv:
        call_all(1, 16, 1, 1)
    sys.stdout.write(json.dumps([made(*call, capability) for capability in (80, 90) for call in calls.values()]))


if __name__ == "__main__":
    main()
