"""Our own format: ``config.json`` and ``weights.safetensors``, sealed by a manifest with their hashes."""

from __future__ import annotations

import sys
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from monoscope import folder
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.errors import MonoscopeError

FILES = ("config.json", "weights.safetensors", folder.MANIFEST)
KIND = "dictionary"
VERSION = 1


def recognises(path: Path) -> bool:
    """Whether the folder holds a dictionary of ours."""
    config = path / "config.json"
    return config.is_file() and b'"monoscope_dictionary"' in config.read_bytes()


def save(dictionary: Dictionary, path: Path) -> None:
    """Write the dictionary into the folder ``path``, manifest last."""
    path.mkdir(parents=True, exist_ok=True)
    (path / folder.MANIFEST).unlink(missing_ok=True)
    tensors = {name: tensor.detach().contiguous() for name, tensor in dictionary.state_dict().items()}
    folder.write_bytes(path / "weights.safetensors", save_tensors(tensors))
    config = {
        "monoscope_dictionary": VERSION,
        "architecture": dictionary.architecture,
        "d_in": dictionary.d_in,
        "d_out": dictionary.d_out,
        "n_features": dictionary.n_features,
        "options": dictionary.options(),
        "provenance": dictionary.provenance,
    }
    folder.write_json(path / "config.json", config)
    folder.seal(path, KIND, {}, ["config.json", "weights.safetensors"])


def load(path: Path) -> Dictionary:
    """Read a dictionary.

    Raises:
        MonoscopeError: the folder is incomplete or damaged, or was written by a newer version; a weight is no number.
    """
    folder.unseal(path, KIND)
    damaged = folder.verify(path)
    if damaged:
        raise MonoscopeError(f"{damaged[0]} is damaged", where=str(path), fix="restore the file, or train again")
    config = folder.read_json(path / "config.json")
    if config["monoscope_dictionary"] > VERSION:
        raise MonoscopeError(
            "this dictionary was written by a newer Monoscope", where=str(path), fix="upgrade Monoscope"
        )
    name = config["architecture"]
    if "." in name and name not in sys.modules:  # a file must not decide what is imported
        raise MonoscopeError(
            f"this dictionary is of the architecture {name}, which is not part of Monoscope",
            where=str(path),
            fix=f"if you trust it, import {name} before you load the dictionary",
        )
    made = architecture(name)(config["d_in"], config["n_features"], config["d_out"], **config["options"])
    made.provenance = config["provenance"]
    try:
        made.load_state_dict(load_tensors((path / "weights.safetensors").read_bytes()))
    except (SafetensorError, RuntimeError) as error:
        raise MonoscopeError(f"the weights do not fit: {error}", where=str(path), fix="train again") from error
    for name, weight in made.named_parameters():
        if bool(weight.isnan().any()):
            raise MonoscopeError(f"{name} is not finite", where=str(path), fix="train again, at a lower learning rate")
    return made.requires_grad_(False)
