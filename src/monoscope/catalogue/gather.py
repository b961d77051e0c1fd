"""The one streaming pass: activations in row order → codes on disk and correlations with the site's coordinates."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.catalogue.neurons import NeuronCorrelation
from monoscope.catalogue.spool import Spool, SpoolWriter
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.text.rows import Rows
from monoscope.types import Activations

NEURONS = "neurons.npz"


@torch.no_grad()
def gather(
    stream: Iterable[Activations],
    rows: Rows,
    site: str,
    dictionary: Dictionary,
    out: Path,
    facts: dict[str, Any],
    progress: Callable[[int], None] = lambda rows: None,
) -> Spool:
    """Encode a stream of activations into a sealed spool with the features' correlated neurons beside it.

    Args:
        stream: activations of exactly these rows, in order.
        rows: the catalogued rows.
        site: which of the stream's sites.
        dictionary: what encodes.
        out: the spool's folder; a half-written one is begun anew.
        facts: what goes into its manifest.
        progress: told how many rows are done.

    Raises:
        MonoscopeError: an activation is no finite number (names document and position), the stream is not these
            rows, or the folder cannot be written.
    """
    dictionary.make_ready()
    neurons = NeuronCorrelation(dictionary.n_features, dictionary.d_in)
    with SpoolWriter(out, dictionary.n_features) as spool:
        for block in stream:
            x = block.values[site]
            _check_finite(x, block, rows, f"the activation at {site}")
            _check_order(block, rows, spool.n_rows)
            code = dictionary.encode(x.to(dictionary.directions.device))
            if not torch.isfinite(code.values).all():
                raise MonoscopeError("the dictionary's code holds values that are no numbers", fix="check its weights")
            spool.add(code)
            neurons.add(x, code)
            progress(spool.n_rows)
        if spool.n_rows != len(rows):
            raise MonoscopeError(f"the stream ended after {spool.n_rows} of {len(rows)} rows")
        ids, r = neurons.strongest()
        np.savez(out / NEURONS, ids=ids, r=r)
        spool.seal(facts)
    return Spool(out)


def _check_finite(x: Float[Tensor, "n d"], block: Activations, rows: Rows, what: str) -> None:
    """Raise for the first row that holds NaN or infinity."""
    if torch.isfinite(x.sum()):  # a sum of finite numbers may overflow: look closely only where it is not finite
        return
    bad = (~torch.isfinite(x)).any(1).nonzero()
    if len(bad):
        first = int(bad[0, 0])
        document, position = int(block.documents[first]), int(block.positions[first])
        raise MonoscopeError(
            f"{what} is NaN or infinite",
            where=f"document {document} ({rows.store.names[document]}), position {position}",
            fix="run the model in float32, or leave this document out",
        )


def _check_order(block: Activations, rows: Rows, first: int) -> None:
    found = rows.index(block.documents.cpu().numpy(), block.positions.cpu().numpy())
    if not np.array_equal(found, np.arange(first, first + len(block))):
        raise MonoscopeError(f"the stream of activations is out of order at row {first}")
