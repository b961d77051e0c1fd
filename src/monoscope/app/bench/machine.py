"""On what and with what was measured."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

import torch

from monoscope import __version__
from monoscope.app.bench.process import started_with
from monoscope.app.doctor import hardware

SAID = ("ONEDNN_MAX_CPU_ISA", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "GOMP_SPINCOUNT", "LD_PRELOAD")


def header(threads: int, peers: dict[str, str] | None = None) -> dict[str, Any]:
    """Date, processor, cores, threads, instruction sets, versions, and the variables that change speed.

    Args:
        threads: that everyone was told to use; 0: what they choose.
        peers: the versions of the other libraries and of their torch.
    """
    seen = hardware()
    set_ = started_with()
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": seen["processor"],
        "cores": seen["cores"],
        "threads": threads or torch.get_num_threads(),
        "instructions": seen["instructions"],
        "memory_gb": seen["memory_gb"],
        "system": seen["system"],
        "torch": torch.__version__,
        "monoscope": __version__,
        "peers": peers or {},
        "environment": {name: os.environ[name] for name in SAID if name in os.environ and (not set_ or name in set_)},
    }


def lines(facts: dict[str, Any]) -> list[str]:
    """The header in words."""
    isa = ", ".join(facts["instructions"]) or "neither AVX2 nor AVX-512"
    peers = dict(facts["peers"])
    theirs = f"; peers: torch {peers.pop('torch')}, {', '.join(map(' '.join, peers.items()))}" if peers else ""
    told = "".join(f", {name}={value}" for name, value in facts["environment"].items())
    return [
        f"{facts['date']}  {facts['processor']}, {facts['cores']} cores, {facts['threads']} threads, {isa}{told}",
        f"torch {facts['torch']}, monoscope {facts['monoscope']}{theirs}",
    ]
