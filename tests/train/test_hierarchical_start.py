"""HierarchicalTopK that begins with more features a row than its largest budget."""

from __future__ import annotations

import torch

from monoscope.dictionary.base import architecture
from monoscope.train.objective import objective
from monoscope.types import Code


def test_entries_beyond_the_largest_budget_belong_to_the_last_stage() -> None:
    dictionary = architecture("hierarchical_topk")(4, 16, k=4)
    goal = objective("hierarchical_topk")(dictionary, 1000, 0, budgets=(1, 2), k_start=3.0)
    values = torch.arange(12, 0, -1).float().repeat(2, 1)
    stages, n_stages = goal.stages(dictionary, Code.from_rows(torch.arange(12).repeat(2, 1), values, 16))
    assert n_stages == 3
    assert stages.tolist() == [0, 1] + [2] * 10 + [0, 1] + [2] * 10
