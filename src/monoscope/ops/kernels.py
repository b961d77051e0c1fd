"""Parallel kernels that leave torch's number of threads as it is, and that one process compiles for all.

Numba and torch share GNU OpenMP. Where Numba starts its threads, at the first call of any parallel kernel, it tells
OpenMP how many there are, and torch, told by its user to take one, takes as many from then on.

Of processes that begin together (the ranks of a machine, a test's workers) each would compile every kernel, a second
or two for one, and the last to end would overwrite what the others had noted of theirs on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import cache, wraps
from pathlib import Path
from typing import Any

import numba
import torch
from filelock import FileLock


def parallel(**options: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``numba.njit`` of a parallel kernel, kept on disk and free of the GIL, that is called from Python.

    Args:
        options: others of ``numba.njit``, such as ``fastmath``.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        kernel = numba.njit(parallel=True, cache=True, nogil=True, **options)(function)
        if not numba.config.DISABLE_JIT:
            _compile_alone(kernel)

        @wraps(function)
        def run(*arguments: Any) -> Any:
            _start_threads()
            return kernel(*arguments)

        return run

    return decorate


def _compile_alone(kernel: Any) -> None:
    """Whoever wants the kernel compiled waits for a process that does so already, and then finds it on disk."""
    compile_it = kernel.compile
    place = Path(kernel.stats.cache_path)  # Numba has found that it may write there

    def compile_or_load(signature: Any) -> Any:
        with ExitStack() as held:
            with suppress(OSError, NotImplementedError):  # a file system without locks: each for itself
                place.mkdir(parents=True, exist_ok=True)
                held.enter_context(FileLock(place / f"{kernel.__module__}.{kernel.__name__}.lock"))
            return compile_it(signature)

    kernel.compile = compile_or_load


@cache
def _start_threads() -> None:
    """Once, and not when this is imported: a process may not fork any more after it."""
    threads = torch.get_num_threads()
    numba.get_num_threads()  # starts them
    torch.set_num_threads(threads)
