"""OpenAI's ``sparse_autoencoder`` (Gao et al. 2024): a ``.pt`` state dict with ``pre_bias`` and ``latent_bias``.

Read only. The activation is ReLU (v1, v4) or TopK (v5), which there also means that each row is normalised by itself.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.formats import _weights
from monoscope.dictionary.formats._config import Config
from monoscope.dictionary.formats._form import Form
from monoscope.errors import MonoscopeError

NAMES = {"pre_bias", "latent_bias", "encoder.weight"}
STATISTICS = ("stats_last_nonzero", "latents_activation_frequency", "latents_mean_square")


def recognises(path: Path) -> bool:
    """Whether there is one ``.pt`` file with these tensors."""
    return _weights.holding(path, ".pt", NAMES) is not None


def load(path: Path) -> Dictionary:
    """Read a ReLU or TopK dictionary from a folder with one such file, or from the file.

    Raises:
        MonoscopeError: the file is damaged, its activation is another, or its weights are tied.
    """
    found = _weights.holding(path, ".pt", NAMES)
    assert found is not None
    weights = _weights.load(found)
    told = Config(weights.held, str(found))
    activation, facts = told.get("activation", str, "ReLU"), told.part("activation_state_dict")
    weights.ignore("activation", "activation_state_dict", *STATISTICS)
    w_enc = weights.tensor("encoder.weight", None, None)
    n_features, d_in = w_enc.shape
    w_dec = weights.tensor("decoder.weight", d_in, n_features).T
    b_enc, b_dec = weights.tensor("latent_bias", n_features), weights.tensor("pre_bias", d_in)
    weights.done()
    return _activated(Form(w_enc, b_enc, w_dec, b_dec, centred=True), str(activation), facts).dictionary()


def _activated(form: Form, activation: str, facts: Config) -> Form:
    """The form with the activation that the file names."""
    if activation == "ReLU":
        return form
    if activation == "TopK" and facts.need("postact_fn", str) == "ReLU":
        return replace(form, k=facts.need("k", int), row_norm=True)
    after = f" followed by {str(facts.values.get('postact_fn'))[:40]}" if activation == "TopK" else ""
    raise MonoscopeError(
        f"the activation {activation[:40]}{after} is not understood",
        where=facts.where,
        fix="understood: ReLU, TopK followed by ReLU",
    )
