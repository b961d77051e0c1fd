"""The words everything else is spoken in: sites, documents, token blocks, activations, codes.

Imports nothing of Monoscope but its error type, so that every room of the house may use it.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, NewType

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.errors import MonoscopeError, unknown_name

FeatureId = NewType("FeatureId", int)

SEPARATOR = -1  # TokenBlock.documents: a token that belongs to no document (BOS, CLS, SEP, end of text)
PADDING = -2  # TokenBlock.documents: no token at all

LAYERED_KINDS = ("resid_pre", "resid_mid", "resid_post", "attn_out", "mlp_in", "mlp_act", "mlp_out")
WHOLE_KINDS = ("embed", "logits")


@dataclass(frozen=True)
class Site:
    """A place in a model whose activations are read or written.

    ``kind`` is one of ``LAYERED_KINDS`` (with ``layer``), one of ``WHOLE_KINDS``, or ``"module"`` with ``path`` and
    ``side``, for any module path of the model. Its text form, and ``Site.parse`` of it, are one-to-one:
    ``resid_post.3``, ``embed``, ``transformer.h.0.mlp:out``.
    """

    kind: str
    layer: int | None = None
    path: str | None = None
    side: str | None = None

    @classmethod
    def parse(cls, text: str | Site) -> Site:
        """Read a site's text form; a ``Site`` passes through.

        Raises:
            MonoscopeError: the text is no site; the message lists the kinds.
        """
        if isinstance(text, Site):
            return text
        path, colon, side = text.rpartition(":")
        if colon and side in ("in", "out") and path:
            return cls("module", path=path, side=side)
        if text in WHOLE_KINDS:
            return cls(text)
        kind, _, layer = text.rpartition(".")
        if kind in LAYERED_KINDS and layer.isascii() and layer.isdigit():
            return cls(kind, layer=int(layer))
        wanted = kind if layer.isdigit() else text
        raise unknown_name(
            "site", wanted, [*WHOLE_KINDS, *(f"{k}.LAYER" for k in LAYERED_KINDS), "MODULE.PATH:in", "MODULE.PATH:out"]
        )

    def __str__(self) -> str:
        if self.kind == "module":
            return f"{self.path}:{self.side}"
        return self.kind if self.layer is None else f"{self.kind}.{self.layer}"


@dataclass(frozen=True)
class Document:
    """One text of a corpus. ``name`` is unique within its corpus and the same on every run over the same files."""

    name: str
    text: str


@dataclass(frozen=True)
class TokenisedDocument:
    """A document and its tokens: what a concept looks at.

    ``tokens[i]`` covers the bytes ``starts[i]:ends[i]`` of ``text.encode()``; byte-level tokens may cut a code point.
    Special tokens (BOS, SEP) are not among them.
    """

    name: str
    text: str
    tokens: Int[np.ndarray, " n_tokens"]
    starts: Int[np.ndarray, " n_tokens"]
    ends: Int[np.ndarray, " n_tokens"]

    def __len__(self) -> int:
        return len(self.tokens)

    def token_bytes(self) -> list[bytes]:
        """The bytes that each token covers."""
        data = self.text.encode()
        return [data[s:e] for s, e in zip(self.starts.tolist(), self.ends.tolist(), strict=True)]


@dataclass(frozen=True)
class TokenBlock:
    """A batch of equally long token windows, and where every token came from.

    ``documents[i, j]`` is the index of the token's document in its ``TokenStore``, or ``SEPARATOR`` or ``PADDING``;
    ``positions[i, j]`` is the token's position in that document.
    """

    tokens: Int[Tensor, "n_blocks context"]
    documents: Int[Tensor, "n_blocks context"]
    positions: Int[Tensor, "n_blocks context"]

    @property
    def attention_mask(self) -> Int[Tensor, "n_blocks context"]:
        """1 where there is a token (separators included), 0 on padding."""
        return (self.documents != PADDING).long()

    @property
    def is_text(self) -> Tensor:
        """True on tokens of a document: the only ones that may become rows or examples; ``(n_blocks, context)``."""
        return self.documents >= 0


@dataclass(frozen=True)
class Activations:
    """Rows of one or several sites, aligned, with the document and position of every row.

    ``values[site]`` is ``(n_rows, d_site)``; ``documents`` and ``positions`` are ``(n_rows,)``.
    """

    values: dict[str, Float[Tensor, "n_rows d_site"]]
    documents: Int[Tensor, " n_rows"]
    positions: Int[Tensor, " n_rows"]

    def __len__(self) -> int:
        return len(self.documents)

    def __getitem__(self, rows: slice | Int[Tensor, " n"]) -> Activations:
        """Some of the rows: a slice of them as views, those of a list of places as copies."""
        values = {site: tensor[rows] for site, tensor in self.values.items()}
        return Activations(values, self.documents[rows], self.positions[rows])


@dataclass(frozen=True)
class Code:
    """The sparse feature activations of ``n_rows`` tokens, row after row (compressed sparse rows).

    Row ``i`` holds ``indices[offsets[i]:offsets[i + 1]]`` with the values beside them. Rows of ``k`` are simply rows
    of equal length. Values are never 0, and a row names a feature once.
    """

    indices: Int[Tensor, " n_active"]
    values: Float[Tensor, " n_active"]
    offsets: Int[Tensor, " n_rows_plus_1"]
    n_features: int

    def __post_init__(self) -> None:
        if not all(isinstance(part, Tensor) for part in (self.indices, self.values, self.offsets)):
            raise MonoscopeError("a code is made of tensors", fix="pass torch.as_tensor of each array")
        if self.indices.shape != self.values.shape or self.indices.ndim != 1:
            raise MonoscopeError(
                "a code needs one value per index: "
                f"{tuple(self.indices.shape)} indices, {tuple(self.values.shape)} values"
            )
        if self.offsets.ndim != 1 or not len(self.offsets):
            raise MonoscopeError(
                f"offsets of a code have shape {tuple(self.offsets.shape)}", fix="pass one more than there are rows"
            )
        if self.indices.is_floating_point() or self.offsets.is_floating_point():
            raise MonoscopeError("indices and offsets of a code are whole numbers", fix="pass .int() of them")

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @classmethod
    def from_rows(cls, indices: Int[Tensor, "n k"], values: Float[Tensor, "n k"], n_features: int) -> Code:
        """A code from rows of ``k``; entries whose value is not above 0 are dropped."""
        if indices.ndim != 2 or indices.shape != values.shape:
            raise MonoscopeError(
                f"{tuple(indices.shape)} indices and {tuple(values.shape)} values", fix="pass k of both for each row"
            )
        keep = values > 0
        if bool(keep.all()):
            offsets = torch.arange(len(values) + 1, device=values.device) * values.shape[1]
            return cls(indices.flatten(), values.flatten(), offsets, n_features)
        counts = keep.sum(1)
        offsets = torch.zeros(len(values) + 1, dtype=torch.long, device=values.device)
        torch.cumsum(counts, 0, out=offsets[1:])
        return cls(indices[keep], values[keep], offsets, n_features)

    @classmethod
    def from_dense(cls, dense: Float[Tensor, "n n_features"]) -> Code:
        """A code from dense feature activations; entries equal to 0 are dropped."""
        dense = as_tensor(dense, "dense")
        rows, indices = dense.nonzero(as_tuple=True)
        offsets = torch.zeros(len(dense) + 1, dtype=torch.long, device=dense.device)
        torch.cumsum(torch.bincount(rows, minlength=len(dense)), 0, out=offsets[1:])
        return cls(indices, dense[rows, indices], offsets, dense.shape[1])

    def check(self) -> None:
        """Refuse a code that somebody made and that names features or entries that there are not.

        Raises:
            MonoscopeError: there is such a name.
        """
        first, last = int(self.offsets[0]), int(self.offsets[-1])
        if first != 0 or last != len(self.indices) or bool((self.counts() < 0).any()):
            raise MonoscopeError(
                f"offsets of a code from {first} to {last} over {len(self.indices)} entries",
                fix="let them rise from 0 to the number of entries",
            )
        if len(self.indices):
            low, high = (int(part) for part in self.indices.aminmax())
            if low < 0 or high >= self.n_features:
                raise MonoscopeError(
                    f"a code names feature {low if low < 0 else high}", fix=f"choose from 0 to {self.n_features - 1}"
                )

    def times(self, factors: Float[Tensor, " n_rows"]) -> Code:
        """The code with each row's values multiplied by its own factor; entries that come to 0 are dropped."""
        if len(factors) != len(self):
            raise MonoscopeError(f"{len(factors)} factors for a code of {len(self)} rows", fix="pass one for each row")
        values = self.values * factors[self.rows()]
        keep = values != 0
        if bool(keep.all()):
            return Code(self.indices, values, self.offsets, self.n_features)
        kept_before = torch.cat([keep.new_zeros(1, dtype=torch.long), keep.cumsum(0)])
        return Code(self.indices[keep], values[keep], kept_before[self.offsets], self.n_features)

    def counts(self) -> Int[Tensor, " n_rows"]:
        """How many features are active in each row."""
        return self.offsets.diff()

    def rows(self) -> Int[Tensor, " n_active"]:
        """The row of each entry."""
        here = torch.arange(len(self), device=self.offsets.device)
        return torch.repeat_interleave(here, self.counts(), output_size=len(self.indices))

    def to_dense(self) -> Float[Tensor, "n_rows n_features"]:
        """The dense matrix, for the few who need it: ``n_rows × n_features`` numbers."""
        self.check()
        dense = self.values.new_zeros(len(self), self.n_features)
        dense[self.rows(), self.indices.long()] = self.values
        return dense

    def __getitem__(self, rows: slice) -> Code:
        """The code of a contiguous slice of rows."""
        start, stop, step = rows.indices(len(self)) if isinstance(rows, slice) else (0, 0, 0)
        if step != 1:
            raise MonoscopeError("a code is sliced by contiguous rows only", fix="use step 1, of one row code[3:4]")
        stop = max(start, stop)
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return Code(
            self.indices[first:last], self.values[first:last], self.offsets[start : stop + 1] - first, self.n_features
        )


