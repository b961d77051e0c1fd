"""The control ``neurons`` with a catalogue of its own: a site's coordinates, treated as features are.

A dictionary whose encoder and decoder are rows of the identity is catalogued and labelled by the same steps as any
other. Where an activation is below 0 the neuron counts as off, as it is with a ReLU. Neurons are on far more often than
features (a ReLU's on some 40 % of all tokens), so a catalogue of all of them would be large: some are drawn.
"""

from __future__ import annotations

import numpy as np
import torch

from monoscope import folder
from monoscope.app import stages
from monoscope.app.run import Run
from monoscope.catalogue.store import Catalogue
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.errors import MonoscopeError

NAME = "neurons"
DRAWN = 128


def as_dictionary(width: int, chosen: np.ndarray) -> Dictionary:
    """The coordinates ``chosen`` of a site of so many as a dictionary: each neuron's positive part is a feature."""
    made = architecture("topk")(width, len(chosen), k=len(chosen))
    with torch.no_grad():
        for weights in (made.w_enc, made.w_dec):
            weights.copy_(torch.eye(width)[torch.from_numpy(chosen)])
    return made.requires_grad_(False)


def catalogue(run: Run) -> Catalogue:
    """Build, or open, the labelled catalogue of ``DRAWN`` neurons of a run's site, drawn by the run's seed.

    Raises:
        MonoscopeError: the run's dictionary is a transcoder, which has no neurons of its own.
    """
    if run.plan.target is not None:
        raise MonoscopeError("a transcoder's features are not compared with neurons", fix="name a run of one site")
    out = run.path / stages.CONTROLS / NAME
    if not folder.is_sealed(out / "dictionary"):
        width = run.lm.width(run.plan.site)
        chosen = np.sort(np.random.default_rng(run.plan.seed).permutation(width)[:DRAWN])
        made = as_dictionary(width, chosen)
        made.provenance = {
            "model": run.lm.name, "fingerprint": run.lm.fingerprint, "site": run.plan.site, "neurons": chosen.tolist(),
        }  # fmt: skip
        io.save(made, out / "dictionary")
    made = io.load(out / "dictionary")
    found = stages.build_catalogue(out, run, run.lm, made, "cataloguing neurons")
    stages.label(out, run, found, "labelling neurons")
    return found
