"""Telling dictionaries apart: a hash over everything that their codes and reconstructions depend on."""

from __future__ import annotations

import hashlib
import json

import torch

from monoscope.dictionary.base import Dictionary


def content_hash(dictionary: Dictionary) -> str:
    """SHA-256 over architecture, options and every tensor; provenance is left out, and so is the device."""
    digest = hashlib.sha256(json.dumps([dictionary.architecture, dictionary.options()]).encode())
    for name, tensor in sorted(dictionary.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
