"""Parallel kernels leave torch's number of threads alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import monoscope

RUN = """
import torch
from monoscope.ops import columns
torch.set_num_threads(1)
columns.columns(torch.ones(3, 2))
print(torch.get_num_threads())
"""


def test_torch_has_the_threads_that_it_was_given():
    own = {**os.environ, "NUMBA_NUM_THREADS": "3"}
    found = subprocess.run([sys.executable, "-c", RUN], env=own, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1"]


def test_every_parallel_kernel_is_made_so():
    sources = Path(monoscope.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if "parallel=True" in path.read_text(encoding="utf-8")] == ["kernels.py"]
