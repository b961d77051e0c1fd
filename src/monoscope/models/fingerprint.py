"""A model's fingerprint: what tells a dictionary whether it is looking at the model it was trained on."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import nn

FACTS = (
    "num_attention_heads",
    "num_key_value_heads",
    "activation_function",
    "hidden_act",
    "hidden_activation",
    "use_parallel_residual",
)
PIECE = 1 << 24  # numbers hashed at a time


def fingerprint(model: nn.Module) -> str:
    """SHA-256 over the model's class, the facts of its configuration that change its arithmetic, and its weights.

    Weights count rounded to bfloat16, so that one model loaded in two precisions is one model; tied ones count once.
    """
    config = getattr(model, "config", None)
    facts = {name: getattr(config, name, None) for name in FACTS}
    digest = hashlib.sha256(json.dumps([type(model).__name__, facts], default=str).encode())
    for name, parameter in model.named_parameters():
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        for piece in parameter.detach().reshape(-1).split(PIECE):
            rounded = piece.to(torch.bfloat16).view(torch.int16) if piece.is_floating_point() else piece
            digest.update(rounded.cpu().numpy().data)
    return digest.hexdigest()
