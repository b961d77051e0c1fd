"""Taps: reading and writing tensors inside a forward pass with plain hooks, and cutting the pass short.

The pass ends at the hook that reads the last tensor asked for, by an exception that never leaves this file: an
arbitrary model is cut without being rebuilt. Every hook is removed whatever happens.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from monoscope.errors import MonoscopeError

Write = Callable[[Tensor], Tensor]
Ear = Callable[[Tensor], None]


@dataclass(frozen=True)
class Place:
    """A tensor of the forward pass: what goes into (``"in"``) or comes out of (``"out"``) the module at ``path``.

    ``shared`` marks an input that its caller keeps as the residual stream too: a write must reach both, so it goes
    into the tensor itself. The empty path is the model as a whole; what comes out of it are its logits.
    """

    path: str
    side: Literal["in", "out"]
    shared: bool = False


class _Cut(BaseException):
    """Everything asked for was read. Not an ``Exception``, so that no ``except Exception`` of a model keeps it."""


def _input_key(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int | str | None:
    """Where a module's input is: its first argument, else ``hidden_states``, else the first tensor by keyword."""
    if args:
        return 0
    if "hidden_states" in kwargs:
        return "hidden_states"
    return next((key for key, value in kwargs.items() if isinstance(value, Tensor)), None)


def _output_key(output: Any) -> int | str | None:
    """Where the tensor is in an output that is not one: first of a tuple, logits or hidden state of a mapping."""
    if isinstance(output, Mapping):
        return next((key for key in ("logits", "last_hidden_state") if key in output), None)
    return 0 if isinstance(output, tuple | list) and output else None


