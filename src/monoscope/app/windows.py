"""Text cut as a dictionary trained elsewhere saw it: windows as long as in its training, begun as they began.

What its file says of them is ``provenance["windows"]``, in SAELens' words.
"""

from __future__ import annotations

from typing import Any

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.formats import _windows
from monoscope.models import LanguageModel

HOOKED = "HookedTransformer"  # of SAELens' classes of models the one that makes up for a missing BOS


def length(dictionary: Dictionary, lm: LanguageModel) -> int | None:
    """How many tokens the windows of its training had; None where that is not said, or more than the model reads."""
    told = _told(dictionary).get("context_size")
    framing = len(lm.tokeniser.prefix) + len(lm.tokeniser.suffix)
    return told if type(told) is int and framing < told < lm.context else None


def eos_first(dictionary: Dictionary, lm: LanguageModel) -> bool:
    """Whether its windows began with the end-of-text token: TransformerLens' BOS of a tokeniser that has none."""
    told, fast = _told(dictionary), lm.tokeniser.fast
    wanted = told.get("prepend_bos") is True and told.get("model_class_name", HOOKED) == HOOKED
    return wanted and fast.cls_token_id is None and fast.bos_token_id is None and fast.eos_token_id is not None


def cut(lm: LanguageModel, tokens: int | None, eos_first: bool) -> None:
    """Let ``lm`` read text in windows of so many tokens (None: of its longest), begun with the end-of-text token."""
    lm.window = tokens or lm.context
    if eos_first:
        lm.tokeniser.prefix = [lm.tokeniser.fast.eos_token_id]


def cut_for(lm: LanguageModel, dictionary: Dictionary) -> None:
    """Let ``lm`` read text in the windows of a dictionary's training."""
    cut(lm, length(dictionary, lm), eos_first(dictionary, lm))


def remarks(dictionary: Dictionary, lm: LanguageModel) -> list[str]:
    """In a sentence each, what of the windows that ``lm`` reads was made like those of its training, or differs."""
    told, said, wanted = _told(dictionary), list[str](), length(dictionary, lm)
    if wanted is not None and wanted == lm.window:
        said.append(f"text is read in windows of {wanted:,} tokens, as in its training, not of {lm.context:,}")
    elif wanted is not None or ("context_size" in told and lm.window < lm.context):
        said.append(
            f"it was trained on windows of {told['context_size']:,} tokens, and is read in ones of {lm.window:,}"
        )
    starts = bool(lm.tokeniser.prefix)
    if eos_first(dictionary, lm):
        eos = lm.tokeniser.fast.eos_token
        said.append(
            f"each window begins with {eos!r}, as in its training: the tokeniser has no BOS"
            if starts
            else f"its windows began with {eos!r}, and here they do not"
        )
    elif told.get("prepend_bos") is False and starts:
        said.append(
            "no BOS was put before the windows of its training (text tokenised beforehand may have held some), and "
            "here one is: the first tokens' activations can differ"
        )
    if "seqpos_slice" in told:
        ends = ":".join("" if end is None else str(end) for end in told["seqpos_slice"])
        said.append(f"it was trained on the positions {ends} of its windows alone, and is read on all")
    return said


def _told(dictionary: Dictionary) -> dict[str, Any]:
    found = dictionary.provenance.get("windows")
    told: dict[str, Any] = _windows.provenance(found if isinstance(found, dict) else {}).get("windows", {})
    return told  # without what a stranger's file may hold in their place
