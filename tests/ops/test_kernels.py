"""Parallel kernels leave torch's number of threads alone, and are compiled by one process for all."""

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


COMPILE = """
import sys
from pathlib import Path
import torch
from numba.core import event
from monoscope.ops import columns
Path(sys.argv[1]).touch()
while len(list(Path(sys.argv[1]).parent.glob("ready-*"))) < 2:
    pass
with event.install_recorder("numba:compile") as seen:
    sums, counts = columns.columns(torch.ones(3, 2))
print([e.data["dispatcher"].__name__ for _, e in seen.buffer if e.is_start].count("_of_float32"), int(sums.sum()))
"""


def test_of_two_processes_one_compiles(tmp_path):
    own = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    pair = [
        subprocess.Popen([sys.executable, "-c", COMPILE, tmp_path / f"ready-{i}"], env=own, stdout=subprocess.PIPE)
        for i in range(2)
    ]
    said = [process.communicate()[0].split() for process in pair]
    assert sorted(said) == [[b"0", b"6"], [b"1", b"6"]]


def test_kernels_are_plain_functions_where_numba_is_told_not_to_compile():
    own = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    found = subprocess.run([sys.executable, "-c", RUN], env=own, capture_output=True, text=True, check=True)
    assert found.stdout.split() == ["1"]


def test_every_parallel_kernel_is_made_so():
    sources = Path(monoscope.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if "parallel=True" in path.read_text(encoding="utf-8")] == ["kernels.py"]
