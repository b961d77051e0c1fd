"""What is made of weights once, where they will not change any more, and kept for as long as these live."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

T = TypeVar("T")


class _Kept(NamedTuple):
    made: object
    others: tuple[Tensor, ...]  # the very tensors that it was made of, besides the first
    versions: tuple[int, ...]


class Unchanging(Generic[T]):
    """What was made of some tensors on the CPU, found again by these.

    A change in place is noticed by torch's count of them; one of ``.data``, or through NumPy, is not.
    """

    def __init__(self) -> None:
        """Hold nothing."""
        self._kept = WeakTensorKeyDictionary()

    def put(self, made: T, first: Tensor, *others: Tensor) -> None:
        """Keep what was made of these tensors while ``first`` lives. Of inference tensors, which count no changes,
        nothing is kept.
        """
        if not any(t.is_inference() for t in (first, *others)):
            self._kept[first] = _Kept(made, others, _versions(first, *others))

    def find(self, first: Tensor, *others: Tensor) -> T | None:
        """What was made of these very tensors; None where it was not, or where one has changed since."""
        kept = self._kept.get(first)
        if kept is None or any(a is not b for a, b in zip(kept.others, others, strict=True)):
            return None
        return kept.made if kept.versions == _versions(first, *others) else None

    def drop(self, first: Tensor) -> None:
        """Forget what was made of it."""
        self._kept.pop(first, None)


def _versions(*tensors: Tensor) -> tuple[int, ...]:
    return tuple(t._version for t in tensors)
