"""TopK (Gao et al. 2024, "Scaling and evaluating sparse autoencoders"): each row's k largest positive scores."""

from __future__ import annotations

import copy
from typing import Any, ClassVar, Self

from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary, is_count, some
from monoscope.errors import MonoscopeError
from monoscope.ops import encode
from monoscope.types import Code


class Architecture(Dictionary):
    """``encode(x) = relu(topk(x @ w_encᵀ + b_enc, k))``."""

    settings: ClassVar[dict[str, type]] = {"k": int}
    objective = "topk"

    def __init__(self, d_in: int, n_features: int, d_out: int | None = None, *, k: int = 32, **options: Any) -> None:
        super().__init__(d_in, n_features, d_out, **options)
        self.k = some(k, n_features)

    def code_of(self, x: Float[Tensor, "n d_in"]) -> Code:
        """The k largest positive scores of each row."""
        return encode.topk(x, self.w_enc, self.b_enc, self.k)

    def at(self, k: int) -> Self:
        """This dictionary with codes of at most ``k`` features: a view of the same weights.

        Raises:
            MonoscopeError: k is not between 1 and the dictionary's own.
        """
        if not is_count(k, self.k):
            raise MonoscopeError(
                f"k = {k} of a dictionary trained for up to {self.k}", fix=f"choose k between 1 and {self.k}"
            )
        view = copy.copy(self)
        view.k = int(k)
        return view
