"""Decoding a code in stages: by the first stage's entries, by those of the first two stages, and so on.

Entries are put in the order of stages, so that one sparse decode gives what each stage adds; running sums do the rest.
Every entry is decoded once, however many stages there are.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from monoscope.ops import sparse
from monoscope.ops.transpose import transpose
from monoscope.types import Code


def reference(
    values: Float[Tensor, " n_active"],
    weight: Float[Tensor, "n_features d"],
    code: Code,
    stages: Int[Tensor, " n_active"],
    n_stages: int,
) -> Float[Tensor, "n_stages n d"]:
    """The same through a dense code for every stage."""
    made = []
    for stage in range(n_stages):
        dense = values.new_zeros(len(code), code.n_features)
        dense = dense.index_put((code.rows(), code.indices.long()), torch.where(stages <= stage, values, 0))
        made.append(dense @ weight)
    return torch.stack(made)


def decode(
    values: Float[Tensor, " n_active"],
    weight: Float[Tensor, "n_features d"],
    code: Code,
    stages: Int[Tensor, " n_active"],
    n_stages: int,
) -> Float[Tensor, "n_stages n d"]:
    """For every stage, ``dense(entries of this stage and those before it) @ weight``; exact gradients.

    Args:
        values: differentiable; ``code``'s own are not looked at.
        weight: differentiable; a row per feature.
        code: which features each row uses.
        stages: the stage of each entry, from 0.
        n_stages: how many there are. The result is that many times as large as the rows.
    """
    n = len(code)
    by = transpose(Code(stages, code.values, code.offsets, n_stages))  # within a stage rows ascend
    lengths = torch.bincount(stages.long() * n + code.rows(), minlength=n_stages * n)
    offsets = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
    staged = Code(code.indices[by.entries], code.values[by.entries], offsets, code.n_features)
    added = sparse.decode(values[by.entries], weight, staged, transpose(staged))
    return added.view(n_stages, n, -1).cumsum(0)


def ranks(code: Code) -> Int[Tensor, " n_active"]:
    """The place of each entry among its row's entries, the largest value first."""
    order = torch.argsort(code.values, descending=True, stable=True)
    rows = code.rows()
    order = order[torch.argsort(rows[order], stable=True)]
    ranks = torch.empty_like(rows)
    ranks[order] = torch.arange(len(rows), device=rows.device) - code.offsets[:-1].repeat_interleave(code.counts())
    return ranks