def as_tensor(rows: Any, name: str) -> Tensor:
    """An array or tensor of shape (n, d) as a tensor, without copying where torch can read it as it lies.

    Raises:
        MonoscopeError: another shape, or numbers that are not real.
    """
    tensor = rows if isinstance(rows, Tensor) else _of_array(rows, name)
    tiny = tensor.is_floating_point() and tensor.element_size() < 2  # fp8: torch holds it and cannot reckon with it
    if tensor.ndim != 2 or tensor.is_complex() or tensor.dtype == torch.bool or tiny:
        raise MonoscopeError(
            f"{name} has shape {tuple(tensor.shape)} and type {tensor.dtype}",
            fix=f"pass {name} as (rows, width) of real numbers, such as float32 or bfloat16",
        )
    if np.ma.is_masked(rows):
        raise MonoscopeError(f"{name} is masked in places", fix=f"leave those rows out, or fill them: {name}.filled(0)")
    if tensor.layout != torch.strided:
        raise MonoscopeError(f"{name} is a sparse tensor", fix=f"pass {name}.to_dense()")
    return tensor


def _of_array(rows: Any, name: str) -> Tensor:
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*not writable")  # nothing is written to it
            return torch.from_numpy(_readable(np.asarray(rows)))
    except (TypeError, ValueError) as error:
        raise MonoscopeError(f"{name} holds no numbers: {error}", fix=f"pass {name} as (rows, width)") from error


def _readable(array: np.ndarray) -> np.ndarray:
    """The array in this machine's byte order, and copied where it is read backwards."""
    array = array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    return array.copy() if any(stride < 0 for stride in array.strides) else array
