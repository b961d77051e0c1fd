"""A run of 100,000 features in some minutes: a real model and real text, a dictionary of random directions.

Everything that pages show is there and made as ever, by ``catalogue.build``. Made up are the dictionary (each feature's
threshold lets it fire on 0.01 % to 0.5 % of the tokens), the labels (concepts that can be run, with drawn scores, on
six features in ten), the evaluation, and the map's places: laying them out has nothing to do with showing them.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from monoscope import concepts, folder
from monoscope.app import plan, stages
from monoscope.app.run import Run
from monoscope.app.ui.payloads import CONTROLS, HEADLINES
from monoscope.app.verbs.ui import atlas_of
from monoscope.catalogue.build import build
from monoscope.catalogue.layout import method
from monoscope.catalogue.records import Label
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.harvest.stream import stream
from monoscope.models import load_model

SITE, TOKENS, BLOCK = "mlp_act.0", 10_000, 1024
RARELY, OFTEN = 1e-4, 5e-3  # the range of densities
LABELLED, CLUSTERS = 0.6, 60


def make(path: Path, n: int) -> Run:
    """The run's folder, with its catalogue of ``n`` features; what is finished is kept."""
    lm = load_model("reference-a")
    made = plan.resolve(lm, site=SITE, text=None, tokens=TOKENS, features=n, k=None, architecture="l1", seed=0)
    made.settle(path)
    run = Run(path)
    run.lm = lm
    stages.text(run)
    if not folder.is_sealed(path / "dictionary"):
        io.save(_dictionary(run, n), path / "dictionary")
    began = time.process_time()
    catalogue = build(path, lm, SITE, run.dictionary, run.store, effects=0)
    print(f"catalogue: {time.process_time() - began:.0f} s of CPU", flush=True)
    rng = np.random.default_rng(1)
    catalogue.write_labels(_labels(rng, n))
    folder.write_json(path / "evaluation.json", _evaluation(rng))
    _map(run, rng)
    return run


@torch.no_grad()
def _dictionary(run: Run, n: int) -> Dictionary:
    """Random directions; thresholds at which each feature has the density that was drawn for it."""
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([b.values[SITE] for b in stream(run.lm, run.store, run.store.documents(plan.TRAIN), [SITE])])
    made = architecture("l1")(x.shape[1], n).requires_grad_(False)
    made.w_enc[:] = torch.randn(made.w_enc.shape, generator=generator)
    made.w_dec[:] = torch.nn.functional.normalize(torch.randn(made.w_dec.shape, generator=generator), dim=1)
    drawn = torch.rand(n, generator=generator)
    wanted = (len(x) * RARELY * (OFTEN / RARELY) ** drawn).round().long().clamp(1)
    for first in range(0, n, BLOCK):
        part = slice(first, first + BLOCK)
        made.b_enc[part] = -_score_of_rank(x @ made.w_enc[part].T, wanted[part])
    made.provenance = {"model": run.lm.name, "fingerprint": run.lm.fingerprint, "site": SITE, "target": SITE}
    return made


def _score_of_rank(scores: Float[Tensor, "n_tokens n"], rank: Tensor) -> Float[Tensor, " n"]:
    """Of each column, the score above which there are ``rank`` others."""
    best = scores.topk(int(rank.max()) + 1, dim=0).values
    return best.gather(0, rank[None])[0]


def _labels(rng: np.random.Generator, n: int) -> list[Label]:
    chosen = np.flatnonzero(rng.random(n) < LABELLED).tolist()
    every = concepts.every()
    labels = []
    for feature in chosen:
        a, b = (every[i] for i in rng.choice(len(every), 2, replace=False))
        f1 = float(rng.beta(2, 2))
        kind = "token" if rng.random() < 0.5 else "context"
        scores = (f1, f1, f1, max(0.0, f1 - 0.05), min(1.0, f1 + 0.05), f1 / 2)
        labels.append(Label(feature, kind, f"{a.name} & {b.name}", f"{a.words}, {b.words}", 0.1, *scores, 99, 20))
    return labels


def _evaluation(rng: np.random.Generator) -> dict[str, object]:
    """The overview's five measures, of the dictionary and of all controls."""

    def drawn() -> dict[str, dict[str, float]]:
        values = {name: float(rng.random()) for name, *_ in HEADLINES}
        return {name: {"value": v, "low": 0.9 * v, "high": 1.1 * v} for name, v in values.items()}

    return {"metrics": drawn(), "controls": {name: drawn() for name in CONTROLS}}


def _map(run: Run, rng: np.random.Generator) -> None:
    """Places in clusters, kept as those that were laid out are."""
    atlas = atlas_of([run])
    n = sum(len(part.living) for part in atlas.parts)
    centres, spread = rng.uniform(-0.9, 0.9, (CLUSTERS, 2)), rng.uniform(0.01, 0.1, CLUSTERS)
    cluster = rng.integers(CLUSTERS, size=n)
    places = centres[cluster] + spread[cluster, None] * rng.standard_normal((n, 2))
    held, told = atlas.files
    np.save(held, np.clip(places, -1, 1).astype(np.float32))
    folder.write_json(told, {"key": atlas.key, "method": method(), "seed": atlas.seed})
    print(f"{n:,} living features on the map", flush=True)
