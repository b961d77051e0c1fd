"""What a catalogue is of: model, sites, dictionary and text, checked to belong together, with a key for the whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Integer

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.models import LanguageModel
from monoscope.text.rows import Rows
from monoscope.text.store import TokenStore
from monoscope.types import Site

LAYOUT = 1  # of what the key speaks for: spool and index


@dataclass(frozen=True)
class Subject:
    """A dictionary that reads ``site`` and writes ``target`` of a model, over the rows of some splits."""

    lm: LanguageModel
    site: Site
    target: Site
    dictionary: Dictionary
    rows: Rows
    splits: tuple[str, ...]

    def check(self) -> None:
        """Refuse a dictionary of another model or site.

        Raises:
            MonoscopeError: widths differ, or the dictionary says that it was trained on another model.
        """
        lm, dictionary = self.lm, self.dictionary
        for place, width, verb in ((self.site, dictionary.d_in, "reads"), (self.target, dictionary.d_out, "writes")):
            if lm.width(place) != width:
                raise MonoscopeError(
                    f"the dictionary {verb} vectors of {width}; {place} of {lm.name} holds {lm.width(place)} numbers",
                    fix="name the model and site that the dictionary was trained on",
                )
        trained_on = dictionary.provenance.get("fingerprint")
        if trained_on is not None and trained_on != lm.fingerprint:
            raise MonoscopeError(
                f"the dictionary was trained on another model ({dictionary.provenance.get('model', 'unnamed')}, "
                f"fingerprint {trained_on[:12]}) than {lm.name} (fingerprint {lm.fingerprint[:12]})",
                fix="name the model that the dictionary was trained on",
            )

    def key(self) -> str:
        """A hash over everything that codes, and with them the index, depend on."""
        files = self.rows.store.manifest["files"]
        text = [files[name]["sha256"] for name in ("tokens.u32", "documents.json")]
        encoder = [self.dictionary.architecture, self.dictionary.options()]
        told = [LAYOUT, self.lm.fingerprint, self.lm.window, str(self.site), encoder, *text, *self.splits]
        digest = hashlib.sha256(json.dumps(told).encode())
        for name, tensor in sorted(self.dictionary.state_dict().items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        return digest.hexdigest()


def documents(store: TokenStore, splits: tuple[str, ...] | list[str]) -> Integer[np.ndarray, " n"]:
    """The documents of these splits, split after split.

    Raises:
        MonoscopeError: a split holds no tokens.
    """
    for split in splits:
        if store.tokens_in(split) == 0:
            have = ", ".join(sorted(set(store.splits)))
            raise MonoscopeError(f"the text has no split {split!r}", where=str(store.path), fix=f"it has: {have}")
    return np.concatenate([store.documents(split) for split in splits])
