"""Triton forms of the training operations: a file for each of ``ops`` that has one, of the same name.

Imported by calls whose tensors lie on a CUDA device, never otherwise. Sums are in fp32 whatever the operands are.
"""

from monoscope.errors import MonoscopeError

try:
    import triton  # noqa: F401
except ImportError as error:
    raise MonoscopeError(
        "work on a CUDA device needs Triton, which is not installed",
        fix="pip install triton; PyTorch's own CUDA builds for Linux bring it",
    ) from error
