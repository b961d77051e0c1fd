"""What a signal is read along: a feature of a dictionary, or a vector; and opening them for one model, each once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from monoscope import folder, tables
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.identity import content_hash
from monoscope.errors import MonoscopeError
from monoscope.models.fingerprint import fingerprint
from monoscope.models.sites import Sites
from monoscope.types import Site


@dataclass(frozen=True)
class Direction:
    """Where a value and its direction come from: a feature of a dictionary, or a vector of one's own.

    Args:
        dictionary: its folder; None for a vector.
        feature: the feature's number.
        vector: a ``.npy`` or ``.safetensors`` file that holds one vector of the site's width.
        max: the feature's largest value on text, which doses in the unit "max" are multiples of.
        sha256: of the dictionary's content or of the vector's file; refused when it is another.
    """

    dictionary: str | None = field(default=None, metadata=tables.PATH)
    feature: int | None = None
    vector: str | None = field(default=None, metadata=tables.PATH)
    max: float | None = None
    sha256: str | None = None

    def __post_init__(self) -> None:
        if (self.dictionary is None) == (self.vector is None) or (self.dictionary is None) != (self.feature is None):
            raise MonoscopeError(
                "a direction needs a feature of a dictionary, or a vector",
                fix="give dictionary and feature, or vector alone",
            )
        if self.max is not None and not (math.isfinite(self.max) and self.max > 0):
            raise MonoscopeError(f"a feature's max of {self.max}", fix="give the largest value it has on text, above 0")

    def __str__(self) -> str:
        return f"feature {self.feature}" if self.vector is None else Path(self.vector).name


class Sources:
    """The dictionaries and vectors that directions name, opened once each, and checked to belong to one model."""

    def __init__(self, model: nn.Module, sites: Sites, what: str) -> None:
        """``what`` names in messages what the directions belong to, such as "recipe"."""
        self.model, self.sites, self.what = model, sites, what
        self._dictionaries: dict[str, Dictionary] = {}
        self._hashes: dict[str, str] = {}

    @cached_property
    def fingerprint(self) -> str:
        """The model's; computed once."""
        return fingerprint(self.model)

    def check_model(self, wanted: str | None, name: str) -> None:
        """Refuse a model with another fingerprint than ``wanted``, where there is one; ``name`` is for people.

        Raises:
            MonoscopeError: it is another.
        """
        if wanted is not None and wanted != self.fingerprint:
            raise MonoscopeError(
                f"this {self.what} was made for another model ({name or 'unnamed'}, fingerprint {wanted[:12]})",
                fix=f"load that model, or make the {self.what} again for this one",
            )

    def check_width(self, site: str, width: int, what: str) -> None:
        """Refuse a site whose vectors have another width.

        Raises:
            MonoscopeError: they have, or there is no such site.
        """
        there = self.sites.width(Site.parse(site))
        if there != width:
            raise MonoscopeError(
                f"{what} {width} numbers; {site} of {self.sites.name} has {there}",
                fix="name the site that it belongs to",
            )

    def dictionary(self, of: Direction) -> Dictionary | None:
        """The dictionary of a feature, on the model's device; None for a vector.

        Raises:
            MonoscopeError: it is missing, another one than was meant, or of another model.
        """
        if of.dictionary is None:
            return None
        if of.dictionary not in self._dictionaries:
            loaded = io.load(of.dictionary)
            self._hashes[of.dictionary] = content_hash(loaded)
            trained_on = loaded.provenance.get("fingerprint")
            if trained_on is not None and trained_on != self.fingerprint:
                raise MonoscopeError(
                    f"{of.dictionary} was trained on another model ({loaded.provenance.get('model', 'unnamed')})",
                    fix="name a dictionary of this model",
                )
            device = next(self.model.parameters()).device
            self._dictionaries[of.dictionary] = loaded.to(device).requires_grad_(False)
        self._check_hash(of, self._hashes[of.dictionary])
        return self._dictionaries[of.dictionary]

    def site(self, of: Direction, end: str = "site") -> str | None:
        """Where the dictionary of a feature reads, or writes (``end="target"``), where it says so."""
        dictionary = self.dictionary(of)
        found = None if dictionary is None else dictionary.provenance.get(end)
        return None if found is None else str(found)

    def vector(self, of: Direction) -> Float[Tensor, " d"]:
        """The vector in a file.

        Raises:
            MonoscopeError: there is no such file, it is another than was meant, or it holds no single finite vector.
        """
        path = Path(str(of.vector))
        try:
            held = (
                list(load_file(path).values()) if path.suffix == ".safetensors" else [torch.from_numpy(np.load(path))]
            )
        except (OSError, ValueError) as error:
            raise MonoscopeError(f"{path} holds no vector: {error}", fix="name a .npy or .safetensors file") from error
        self._check_hash(of, folder.content_hash(path))
        if len(held) != 1 or held[0].ndim != 1 or not bool(held[0].isfinite().all()):
            raise MonoscopeError(f"{path} holds no single vector of finite numbers", fix="save one vector in it")
        return held[0].float()

    def sha256(self, of: Direction) -> str:
        """The content hash of a direction's dictionary, or of its vector's file, as it is now.

        Raises:
            MonoscopeError: it is missing, another one than was meant, or of another model.
        """
        dictionary = self.dictionary(of)
        if dictionary is not None:
            return self._hashes[str(of.dictionary)]
        self.vector(of)
        return folder.content_hash(Path(str(of.vector)))

    def _check_hash(self, of: Direction, found: str) -> None:
        if of.sha256 is not None and of.sha256 != found:
            raise MonoscopeError(
                f"{of.dictionary or of.vector} is not what this {self.what} was made with: its content differs",
                fix=f"restore it, or make the {self.what} again",
            )
