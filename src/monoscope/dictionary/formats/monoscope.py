"""Our own format: ``config.json`` and ``weights.safetensors``, sealed by a manifest with their hashes.

Anyone can seal a folder, so a seal says that nothing was damaged, not that what it holds makes sense.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as save_tensors
from torch import Tensor

from monoscope import folder
from monoscope.dictionary.base import ALWAYS, Dictionary, architecture
from monoscope.dictionary.formats import _config, _weights
from monoscope.dictionary.formats._config import Config
from monoscope.dictionary.formats._weights import Weights
from monoscope.errors import MonoscopeError

CONFIG, WEIGHTS = "config.json", "weights.safetensors"
FILES = (CONFIG, WEIGHTS, folder.MANIFEST)
KIND = "dictionary"
VERSION = 1
SIZES = ("d_in", "n_features", "d_out")
LONGEST = 200  # characters of an architecture's name
AGAIN = "restore the file, or train again"


def recognises(path: Path) -> bool:
    """Whether the folder holds a dictionary of ours."""
    try:
        if not (path / CONFIG).is_file():
            return False
        with (path / CONFIG).open("rb") as file:
            return b'"monoscope_dictionary"' in file.read(_config.LIMIT)
    except OSError:
        return False


def save(dictionary: Dictionary, path: Path) -> None:
    """Write the dictionary into the folder ``path``, manifest last.

    Raises:
        MonoscopeError: the folder cannot be written, or the provenance is too large to be read again.
    """
    path.mkdir(parents=True, exist_ok=True)
    (path / folder.MANIFEST).unlink(missing_ok=True)
    folder.write_bytes(path / WEIGHTS, save_tensors(_weights.apart(dictionary.state_dict())))
    config = {
        "monoscope_dictionary": VERSION,
        "architecture": dictionary.architecture,
        "d_in": dictionary.d_in,
        "d_out": dictionary.d_out,
        "n_features": dictionary.n_features,
        "options": dictionary.options(),
        "provenance": dictionary.provenance,
    }
    folder.write_json(path / CONFIG, config)
    _config.read(path / CONFIG)
    folder.seal(path, KIND, {}, [CONFIG, WEIGHTS])


def load(path: Path) -> Dictionary:
    """Read a dictionary.

    Raises:
        MonoscopeError: the folder is incomplete or damaged, or was written by a newer version; its files do not fit
            each other; a weight is no number.
    """
    _check_seal(path)
    config = _config.read(path / CONFIG)
    if config.need("monoscope_dictionary", int) > VERSION:
        raise MonoscopeError(
            "this dictionary was written by a newer Monoscope", where=str(path), fix="upgrade Monoscope"
        )
    kind, provenance = _architecture(config), config.need("provenance", dict)
    weights = _weights.load(path / WEIGHTS)
    sizes, options = _sizes(config, weights), _options(config, kind)
    tensors = _tensors(weights, _blank(config, kind, sizes, options))
    made = kind(*sizes, **options)  # now that it is known to be no larger than the file
    made.load_state_dict(tensors)
    made.provenance = provenance
    return made.requires_grad_(False)


def _check_seal(path: Path) -> None:
    """Refuse a folder that is not whole, or whose manifest lists other files than the two."""
    if folder.is_sealed(path):  # where it is not, ``unseal`` says what it is
        manifest = _config.read(path / folder.MANIFEST)
        manifest.need("kind", str)
        files = manifest.part("files")
        parts = [files.part(name) for name in (CONFIG, WEIGHTS)]
        for facts in parts:
            facts.need("bytes", int)
            facts.need("sha256", str)
        more = [name for part in (manifest, files, *parts) for name in part.unread()]
        if more:
            raise MonoscopeError(f"{more[0][:60]!r} is not understood", where=manifest.where, fix=AGAIN)
    folder.unseal(path, KIND)
    damaged = folder.verify(path)
    if damaged:
        raise MonoscopeError(f"{damaged[0]} is damaged", where=str(path), fix=AGAIN)


def _architecture(config: Config) -> type[Dictionary]:
    """The class that the configuration names; a file must not decide what is imported."""
    name = config.need("architecture", str)
    if len(name) > LONGEST:
        raise MonoscopeError(f"architecture is {name[:60]}…, which is no name", where=config.where, fix=AGAIN)
    if "." not in name:
        try:
            return architecture(name)
        except MonoscopeError as error:
            raise MonoscopeError(error.what, where=config.where, fix=error.fix) from error
    if name not in sys.modules:
        raise MonoscopeError(
            f"this dictionary is of the architecture {name}, which is not part of Monoscope",
            where=config.where,
            fix=f"if you trust it, import {name} before you load the dictionary",
        )
    found = getattr(sys.modules[name], "Architecture", None)
    if not (isinstance(found, type) and issubclass(found, Dictionary)):
        raise MonoscopeError(f"the module {name} holds no architecture", where=config.where, fix=AGAIN)
    return found


def _sizes(config: Config, weights: Weights) -> tuple[int, ...]:
    """The sizes that the configuration claims, each at least 1 and no more than the numbers in the file."""
    sizes = {name: config.need(name, int) for name in SIZES}
    most = sum(tensor.numel() for tensor in weights.held.values())
    for name, size in sizes.items():
        if not 1 <= size <= most:
            raise MonoscopeError(
                f"{name} is {str(size)[:60]}, and {WEIGHTS} holds {most} numbers", where=config.where, fix=AGAIN
            )
    return tuple(sizes.values())


def _options(config: Config, kind: type[Dictionary]) -> dict[str, Any]:
    """The options that the configuration holds, of the types that the architecture says."""
    options = Config(config.need("options", dict), config.where)
    for name, wanted in {**kind.settings, **ALWAYS}.items():
        if wanted in (bool, int, float, str, dict):
            options.get(name, wanted)  # type: ignore[type-var]
        elif wanted is tuple and name in options.values:
            items = options.values[name]
            if not isinstance(items, list) or any(item != item for item in items):  # NaN has no place in an order
                raise MonoscopeError(
                    f"{name} is {str(items)[:60]}, not a list of values", where=config.where, fix=AGAIN
                )
    return options.values


def _blank(config: Config, kind: type[Dictionary], sizes: tuple[int, ...], options: dict[str, Any]) -> Dictionary:
    """The dictionary that is described, without memory for its weights."""
    try:
        with torch.device("meta"):
            return kind(*sizes, **options)
    except Exception as error:  # whatever a constructor raises of what a file says means that it says something wrong
        what, fix = (error.what, error.fix) if isinstance(error, MonoscopeError) else (str(error).split("\n")[0], None)
        raise MonoscopeError(
            f"{CONFIG} describes no dictionary: {what[:200]}", where=config.where, fix=fix or AGAIN
        ) from error


def _tensors(weights: Weights, like: Dictionary) -> dict[str, Tensor]:
    """The tensors of ``like``, all of them and no others, with its shapes; of no other kind, and finite.

    Buffers may be NaN: thresholds that were never calibrated are.
    """
    found, learned = {}, {name for name, _ in like.named_parameters()}
    for name, wanted in like.state_dict().items():
        value = weights.held.pop(name, None)
        if value is None:
            raise weights.error(f"{name} is missing")
        if value.shape != wanted.shape:
            raise weights.error(f"{name} is of shape {tuple(value.shape)}, not {tuple(wanted.shape)}")
        if value.dtype not in (_weights.NUMBERS if wanted.is_floating_point() else (wanted.dtype,)):
            raise weights.error(f"{name} holds {value.dtype}, not {wanted.dtype}".replace("torch.", ""))
        found[name] = value.to(wanted.dtype)
        finite = found[name].isfinite()
        if not bool((finite if name in learned else finite | found[name].isnan()).all()):
            raise MonoscopeError(
                f"{name} is not finite", where=weights.where, fix="train again, at a lower learning rate"
            )
    weights.done()
    return found
