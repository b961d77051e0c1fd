"""Numbers that are no numbers are refused, with the token where the first of them stands."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor

from monoscope.errors import MonoscopeError
from monoscope.text.store import TokenStore


def refuse_nan(
    rows: Float[Tensor, "n d"], what: str, store: TokenStore, documents: Int[Tensor, " n"], positions: Int[Tensor, " n"]
) -> None:
    """Check that every number is finite.

    Args:
        rows: one row per token.
        what: whose numbers they are, for the message.
        store, documents, positions: where each row comes from.

    Raises:
        MonoscopeError: a row holds NaN or infinity; names its document and position.
    """
    if bool(rows.sum().isfinite()):  # a sum is finite only if all are, save for an overflow, which the rows settle
        return
    bad = (~rows.isfinite()).any(1).nonzero()
    if len(bad) == 0:
        return
    first = int(bad[0])
    document, position = int(documents[first]), int(positions[first])
    raise MonoscopeError(
        f"{what} hold NaN or infinity on {len(bad)} of {len(rows)} tokens",
        where=f"first in document {store.names[document]!r} at position {position}",
        fix="load the model in float32, and check that its weights and the dictionary's are finite",
    )
