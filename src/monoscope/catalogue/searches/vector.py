"""By a vector at the place that the dictionary writes to: the directions of largest cosine with it, exactly.

A difference of means, a probe's weights, a row of an unembedding … It is given as an array or as the file that holds
it: ``v.npy``, ``v.safetensors`` (of one tensor) or ``v.safetensors:name``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float

from monoscope.catalogue.searching import Found, Query
from monoscope.errors import MonoscopeError

if TYPE_CHECKING:
    from monoscope.catalogue.store import Catalogue


def search(query: Query, catalogue: Catalogue, kept: Bool[np.ndarray, " n_features"] | None) -> Found:
    """``query.what`` is an array or tensor of ``d_out`` numbers, or a file's path."""
    given = read(query.what) if isinstance(query.what, str | Path) else query.what
    try:
        vector = np.asarray(given.detach().float().cpu() if hasattr(given, "detach") else given, np.float64)
    except (TypeError, ValueError) as error:
        raise MonoscopeError(f"a search by vector takes numbers: {error}", fix="give an array or its file") from error
    if vector.ndim == 2 and len(vector) == 1:
        vector = vector[0]
    return catalogue.directions.best(vector, query.limit, kept)


def read(path: str | Path) -> Float[np.ndarray, ...]:
    """The array in a file.

    Raises:
        MonoscopeError: there is no such file, or it is none of these, or it holds several arrays and none is named.
    """
    name, _, tensor = str(path).partition(".safetensors")
    try:
        if tensor or str(path).endswith(".safetensors"):
            return _tensor(Path(f"{name}.safetensors"), tensor.removeprefix(":"))
        found: Any = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise MonoscopeError(f"{path} holds several arrays", fix="save the vector alone, as .npy")
        return found
    except (OSError, ValueError, EOFError) as error:
        raise MonoscopeError(
            f"{path} cannot be read as a vector: {error}", fix="give an array as .npy or .safetensors"
        ) from error


def _tensor(path: Path, name: str) -> Float[np.ndarray, ...]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as held:
            names = sorted(held.keys())
            if not name and len(names) == 1:
                name = names[0]
            if name not in names:
                raise MonoscopeError(
                    f"{path} holds no single vector" if not name else f"{path} holds no {name!r}",
                    fix=f"write {path}:NAME, one of {', '.join(names)}",
                )
            return held.get_tensor(name).float().numpy()
    except SafetensorError as error:
        raise ValueError(str(error)) from error
