"""Matryoshka (Bussmann et al. 2025, arXiv 2503.09532): BatchTopK with features in order of generality.

The first features also have to reconstruct alone, and so do the first few more: that keeps general features from being
absorbed by special ones. Once trained, it is used like BatchTopK; ``prefix`` gives the smaller dictionaries inside.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from torch import nn

from monoscope.dictionary import batch_topk
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError

PREFIXES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)


class Architecture(batch_topk.Architecture):
    """``prefixes``: ascending shares of the features that reconstruct alone, the last of them 1."""

    settings: ClassVar[dict[str, type]] = {"k": int, "prefixes": tuple}
    objective = "matryoshka"

    def __init__(
        self,
        d_in: int,
        n_features: int,
        d_out: int | None = None,
        *,
        prefixes: Iterable[float] = PREFIXES,
        **options: Any,
    ) -> None:
        super().__init__(d_in, n_features, d_out, **options)
        self.prefixes = tuple(prefixes)
        if not self.prefixes or sorted({0, *self.prefixes}) != [0, *self.prefixes] or self.prefixes[-1] != 1:
            raise MonoscopeError(
                f"prefixes {self.prefixes}", fix="give ascending shares of the features above 0; the last is 1"
            )

    @property
    def sizes(self) -> list[int]:
        """The prefixes in features, each at least 1 and larger than the one before."""
        return sorted({max(1, round(share * self.n_features)) for share in self.prefixes})

    def prefix(self, n_features: int) -> Dictionary:
        """The dictionary of the first ``n_features`` features: a view of the same weights and thresholds.

        Raises:
            MonoscopeError: no prefix was trained to be of this size.
        """
        if n_features not in self.sizes:
            raise MonoscopeError(
                f"the first {n_features} features were not trained to reconstruct alone",
                fix=f"choose one of {', '.join(map(str, self.sizes))}",
            )
        shares = [size / n_features for size in self.sizes if size <= n_features]
        options = {**self.options(), "k": min(self.k, n_features), "prefixes": shares}
        made = type(self)(self.d_in, n_features, self.d_out, **options)
        made.provenance = self.provenance
        for name in ("w_enc", "b_enc", "w_dec"):
            weight: nn.Parameter = getattr(self, name)
            setattr(made, name, nn.Parameter(weight.data[:n_features], weight.requires_grad))
        made.b_dec, made.w_skip, made.threshold = self.b_dec, self.w_skip, self.threshold[:n_features]
        return made