class _Pass:
    """One forward pass: what is still to be read, what was read, and what is to be written."""

    def __init__(
        self, shape: tuple[int, int], reads: Mapping[str, Place], writes: Mapping[str, tuple[Place, Write]]
    ) -> None:
        self.shape = shape
        self.waiting: dict[Place, list[str]] = {}
        for name, place in reads.items():
            self.waiting.setdefault(place, []).append(name)
        self.writes: dict[Place, list[tuple[str, Write]]] = {}
        for name, (place, function) in writes.items():
            self.writes.setdefault(place, []).append((name, function))
        self.found: dict[str, Tensor] = {}
        self.written: set[str] = set()

    def attach(self, model: nn.Module, handles: list[RemovableHandle]) -> None:
        """Hook every place; each hook's handle joins ``handles`` at once, so that none is lost to an error."""
        for place in sorted(
            self.places, key=lambda p: not p.shared
        ):  # the stream first, then what one module sees of it
            module = model.get_submodule(place.path)
            if place.side == "in":
                handles.append(module.register_forward_pre_hook(self._before(place), with_kwargs=True))
            else:
                handles.append(module.register_forward_hook(self._after(place)))

    @property
    def places(self) -> Iterable[Place]:
        """Every place, once."""
        return dict.fromkeys([*self.waiting, *self.writes])

    def _before(self, place: Place) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            key = _input_key(args, kwargs)
            old = args[0] if key == 0 else kwargs[key] if isinstance(key, str) else None
            new = self.visit(place, old)
            if new is old:
                return None
            return ((new, *args[1:]), kwargs) if key == 0 else (args, {**kwargs, str(key): new})

        return hook

    def _after(self, place: Place) -> Callable[..., Any]:
        def hook(module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
            if isinstance(output, Tensor):
                return self.visit(place, output)
            key = _output_key(output)
            old = None if key is None else output[key]
            new = self.visit(place, old)
            if new is old:
                return None
            if isinstance(output, Mapping):
                output[key] = new  # type: ignore[index]
                return output
            return type(output)((new, *output[1:]))

        return hook

    def visit(self, place: Place, value: Any) -> Any:
        """Write what is to be written here, then note what is to be read; cut when nothing is left to read."""
        names = self.waiting.pop(place, [])
        functions = self.writes.get(place, [])
        if not names and not functions:
            return value
        tensor = self._by_token(value, names[0] if names else functions[0][0])
        for name, function in functions:
            tensor = _written(name, function, tensor, place.shared)
            self.written.add(name)
        for name in names:
            self.found[name] = tensor
        if names and not self.waiting:
            raise _Cut
        return tensor.reshape(value.shape) if functions else value

    def _by_token(self, value: Any, name: str) -> Tensor:
        """The tensor as (windows, context, width); some models flatten the first two."""
        if isinstance(value, Tensor) and value.is_floating_point():
            if value.ndim == 3 and tuple(value.shape[:2]) == self.shape:
                return value
            if value.ndim == 2 and len(value) == self.shape[0] * self.shape[1]:
                return value.view(*self.shape, -1)
        held = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise MonoscopeError(
            f"{name} does not hold one vector a token: it holds {held}",
            fix=f"name a site whose tensor is ({self.shape[0]}, {self.shape[1]}, width)",
        )


class _Ears(_Pass):
    """Functions that are told the tensors of places, in every pass."""

    def __init__(self, ears: Iterable[tuple[str, Place, Ear]]) -> None:
        super().__init__((0, 0), {}, {})
        self.ears: dict[Place, list[tuple[str, Ear]]] = {}
        for name, place, ear in ears:
            self.ears.setdefault(place, []).append((name, ear))

    @property
    def places(self) -> Iterable[Place]:
        return self.ears

    def visit(self, place: Place, value: Any) -> Any:
        for name, ear in self.ears[place]:
            ear(self._by_token(value, name))
        return value


def _written(name: str, function: Write, old: Tensor, shared: bool) -> Tensor:
    """What a write function makes of a tensor, checked; a shared tensor is overwritten where it is."""
    given = (
        old.clone() if shared else old
    )  # autograd may keep what the function saw, so it never sees what we overwrite
    version = None if given.is_inference() else given._version
    new = function(given)
    if not isinstance(new, Tensor) or new.shape != old.shape:
        made = tuple(new.shape) if isinstance(new, Tensor) else type(new).__name__
        raise MonoscopeError(
            f"the write to {name} returned {made} for a tensor of {tuple(old.shape)}",
            fix="return a tensor of the same shape",
        )
    if version is not None and given._version != version:
        raise MonoscopeError(
            f"the write to {name} changed its input in place, which others may hold", fix="return a new tensor"
        )
    if not shared:
        return new.to(device=old.device, dtype=old.dtype)
    return old.copy_(new)


def forward(
    model: nn.Module,
    inputs: Mapping[str, Any],
    shape: tuple[int, int],
    reads: Mapping[str, Place],
    writes: Mapping[str, tuple[Place, Write]],
) -> dict[str, Tensor]:
    """Run ``model(**inputs)`` with writes applied, up to the last read.

    A tensor both written and read is read as written. A module called several times is read at its first call.

    Args:
        model: the module to run; the paths of all places exist in it.
        inputs: its keyword arguments.
        shape: (windows, context), which every tensor read or written must begin with.
        reads: a place by name.
        writes: a place and a function by name; functions of one place apply in order.

    Returns:
        The tensors read, by name; not copies.

    Raises:
        MonoscopeError: a place was never reached or holds no vector a token; a write returned another shape.
    """
    taps = _Pass(shape, reads, writes)
    handles: list[RemovableHandle] = []
    try:
        taps.attach(model, handles)
        model(**inputs)
        whole = True
    except _Cut:
        whole = False
    finally:
        for handle in handles:
            handle.remove()
    unreached = [*reads.keys() - taps.found.keys(), *(writes.keys() - taps.written if whole else ())]
    if unreached:
        raise MonoscopeError(
            f"the forward pass never reaches {', '.join(sorted(unreached))}",
            fix="name a module that the model calls; lists of layers are never called themselves",
        )
    return taps.found


@contextmanager
def hold(
    model: nn.Module,
    writes: Mapping[str, tuple[Place, Write]],
    began: Callable[[tuple[int, int], Mapping[str, Any]], None],
) -> Iterator[None]:
    """Apply writes in every forward pass of ``model`` while the block runs, whoever calls it: ``generate`` does often.

    Args:
        model: the module; the paths of all places exist in it.
        writes: a place and a function by name; functions of one place apply in order.
        began: told at the start of every pass its shape (windows, tokens) and the arguments it was given, by name.
    """
    taps = _Pass((0, 0), {}, writes)
    handles = [_told_of_passes(model, taps, began)]
    try:
        taps.attach(model, handles)
        yield
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def listen(
    model: nn.Module,
    ears: Sequence[tuple[str, Place, Ear, bool]],
    began: Callable[[tuple[int, int], Mapping[str, Any]], None],
    ended: Callable[[], None],
) -> Iterator[None]:
    """Hear tensors in every forward pass of ``model`` while the block runs. Nothing is changed.

    Whoever else writes, and whenever they began, an ear hears what they leave at its place, or what they find there.

    Args:
        model: the module; the paths of all places exist in it.
        ears: a name, a place, what is told its tensor, and whether that is before others write there.
        began: told at the start of every pass its shape (windows, tokens) and the arguments it was given, by name.
        ended: called when a pass is through.
    """
    first, last = (_Ears(ear[:3] for ear in ears if ear[3] is before) for before in (True, False))
    early: list[RemovableHandle] = []
    late: list[RemovableHandle] = []

    def begin(shape: tuple[int, int], inputs: Mapping[str, Any]) -> None:
        first.shape = last.shape = shape
        _move(early, last=False)
        _move(late, last=True)
        began(shape, inputs)

    handles = [_told_of_passes(model, first, begin)]
    try:
        first.attach(model, early)
        last.attach(model, late)
        late.append(model.register_forward_hook(lambda module, args, output: ended()))
        yield
    finally:
        for handle in [*handles, *early, *late]:
            handle.remove()


def _move(handles: list[RemovableHandle], last: bool) -> None:
    """Put hooks behind, or before, all others of their modules."""
    for handle in handles:
        hooks = handle.hooks_dict_ref()
        if hooks is not None and next(reversed(hooks) if last else iter(hooks)) != handle.id:
            hooks.move_to_end(handle.id, last=last)


def _told_of_passes(
    model: nn.Module, taps: _Pass, began: Callable[[tuple[int, int], Mapping[str, Any]], None]
) -> RemovableHandle:
    """A hook that tells ``taps`` and ``began`` of every pass as it begins."""
    signature = inspect.signature(model.forward)

    def begin(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given: Mapping[str, Any] = kwargs
        if args:  # to bind them to their names takes longer than all else here
            bound = signature.bind_partial(*args, **kwargs).arguments
            given = {**bound, **bound.pop("kwargs", {})}
        tokens = given.get("input_ids") if given.get("input_ids") is not None else given.get("inputs_embeds")
        if tokens is None:
            raise MonoscopeError("the model was called without input_ids", fix="call it with input_ids by name")
        taps.shape = (int(tokens.shape[0]), int(tokens.shape[1]))
        began(taps.shape, given)

    return model.register_forward_pre_hook(begin, with_kwargs=True)
