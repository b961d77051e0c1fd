"""Ways to take features out of a model's weights, one a file: ``removed(task)`` gives the changed model.

``WORDS`` says what of the removal is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # listing the folder waits for nothing
    from monoscope.dictionary.base import Dictionary
    from monoscope.intervene.affine import Moments
    from monoscope.models.language_model import LanguageModel

PACKAGE = "monoscope.intervene.removals"


@dataclass(frozen=True)
class Task:
    """Features of a dictionary that reads ``read`` and writes ``site``, to be taken out of a model.

    ``moments`` are those of the site and of the features' values on text; ``only`` names writers to the residual stream
    that are changed alone.
    """

    lm: LanguageModel
    read: str
    site: str
    dictionary: Dictionary
    features: tuple[int, ...]
    moments: Moments
    only: tuple[str, ...] = ()
