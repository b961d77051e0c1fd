"""A small run of reference-a over code and DNA, one feature of which was made to fire on DNA."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path

import torch

from monoscope.app import plan, stages
from monoscope.app.run import Run
from monoscope.catalogue.build import build
from monoscope.concepts import concept
from monoscope.dictionary import io
from monoscope.dictionary.base import architecture
from monoscope.harvest.stream import stream
from monoscope.interpret import logistic
from monoscope.models import load_model
from monoscope.text.corpora import synthetic_strings

SITE, FEATURES, PLANTED = "mlp_act.0", 24, 7
WORDS = "def return class import self value for in if else not None True lambda yield raise try with as from".split()


def make(out: Path) -> Run:
    """The run's folder, with its catalogue."""
    rng, lm = random.Random(0), load_model("reference-a")
    texts = out / "texts"
    texts.mkdir(parents=True)
    for i in range(50):
        blocks = [f"def {rng.choice(WORDS)}_{j}(x):\n    return x + {rng.randrange(99)}\n\n\n" for j in range(20)]
        (texts / f"code{i:02}.txt").write_text("".join(blocks))
    for i, document in enumerate(islice(synthetic_strings.stream("dna", "test", strings=1), 40)):
        (texts / f"dna{i:02}.txt").write_text(document.text)
    made = plan.resolve(
        lm, site=SITE, text=f"files:{texts}/*.txt", tokens=8_000, features=FEATURES, k=4, architecture="l1", seed=0
    )
    made.settle(out / "run")
    run = Run(out / "run")
    run.lm = lm
    store = stages.text(run)
    io.save(_dictionary(run), run.path / "dictionary")
    build(run.path, lm, SITE, run.dictionary, store, splits=("fit", "test"), effects=0)
    return run


def _dictionary(run: Run):  # type: ignore[no-untyped-def]
    """Random directions, and one that a logistic regression found to tell DNA."""
    generator, parts, holds = torch.Generator().manual_seed(0), [], []
    for block in stream(run.lm, run.store, run.store.documents("dictionary"), [SITE]):
        parts.append(block.values[SITE])
        masks = {d: concept("in_dna").mask(run.store.document(d)) for d in block.documents.unique().tolist()}
        holds += [masks[d][p] for d, p in zip(block.documents.tolist(), block.positions.tolist(), strict=True)]
    x, held = torch.cat(parts), torch.tensor(holds)
    found = logistic.fit(x, held[:, None], penalty=1e-2)
    made = architecture("l1")(512, FEATURES).requires_grad_(False)
    made.w_enc[:] = torch.randn(FEATURES, 512, generator=generator) / 8
    made.b_enc[:] = -(x @ made.w_enc.T).quantile(0.9, 0)
    made.w_enc[PLANTED], made.b_enc[PLANTED] = found.weights[:, 0], found.bias[0]
    made.w_dec[:] = torch.randn(FEATURES, 512, generator=generator) / 8
    made.w_dec[PLANTED] = (x[held].mean(0) - x[~held].mean(0)) / found.scores(x[held]).mean()
    made.provenance = {"model": run.lm.name, "fingerprint": run.lm.fingerprint, "site": SITE, "target": SITE}
    return made
