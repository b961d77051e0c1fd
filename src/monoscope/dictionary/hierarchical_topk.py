"""HierarchicalTopK (arXiv 2505.24473): TopK that is as good at a smaller k as a dictionary trained for it."""

from __future__ import annotations

import copy
from typing import Self

from monoscope.dictionary import topk
from monoscope.errors import MonoscopeError


class Architecture(topk.Architecture):
    """``encode`` uses k features; ``at`` gives the same dictionary at any smaller k."""

    objective = "hierarchical_topk"

    def at(self, k: int) -> Self:
        """This dictionary with codes of at most ``k`` features: a view of the same weights.

        Raises:
            MonoscopeError: k is not between 1 and the dictionary's own.
        """
        if not 1 <= k <= self.k:
            raise MonoscopeError(
                f"k = {k} of a dictionary trained for up to {self.k}", fix=f"choose k between 1 and {self.k}"
            )
        view = copy.copy(self)
        view.k = int(k)
        return view
