"""A device that is not there: tensors of the CPU that say they lie elsewhere, and will not be mixed with others.

Work on them is done by the CPU, kernels by Triton's interpreter. So a machine without a device finds what training on
one would trip over: a weight, a mask or a number left behind on the CPU, and every place where the CPU waits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from monoscope.ops import devices

PLACE = torch.device("meta")  # torch knows it, and would itself compute nothing there
WAITS = (
    "aten._local_scalar_dense",
    "aten.nonzero",
    "aten.masked_select",
)  # operations that need a number from a device


class Away(torch.Tensor):
    """A tensor that says it lies at ``PLACE``; ``held`` is where its numbers are."""

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Away:
        return torch.Tensor._make_wrapper_subclass(
            cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(), dtype=held.dtype, device=PLACE
        )

    def __init__(self, held: torch.Tensor) -> None:
        self.held = held

    def tolist(self) -> list[Any]:
        waits["tolist"] += 1
        return self.detach().held.tolist()

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        return _computed(function, args, kwargs or {})


class _Asked(TorchDispatchMode):
    """Sees to it that what is made or moved by naming the device lies there."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        named = (kwargs or {}).get("device")
        if (named is not None and torch.device(named) == PLACE) or any(isinstance(a, Away) for a in args):
            return _computed(function, args, kwargs or {})
        return function(*args, **(kwargs or {}))


waits: Counter[str] = Counter()


def _computed(function: Any, args: Any, kwargs: Any) -> Any:
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    away = [t for t in tensors if isinstance(t, Away)]
    name, named = str(function), kwargs.get("device")
    if any(t.device == PLACE and not isinstance(t, Away) for t in tensors):  # torch makes the places of a list itself
        raise RuntimeError(f"{name} of numbers that are not held: is something indexed by a list, not by a tensor?")
    left_behind = [t for t in tensors if not isinstance(t, Away) and t.ndim]
    if name.startswith(("aten.index.", "aten.index_put")):  # places may come from the CPU
        left_behind = [t for t in left_behind if t.dtype.is_floating_point]
    if away and left_behind and not name.startswith(("aten._to_copy", "aten.copy_")):
        raise RuntimeError(f"{name} of tensors on different devices: {[tuple(t.shape) for t in left_behind]} are here")
    if away and name.startswith(WAITS):
        waits[name] += 1
    here = {"device": torch.device("cpu")} if named is not None else {}
    made = function(*tree_map(_held, args), **{**tree_map(_held, kwargs), **here})
    if function._schema.name.endswith("_"):
        return args[0]
    if "out" in kwargs:
        return kwargs["out"]
    stays = torch.device(named) == PLACE if named is not None else bool(away)
    return tree_map(lambda t: Away(t) if isinstance(t, torch.Tensor) else t, made) if stays else made


def _held(value: Any) -> Any:
    return value.held if isinstance(value, Away) else value


@contextmanager
def there() -> Iterator[Counter[str]]:
    """As long as it lasts, ``PLACE`` is a device that the Triton kernels run on. Counts the waits for it."""
    from monoscope.ops.triton_kernels import adam, nested, reconstruct, select, weighted_rows

    def launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **constants: Any) -> None:
        assert all(isinstance(a, Away) for a in arguments if isinstance(a, torch.Tensor)), kernel
        if min(grid) > 0:
            kernel[grid](*[a.detach().held if isinstance(a, Away) else a for a in arguments], **constants)

    waits.clear()
    with pytest.MonkeyPatch.context() as patch, _Asked():
        for module in (adam, nested, reconstruct, select, weighted_rows):
            patch.setattr(module, "launch", launch)
        patch.setattr(
            devices, "on_cuda", lambda *ts: all(t.device == PLACE and t.dtype in devices.KERNELS_READ for t in ts)
        )
        patch.setattr(torch, "tensor", _tensor(torch.tensor))
        yield waits


def _tensor(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """``torch.tensor``, which no dispatch sees."""

    def tensor(data: Any, *, device: Any = None, **how: Any) -> torch.Tensor:
        made = make(data, **how)
        return Away(made) if device is not None and torch.device(device) == PLACE else made

    return tensor
