"""The baseline without a model: the tokens on which a feature's values add up to the most, on the split ``fit``.

Whatever another explainer says should be worth more than this list. It is an expression that can be run, too.
"""

from __future__ import annotations

from collections.abc import Iterator

from monoscope.catalogue.explanations import Explanation
from monoscope.concepts import token_literal
from monoscope.interpret import prompting
from monoscope.interpret.examples import Gallery
from monoscope.interpret.explainers import FIRES_ON, PROMOTES, Task, Told

ASKS = False
MOST = 8  # tokens, as many as a token label may have
LEAST_SHARE = 0.05  # of the feature's total; a token below it is left out unless it is the first


def explanations(task: Task) -> Iterator[Told]:
    """List the tokens of every feature."""
    gallery = Gallery(task.catalogue, task.sizes, seed=task.seed)
    for features in task.batches():
        found = {feature: _explanation(task, gallery, feature) for feature in features}
        silent = {feature: "it never fires on the text that explainers may see" for feature in features}
        yield Told(
            [e for e in found.values() if e is not None], {f: why for f, why in silent.items() if found[f] is None}
        )


def _explanation(task: Task, gallery: Gallery, feature: int) -> Explanation | None:
    spellings = gallery.heaviest(feature, MOST, LEAST_SHARE)
    if not spellings:
        return None
    promoted = [t.text for t in task.catalogue[feature].promoted] if PROMOTES in task.questions else []
    detail = {
        "catalogue": task.catalogue.facts["key"],
        "concept": " | ".join(token_literal(s) for s in spellings),
        "asked": [FIRES_ON, *([PROMOTES] if promoted else [])],
        "seed": task.seed,
    }
    return Explanation(feature, "top_tokens", _listed([_shown(s) for s in spellings]), _listed(promoted), detail)


def _listed(texts: list[str]) -> str:
    return ", ".join(f"`{prompting.visible(text)}`" for text in texts)


def _shown(spelling: bytes) -> str:
    return spelling.decode(errors="backslashreplace")
