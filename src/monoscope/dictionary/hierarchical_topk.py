"""HierarchicalTopK (arXiv 2505.24473): TopK that is as good at a smaller k as a dictionary trained for it."""

from __future__ import annotations

from monoscope.dictionary import topk


class Architecture(topk.Architecture):
    """``encode`` uses k features; ``at`` gives the same dictionary at any smaller k, for which it was trained too."""

    objective = "hierarchical_topk"
