"""A dictionary judged against the true features of the world that it was trained in, beside its controls."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from monoscope import plugins
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.truth import _case
from monoscope.types import Code
from monoscope.worlds.world import World

PACKAGE = "monoscope.evaluate.truth"
Measured = dict[str, Estimate]


def judge(
    world: World, x: Float[Tensor, "n d"], truth: Code, dictionary: Dictionary
) -> tuple[Measured, dict[str, Measured]]:
    """Every measure of ``evaluate/truth``, and the same of each control.

    Args:
        world: where the rows are from.
        x, truth: rows that the dictionary was not trained on, and their true code (``world.rows``).
        dictionary: an autoencoder of the world's rows.

    Returns:
        The dictionary's measures by name, and those of its controls: ``random_directions`` has the dictionary's codes
        but random directions, matched anew; ``shuffled`` has its directions, with the matched pairs mixed up.

    Raises:
        MonoscopeError: the dictionary is no autoencoder of rows of that width.
    """
    if not dictionary.d_in == dictionary.d_out == world.d:
        raise MonoscopeError(
            f"a dictionary from {dictionary.d_in} to {dictionary.d_out} numbers, and a world of {world.d}",
            fix="judge an autoencoder of the world's rows: what a transcoder writes are not their directions",
        )
    code = dictionary.encode(x)  # of a pursuit random directions would find another one
    given = _case.case(world, x, truth, dictionary, code)
    at_random = _case.case(world, x, truth, _case.randomised(dictionary), code)
    shuffled = measured(_case.shuffle(given), matched_only=True)
    return measured(given), {"random_directions": measured(at_random), "shuffled": shuffled}


def measured(case: _case.Case, *, matched_only: bool = False) -> Measured:
    """Every measure of a case, or those that look at its matching."""
    modules = [plugins.load(PACKAGE, name) for name in plugins.names(PACKAGE)]
    found: Measured = {}
    for module in modules:
        if module.MATCHED or not matched_only:
            found |= module.measure(case)
    return found
