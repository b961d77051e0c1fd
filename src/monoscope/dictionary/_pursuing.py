"""What dictionaries share that have no encoder: each row's code is searched for, by what features read.

In an autoencoder a feature reads along what it writes. A transcoder, which reads one site and writes into another, is
``untied``: it reads along rows of ``w_enc``, unit vectors, what is beyond ``b_in``; an amount found there is multiplied
by the feature's ``gain``, so that codes are in units of what is written, as with any dictionary.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from monoscope.dictionary.base import Dictionary, some
from monoscope.errors import MonoscopeError
from monoscope.ops import pursuit
from monoscope.types import Code


class Pursuing(Dictionary):
    """A dictionary with ``k``, the number of active features wanted, and ``untied``.

    Without being told, it is untied where its shape says that another site is written into.

    Raises:
        MonoscopeError: there are not so many features, or another site is written into and it is not to be untied.
    """

    settings: ClassVar[dict[str, type]] = {"k": int, "untied": bool}
    own_encoder: ClassVar[bool] = False
    gain: Tensor

    def __init__(
        self,
        d_in: int,
        n_features: int,
        d_out: int | None = None,
        *,
        k: int = 32,
        untied: bool | None = None,
        skip: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(d_in, n_features, d_out, skip=skip, **options)
        k = some(k, n_features)
        elsewhere = skip or self.d_in != self.d_out
        if elsewhere and untied is False:
            raise MonoscopeError(
                f"a {self.architecture} dictionary that reads along what it writes can only reconstruct what it reads",
                fix="leave out untied, or target and skip",
            )
        untied = elsewhere if untied is None else untied
        self.k, self.untied = k, bool(untied)
        if untied:
            self.w_enc = nn.Parameter(torch.zeros(n_features, d_in))
            self.b_in = nn.Parameter(torch.zeros(d_in))
            self.register_buffer("gain", torch.ones(n_features))

    @property
    def atoms(self) -> Float[Tensor, "n_features d_in"]:
        """What a row is explained by: unit vectors, in the rows' own fp32."""
        return (self.w_enc if self.untied else self.w_dec).float()

    @property
    def middle(self) -> Float[Tensor, " d_in"]:
        """What is taken off a row before it is explained."""
        return (self.b_in if self.untied else self.b_dec).float()

    def make_ready(self) -> None:
        """As of any dictionary; what is kept is a Gram matrix of all atoms, two bytes for each pair of features."""
        pursuit.keep(self.atoms)

    def options(self) -> dict[str, Any]:
        """``untied`` where it is, so that dictionaries of before there was such an option are the same as ever."""
        return {name: value for name, value in super().options().items() if name != "untied" or value}

    def measured(self, code: Code) -> Code:
        """A code of amounts along ``atoms``, in units of what is written."""
        if not self.untied:
            return code
        values = code.values * self.gain[code.indices.long()].float()
        return Code(code.indices, values, code.offsets, code.n_features)

    def fold(self) -> None:
        """Give what an untied dictionary writes unit length, and its amounts that length."""
        if self.untied:
            with torch.no_grad():
                norms = self.w_dec.norm(dim=1).clamp_min(1e-12)
                self.w_dec.div_(norms[:, None])
                self.gain.mul_(norms)

    @abstractmethod
    def stretch(self, s: float) -> None:
        """Multiply the lengths at which a search ends."""

    def scale(self, s: float) -> None:
        """Pursuit is homogeneous."""
        with torch.no_grad():
            self.b_dec.mul_(s)
            if self.untied:
                self.b_in.mul_(s)
        self.stretch(s)

    def scale_input(self, s: float) -> None:
        """Amounts grow with the rows, and codes do not."""
        with torch.no_grad():
            self.gain.div_(s)
            self.b_in.mul_(s)
            if self.w_skip is not None:
                self.w_skip.div_(s)
        self.stretch(s)

    def shift(self, mean_in: Float[Tensor, " d_in"], mean_out: Float[Tensor, " d_out"]) -> None:
        """What is taken off before the search is, unless ``untied``, what is added after it."""
        with torch.no_grad():
            self.b_dec.add_(mean_out)
            if self.untied:
                self.b_in.add_(mean_in)
            if self.w_skip is not None:
                self.b_dec.sub_(self.w_skip @ mean_in)
