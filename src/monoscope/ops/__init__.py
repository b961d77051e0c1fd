"""Numerical operations, one a file: a reference in plain torch, a CPU kernel, one entry that dispatches per call."""
