"""Steering a run's model with its features."""

from __future__ import annotations

import sys
from pathlib import Path


def steer(
    run: Path,
    text: str = "",
    *,
    feature: int | None = None,
    operation: str = "clamp",
    dose: str = "1,2,4,8",
    unit: str = "max",
    recipe: Path | None = None,
    concept: str = "",
    tokens: int = 40,
    prompts: int = 64,
    temperature: float = 1.0,
    tolerance: float = 0.5,
    seed: int = 0,
    save: Path | None = None,
    json: bool = False,
) -> None:
    """Let the model go on with a text, plain and steered; or, without a text, measure what each dose does and costs.

    Example: `monoscope steer monoscope-run "def area(" --feature 12 --dose 2,4`

    Example: `monoscope steer monoscope-run --feature 12 --dose 1,2,4,8 --save recipe.toml`

    Parameters
    ----------
    run
        The run's folder, with a catalogue.
    text
        What the model goes on with. Without it every dose is tried on held-out prompts, beside random features, a
        difference of means and a prompt with examples.
    feature
        The feature that is edited.
    operation
        add, scale, clamp, cap, floor, ablate or project_out.
    dose
        Doses, with commas between; operations that take none ignore it.
    unit
        Of the doses: max (multiples of the feature's largest value), value, or norm (of the activation's length).
    recipe
        A recipe's file, instead of a feature; needs a text.
    concept
        What counts as an effect: an expression over concepts. By default the ten tokens that the feature promotes most.
    tokens
        New tokens per prompt.
    prompts
        Held-out prompts that every dose is tried on.
    temperature
        Of sampling; 0 takes the likeliest token.
    tolerance
        Damage that is accepted when a dose is chosen, in nats a token.
    seed
        The same seed gives the same tokens.
    save
        Write the recipe here: of the only dose, or of the best within the tolerance.
    json
        Print JSON for programs.
    """
    import json as js

    from rich.console import Console

    from monoscope import plugins
    from monoscope.app import steering
    from monoscope.app.ranges import numbers
    from monoscope.app.run import Run
    from monoscope.errors import MonoscopeError
    from monoscope.intervene import operations, recipes
    from monoscope.studies.continuations import Sampling
    from monoscope.studies.dose_response import sweet_spot

    opened, sampling = Run(run), Sampling(tokens, temperature, seed)
    if (feature is None) == (recipe is None):
        raise MonoscopeError("what steers?", fix="give --feature NUMBER, or --recipe FILE and a text")
    if recipe is not None and not text:
        raise MonoscopeError("a recipe alone has no doses to compare", fix="give a text to go on with")
    if recipe is not None:
        made = [recipes.load(recipe)]
    else:
        takes = plugins.load(operations.PACKAGE, operation).NEEDS_DOSE
        doses = numbers("doses", dose) if takes else [None]
        made = [steering.recipe(opened, feature or 0, operation, d, unit if takes else "value") for d in doses]
    if text:
        _save(save, made[0] if len(made) == 1 else None)
        found = steering.demonstrate(opened, text, made, sampling)
        if json:
            sys.stdout.write(js.dumps(found, ensure_ascii=False) + "\n")
        else:
            steering.show_texts(found, Console())
        return
    tested = concept or steering.promoted(opened, feature or 0)
    responses = steering.study(opened, made, tested, prompts, sampling)
    best = sweet_spot(responses, tolerance)
    if json:
        sys.stdout.write(js.dumps({"concept": tested, **steering.to_json(responses, tolerance)}) + "\n")
    else:
        Console().print(f"What counts: {tested}", style="dim", highlight=False, markup=False)
        steering.show(responses, tolerance, Console())
    found_best = (m for m in made if best is not None and m.edits[0].dose == best.dose)
    _save(save, made[0] if len(made) == 1 else next(found_best, None))  # last: what was measured is not lost


def _save(path: Path | None, recipe: object) -> None:
    from monoscope.errors import MonoscopeError
    from monoscope.intervene import recipes
    from monoscope.intervene.edit import Recipe

    if path is None:
        return
    if not isinstance(recipe, Recipe):
        raise MonoscopeError(
            "no single dose was chosen, so no recipe is saved", fix="give one dose, or more --tolerance"
        )
    recipes.save(recipe, path)
