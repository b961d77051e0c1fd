"""Compiled functions that only compiled functions call."""

from __future__ import annotations

import numba

# A way in from Python takes apart and checks every argument, tuples of arrays among them: for functions of many
# arguments a quarter of what there is to compile. Without it a call from Python ends the process, so what is called
# from there, by a test too, has ``numba.njit``.
inner = numba.njit(cache=True, nogil=True, no_cpython_wrapper=True, no_cfunc_wrapper=True)
