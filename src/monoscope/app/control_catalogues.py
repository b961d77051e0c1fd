"""Controls with catalogues of their own, so that what is asked of features can be asked of them.

``random_model`` has one from the run itself. ``frozen_decoder`` is trained there, and catalogued here when it is asked
for. ``neurons`` are a site's coordinates, treated as features are: a dictionary whose encoder and decoder are rows of
the identity is catalogued and labelled by the same steps as any other. Where an activation is below 0 the neuron counts
as off, as it is with a ReLU. Neurons are on far more often than features (a ReLU's on some 40 % of all tokens), so a
catalogue of all of them would be large: some are drawn.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch

from monoscope import folder
from monoscope.app import stages
from monoscope.app.at_hand import head_of
from monoscope.app.run import Run
from monoscope.catalogue import schema
from monoscope.catalogue.directions import Head
from monoscope.catalogue.searching import AtHand
from monoscope.catalogue.store import Catalogue
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.errors import MonoscopeError
from monoscope.models import LanguageModel

NEURONS, FROZEN, RANDOM = "neurons", "frozen_decoder", "random_model"
DRAWN = 128


def as_dictionary(width: int, chosen: np.ndarray) -> Dictionary:
    """The coordinates ``chosen`` of a site of so many as a dictionary: each neuron's positive part is a feature."""
    made = architecture("topk")(width, len(chosen), k=len(chosen))
    with torch.no_grad():
        for weights in (made.w_enc, made.w_dec):
            weights.copy_(torch.eye(width)[torch.from_numpy(chosen)])
    return made.requires_grad_(False)


def neurons(run: Run) -> Catalogue:
    """Build, or open, the labelled catalogue of ``DRAWN`` neurons of a run's site, drawn by the run's seed.

    Raises:
        MonoscopeError: the run's dictionary is a transcoder, which has no neurons of its own.
    """
    if run.plan.target is not None:
        raise MonoscopeError("a transcoder's features are not compared with neurons", fix="name a run of one site")
    out = run.path / stages.CONTROLS / NEURONS
    if not folder.is_sealed(out / "dictionary"):
        width = run.lm.width(run.plan.site)
        chosen = np.sort(np.random.default_rng(run.plan.seed).permutation(width)[:DRAWN])
        made = as_dictionary(width, chosen)
        made.provenance = {
            "model": run.lm.name, "fingerprint": run.lm.fingerprint, "site": run.plan.site, "neurons": chosen.tolist(),
        }  # fmt: skip
        io.save(made, out / "dictionary")
    return _labelled(run, NEURONS)


def frozen_decoder(run: Run) -> Catalogue:
    """Build, or open, the labelled catalogue of the dictionary whose decoder stayed random.

    Raises:
        MonoscopeError: the run has no such dictionary.
    """
    if not folder.is_sealed(run.path / stages.CONTROLS / FROZEN):
        raise MonoscopeError(
            "the run has no frozen-decoder dictionary", where=str(run.path), fix="make the run with its controls"
        )
    return _labelled(run, FROZEN)


def existing(run: Run) -> dict[str, Catalogue]:
    """The controls of a run that have a catalogue, each with the way to its model's logits at hand."""
    paths = {name: run.path / stages.CONTROLS / name for name in (NEURONS, FROZEN, RANDOM)}
    found = {n: Catalogue(p, store=run.store) for n, p in paths.items() if (p / schema.NAME).is_file()}
    for name, made in found.items():
        made.at_hand = AtHand(head=partial(_head, run, name))
    return found


def _head(run: Run, name: str) -> Head | None:
    return head_of(model(run, name), run.plan.target or run.plan.site)


def model(run: Run, name: str) -> LanguageModel:
    """The model of a control, or of none (""): the run's, with shuffled weights for ``random_model``."""
    return run.lm.shuffled(run.plan.seed) if name == RANDOM else run.lm


def dictionary(run: Run, name: str) -> Dictionary:
    """A control's dictionary; the frozen decoder's is the folder itself."""
    path = run.path / stages.CONTROLS / name
    return io.load(path if name == FROZEN else path / "dictionary")


def _labelled(run: Run, name: str) -> Catalogue:
    out, words = run.path / stages.CONTROLS / name, name.replace("_", " ")
    made = stages.build_catalogue(out, run, run.lm, dictionary(run, name), f"cataloguing ({words})")
    stages.label(out, run, made, f"labelling ({words})")
    return made
