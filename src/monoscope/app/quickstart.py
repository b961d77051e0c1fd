"""``monoscope quickstart``: from text to a readable catalogue of features, in one go."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from rich.console import Console

from monoscope import folder
from monoscope.app import plan as plans
from monoscope.app import stages, windows
from monoscope.app.budget import affordable
from monoscope.app.given import model_of
from monoscope.app.plan import CONTROLS
from monoscope.app.run import Run
from monoscope.dictionary import io
from monoscope.errors import unknown_name
from monoscope.models import load_model
from monoscope.train.presets.default import PRESET


def quickstart(
    out: Path,
    *,
    model: str | None = None,
    site: str | None = None,
    target: str | None = None,
    text: str | None = None,
    dictionary: Path | None = None,
    tokens: int | None = None,
    features: int | None = None,
    k: int | None = None,
    architecture: str = PRESET.architecture,
    minutes: float | None = None,
    controls: str = "basic",
    seed: int = 0,
    console: Console | None = None,
) -> Run:
    """Do all steps of a run in the folder ``out``, or those that are missing; returns the run.

    Args:
        out: the folder. What is finished in it is reused; what was interrupted goes on.
        model, site, text: whose mind is read, where, on what. None: what the dictionary names, ``plan.DEFAULT_MODEL``,
            ``plan.default_site`` and ``default_text``.
        target: where a transcoder writes.
        dictionary: a dictionary trained elsewhere, to be catalogued instead of training one.
        tokens: how many the dictionary is trained on; half as many each are kept for labels and for tests.
        features, k, architecture: of the dictionary.
        minutes: how long it may take; fixes ``tokens`` by a short trial, once.
        controls: ``"full"`` adds the random-weights model.
        seed: the same seed gives the same numbers.

    Raises:
        MonoscopeError: something the user can mend; everything finished stays.
    """
    if controls not in CONTROLS:
        raise unknown_name("set of controls", controls, CONTROLS)
    console = console or Console(stderr=True)
    given = None if dictionary is None else io.load(dictionary)
    lm = load_model(model or plans.DEFAULT_MODEL) if given is None else model_of(given, model)
    if tokens is None and minutes is not None:
        tokens = planned(out) or affordable(lm, site, minutes, features, full=controls == "full")
    plans.resolve(
        lm, site=site, target=target, text=text, tokens=tokens, features=features, k=k, architecture=architecture,
        seed=seed, dictionary=given, origin=None if dictionary is None else str(dictionary),
    ).settle(out)  # fmt: skip
    run = Run(out)
    windows.cut(lm, run.plan.window, run.plan.eos_first)
    run.lm = lm
    with run.timed("text"):
        stages.text(run)
    if given is None:
        with run.timed("harvest"):
            if not folder.is_sealed(out / "dictionary"):
                stages.activations(run)
        with run.timed("train"):
            made = stages.dictionaries(run)
    else:
        made = stages.adopt(run, given, partial(console.print, markup=False, highlight=False, soft_wrap=True))
    with run.timed("evaluate"):
        stages.evaluation(run, made)
    with run.timed("catalogue"):
        catalogue = stages.catalogue(run, made["main"])
    with run.timed("label"):
        stages.labels(run, catalogue)
    if controls == "full":
        with run.timed("random_model"):
            stages.random_model(run)
    stages.report(run, catalogue)
    return run


def planned(out: Path) -> int | None:
    """The tokens that an earlier call fixed for this folder."""
    return plans.load(out).tokens[plans.TRAIN] if (out / plans.NAME).is_file() else None
