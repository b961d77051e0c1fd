"""What every dictionary is: an encoder, a decoder, and where they belong.

A file of this folder that holds a ``class Architecture(Dictionary)`` is an architecture; its name is the file's. SAE
and transcoder differ in data (the target is the input, or is not), not in class; a skip transcoder (Paulo et al. 2025,
arXiv 2501.18823) is any of them with ``skip=True``, a dictionary that normalises each row by itself, as those of Gao et
al. 2024 (arXiv 2406.04093) do, any with ``row_norm=True``, one that only takes its own mean off each row any with
``row_mean=True``.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from monoscope import notebook, plugins
from monoscope.dictionary import PACKAGE as PACKAGE
from monoscope.dictionary import architectures as architectures
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.ops import encode, weighted_rows
from monoscope.ops.encode import Gates
from monoscope.ops.row_norm import centred, normed
from monoscope.types import Code, as_tensor

NOWHERE = ("unknown", "another array")  # a transcoder's target in its provenance, where no site is known
ALWAYS: dict[str, type] = {"skip": bool, "row_norm": bool, "row_mean": bool}  # options that every architecture has
SHOWN = ("source", "model", "site", "hook", "target", "text", "n_tokens", "seed")  # of the provenance, in a notebook


class Dictionary(nn.Module):
    """Features as rows: ``w_enc`` and ``b_enc`` say when each is active, ``w_dec`` what it writes, ``b_dec`` the rest.

    ``encode`` is row-wise by law: a row's code does not depend on its neighbours. Biases and weights are in the model's
    own units; whatever training normalised has been folded in. Only what differs from row to row cannot be: with
    ``row_norm`` biases and thresholds are those of normalised rows, while codes and directions are in the model's units
    as ever.

    Args:
        d_in: width of what is encoded.
        n_features: number of features.
        d_out: width of what is decoded; ``d_in`` by default.
        skip: whether ``x @ w_skipᵀ`` is added to the reconstruction, so that features need not explain what is linear.
        row_norm: whether features see ``z = (x − m) / s``, each row less its own mean and by its own spread. A code is
            then ``s`` times that of ``z``, and ``s · b_dec + m`` is added to what it decodes to. Input and output are
            one site.
        row_mean: whether features see ``x − m``, each row less its own mean, which is added to what a code decodes to.
            Such rows are those of a model whose stream was centred. Input and output are one site.
        options: what the architecture needs beyond that, see ``settings``.
    """

    settings: ClassVar[dict[str, type]] = {}
    own_encoder: ClassVar[bool] = True  # False: a code is not made of x @ w_encᵀ + b_enc, but searched for
    objective: ClassVar[str]
    architecture: ClassVar[str]
    w_skip: nn.Parameter | None

    def __init_subclass__(cls) -> None:
        """An architecture is called like its file, or, from elsewhere, by its dotted name."""
        cls.architecture = cls.__module__.removeprefix(f"{PACKAGE}.")

    def __init__(
        self,
        d_in: int,
        n_features: int,
        d_out: int | None = None,
        *,
        skip: bool = False,
        row_norm: bool = False,
        row_mean: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        d_out = d_in if d_out is None else d_out
        if not all(map(is_count, (d_in, n_features, d_out))):
            raise MonoscopeError(
                f"a dictionary of {n_features} features from {d_in} to {d_out} numbers", fix="give whole numbers from 1"
            )
        unknown = set(options) - set(self.settings)
        if unknown:
            raise MonoscopeError(
                f"{self.architecture} has no option {sorted(unknown)[0]!r}",
                fix=f"its options: {', '.join([*self.settings, *ALWAYS])}",
            )
        by_row = "row_norm" if row_norm else "row_mean"
        if (row_norm or row_mean) and (skip or d_in != d_out or d_in < 2):
            raise MonoscopeError(
                "rows that are each normalised by themselves are what is reconstructed, and hold at least two numbers",
                fix=f"leave out {by_row}, or target and skip",
            )
        if row_norm and row_mean:
            raise MonoscopeError("row_norm takes each row's mean off too", fix="leave out row_mean")
        if (row_norm or row_mean) and type(self).encode is not Dictionary.encode:
            raise MonoscopeError(
                f"{self.architecture} encodes rows as they are", fix="write its code_of instead of encode"
            )
        self.row_norm, self.row_mean = bool(row_norm), bool(row_mean)
        self.d_in, self.n_features, self.d_out = int(d_in), int(n_features), int(d_out)
        self.provenance: dict[str, Any] = {}
        if self.own_encoder:
            self.w_enc = nn.Parameter(torch.zeros(self.n_features, self.d_in))
            self.b_enc = nn.Parameter(torch.zeros(self.n_features))
        self.w_dec = nn.Parameter(torch.zeros(self.n_features, self.d_out))
        self.b_dec = nn.Parameter(torch.zeros(self.d_out))
        self.register_parameter("w_skip", nn.Parameter(torch.zeros(self.d_out, self.d_in)) if skip else None)

    @abstractmethod
    def code_of(self, x: Float[Tensor, "n d_in"]) -> Code:
        """What ``encode`` makes of rows that were checked, and normalised where that is asked for."""

    def encode(self, x: Float[Tensor, "n d_in"]) -> Code:
        """The features of each row and how strongly they are active, in the units of ``x``; arrays will do too.

        Raises:
            MonoscopeError: the rows do not fit, see ``check``.
        """
        rows, unit = self.seen(x)
        code = self.code_of(rows)
        return code if unit is None else code.times(unit[:, 0])

    def seen(self, x: Float[Tensor, "n d_in"]) -> tuple[Float[Tensor, "n d_in"], Float[Tensor, "n 1"] | None]:
        """Rows as features see them, checked; and with ``row_norm`` what values found on them are multiplied by."""
        x = self.check(x)
        if self.row_mean:
            return centred(x).rows, None
        if not self.row_norm:
            return x, None
        found = normed(x)
        return found.rows, found.spread

    def gates(self) -> Gates | None:
        """What each feature's value depends on where it does not depend on other features; None where features compete.

        Where there are some, ``code_of(x)`` is ``ops.encode.above(x, *gates)``: some features can be read alone.
        """
        return None

    def make_ready(self) -> None:
        """Make what encoding makes of the weights once: they will not change any more.

        Worth it before many calls of few rows each. What is made lives as long as the weights do.
        """
        if self.own_encoder:
            encode.keep(self.w_enc, self.b_enc)

    @property
    def calibrated(self) -> bool:
        """Whether everything that ``encode`` needs is set; False for a file that came without its threshold."""
        return True

    def options(self) -> dict[str, Any]:
        """The architecture's settings, as they are given to its constructor."""
        always = {"skip": self.w_skip is not None, "row_norm": self.row_norm, "row_mean": self.row_mean}
        return {name: getattr(self, name) for name in self.settings} | {name: True for name in always if always[name]}

    def _repr_html_(self) -> str:
        told = {name: self.provenance[name] for name in SHOWN if self.provenance.get(name) is not None}
        facts = [f"{self.d_in:,} numbers in", f"{self.d_out:,} out"]
        return notebook.card(
            f"{self.architecture.replace('_', ' ')} dictionary, {self.n_features:,} features",
            facts,
            notebook.settings({**self.options(), **told}),
        )

    def decode(self, code: Code, x: Float[Tensor, "n d_in"] | None = None) -> Float[Tensor, "n d_out"]:
        """The reconstruction: active features' directions, weighted and added to ``rest(x)``.

        Args:
            code: of ``n`` rows.
            x: the rows that were encoded; needed where the rest depends on them.

        Raises:
            MonoscopeError: the code is another dictionary's or of other rows, or ``rest`` needs ``x``.
        """
        if not isinstance(code, Code):
            raise MonoscopeError(f"a {type(code).__name__} is no code", fix="pass what encode gave; decode(code, x)")
        if code.n_features != self.n_features:
            raise MonoscopeError(f"a code over {code.n_features} features for a dictionary of {self.n_features}")
        code.check()
        rest = self.rest(x)
        if rest.ndim == 2 and len(rest) != len(code):
            raise MonoscopeError(f"a code of {len(code)} rows, and {len(rest)} rows", fix="pass the rows of the code")
        return weighted_rows.gather(code, self.w_dec.detach()) + rest

    def rest(self, x: Float[Tensor, "n d_in"] | None = None) -> Float[Tensor, "*n d_out"]:
        """What is written besides features: ``b_dec``, or for each row what a skip map or the row's norm makes of it.

        Raises:
            MonoscopeError: there is a skip map, ``row_norm`` or ``row_mean``, and no ``x``.
        """
        bias = self.b_dec.detach()
        if self.w_skip is None and not (self.row_norm or self.row_mean):
            return bias
        if x is None:
            what = "a skip map" if self.w_skip is not None else "normalised rows"
            raise MonoscopeError(
                f"this dictionary has {what}, so a code alone does not say what it reconstructs",
                fix="pass the rows too, decode(code, x), or call the dictionary on them",
            )
        x = self.check(x)
        if self.w_skip is not None:
            return torch.addmm(bias, x, self.w_skip.detach().T)
        if self.row_mean:
            return centred(x).mean + bias
        found = normed(x)
        return torch.addcmul(found.mean, found.spread, bias)

    def forward(self, x: Float[Tensor, "n d_in"]) -> Float[Tensor, "n d_out"]:
        """``decode(encode(x), x)``."""
        return self.decode(self.encode(x), x)

    @property
    def directions(self) -> Float[Tensor, "n_features d_out"]:
        """What each feature writes per unit of its activation, in the model's own units."""
        return self.w_dec.detach()

    def check_features(self, features: Sequence[int]) -> None:
        """Refuse numbers that are no features of this dictionary.

        Raises:
            MonoscopeError: there is such a number.
        """
        wrong = next((f for f in features if not 0 <= f < self.n_features), None)
        if wrong is not None:
            raise MonoscopeError(f"there is no feature {wrong}", fix=f"choose from 0 to {self.n_features - 1}")

    def scale(self, s: float) -> None:
        """Express a dictionary of ``x / s`` in the units of ``x``. All maps are homogeneous: only biases change.

        With ``row_norm`` or ``row_mean``, here and in ``shift``, ``x`` is the normalised row.
        """
        with torch.no_grad():
            self.b_enc.mul_(s)
            self.b_dec.mul_(s)

    def scale_input(self, s: float) -> None:
        """Make a transcoder of ``x / s`` one of ``x``; codes and what is written stay as they are."""
        with torch.no_grad():
            self.w_enc.div_(s)
            if self.w_skip is not None:
                self.w_skip.div_(s)

    def shift(self, mean_in: Float[Tensor, " d_in"], mean_out: Float[Tensor, " d_out"]) -> None:
        """Make a dictionary of ``x - mean_in`` one of ``x``, with ``mean_out`` added to what it decodes."""
        with torch.no_grad():
            self.b_enc.sub_(self.w_enc @ mean_in)
            self.b_dec.add_(mean_out)
            if self.w_skip is not None:
                self.b_dec.sub_(self.w_skip @ mean_in)

    def save(self, path: str | Path, format: str = "monoscope") -> None:
        """Write the dictionary into the folder ``path``; see ``monoscope.dictionary.io.save``."""
        from monoscope.dictionary import io

        io.save(self, path, format)

    def check(self, x: Any) -> Tensor:
        """``x``, a tensor or an array, as fp32 rows.

        Raises:
            MonoscopeError: not ``(n, d_in)``, no real numbers, on another device, or not finite in fp32.
        """
        x = as_tensor(x, "x")
        if x.shape[1] != self.d_in:
            raise MonoscopeError(
                f"activations of shape {tuple(x.shape)} for a dictionary of width {self.d_in}",
                fix=f"pass rows of {self.d_in} numbers; this dictionary is of "
                f"{self.provenance.get('model', 'some model')} at {self.provenance.get('site', 'some site')}",
            )
        if x.device != self.w_dec.device:
            raise MonoscopeError(
                f"activations on {x.device} for a dictionary on {self.w_dec.device}",
                fix=f'move one: dictionary.to("{x.device}") or activations.to("{self.w_dec.device}")',
            )
        x = x.float()
        if not bool(torch.isfinite(x.sum())) and len(wrong := (~torch.isfinite(x)).any(1).nonzero()):
            raise MonoscopeError(
                f"activations of row {int(wrong[0])} are not finite",
                fix="look for overflow in the model's forward pass",
            )
        return x


def is_count(n: Any, most: float = math.inf) -> bool:
    """Whether that is a whole number from 1 to ``most``, written as one."""
    return isinstance(n, Integral) and not isinstance(n, bool) and 1 <= int(n) <= most


def some(k: Any, n_features: int) -> int:
    """``k`` of the features, as a number.

    Raises:
        MonoscopeError: it is no whole number, less than 1, or more than there are.
    """
    if not is_count(k, n_features):
        raise MonoscopeError(f"k = {k} with {n_features} features", fix="choose k between 1 and the number of features")
    return int(k)


def architecture(name: str) -> type[Dictionary]:
    """The class of the architecture ``name`` (a file of this folder, or a dotted module).

    Raises:
        MonoscopeError: there is none; the message names the nearest.
    """
    if not isinstance(name, str) or ("." not in name and name not in architectures()):
        raise unknown_name("architecture", str(name), architectures())
    found: type[Dictionary] | None = getattr(plugins.load(PACKAGE, name), "Architecture", None)
    if found is None:
        raise MonoscopeError(f"the module {name} holds no class Architecture", fix="name one that does")
    return found
