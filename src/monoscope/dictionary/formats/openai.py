"""OpenAI's ``sparse_autoencoder``: a ``.pt`` state dict with ``pre_bias`` and ``latent_bias``.

Read only. The ReLU releases are understood. Its TopK releases normalise every row by its own mean and spread, which is
no property of a dictionary over activations, so they are refused.
"""

from __future__ import annotations

from pathlib import Path

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.formats import _weights
from monoscope.dictionary.formats._form import Form
from monoscope.errors import MonoscopeError

NAMES = {"pre_bias", "latent_bias", "encoder.weight"}
STATISTICS = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")


def recognises(path: Path) -> bool:
    """Whether there is one ``.pt`` file with these tensors."""
    return _weights.holding(path, ".pt", NAMES) is not None


def load(path: Path) -> Dictionary:
    """Read a ReLU dictionary from a folder with one such file, or from the file.

    Raises:
        MonoscopeError: the file is damaged, its activation is not ReLU, or its weights are tied.
    """
    found = _weights.holding(path, ".pt", NAMES)
    assert found is not None
    weights = _weights.load(found)
    activation = weights.held.get("activation", "ReLU")
    if activation != "ReLU":
        why = "it normalises each row by itself" if activation == "TopK" else "only ReLU is"
        raise MonoscopeError(
            f"the activation {str(activation)[:40]} is not understood: {why}",
            where=str(found),
            fix="take a ReLU release (v1, v4), or train a topk dictionary",
        )
    weights.ignore("activation", "activation_state_dict", *STATISTICS)
    w_enc = weights.tensor("encoder.weight", None, None)
    n_features, d_in = w_enc.shape
    w_dec = weights.tensor("decoder.weight", d_in, n_features).T
    b_enc, b_dec = weights.tensor("latent_bias", n_features), weights.tensor("pre_bias", d_in)
    weights.done()
    return Form(w_enc, b_enc, w_dec, b_dec, centred=True).dictionary()
