"""ReLU codes, learned with a penalty that is annealed from L1 towards L0 (Karvonen et al. 2024)."""

from __future__ import annotations

from monoscope.dictionary import l1


class Architecture(l1.Architecture):
    """In use the same as ``l1``; only its training differs."""

    objective = "p_anneal"
