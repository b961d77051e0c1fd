"""Parallel kernels that leave torch's number of threads as it is, and what only kernels call.

Numba and torch share GNU OpenMP. Where Numba starts its threads, at the first call of any parallel kernel, it tells
OpenMP how many there are, and torch, told by its user to take one, takes as many from then on.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial, wraps
from typing import Any

import numba
import torch

# What only compiled functions call. A way in from Python takes apart and checks every argument, tuples of arrays among
# them: for functions of many arguments a quarter of what there is to compile. Without it a call from Python ends the
# process, so what is called from there, by a test too, has ``numba.njit``.
inner = partial(numba.njit, cache=True, nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)


def parallel(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``numba.njit`` of a parallel kernel, kept on disk and free of the GIL, that is called from Python.

    Args:
        options: others of ``numba.njit``, such as ``fastmath``.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        kernel = numba.njit(parallel=True, cache=True, nogil=True, no_cfunc_wrapper=True, **options)(function)

        @wraps(function)
        def run(*arguments: Any) -> Any:
            _start_threads()
            return kernel(*arguments)

        return run

    return decorate


@cache
def _start_threads() -> None:
    """Once, and not when this is imported: a process may not fork any more after it."""
    threads = torch.get_num_threads()
    numba.get_num_threads()  # starts them
    torch.set_num_threads(threads)
