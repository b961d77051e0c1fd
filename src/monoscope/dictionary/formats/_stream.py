"""Whether the rows that a dictionary of SAELens was trained on are the model's, or less each row's own mean.

TransformerLens can take the mean out of all that is written into the residual stream (``center_writing_weights``). A
model with LayerNorm computes the same then; its stream, and what is added to it, is ours less each row's own mean.
Models with another norm are left as they are.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

WRITTEN = ("resid_pre.", "resid_mid.", "resid_post.", "attn_out.", "mlp_out.")
KEY = "center_writing_weights"
NOT_STATED = "not stated"
# SAELens' own list of releases says of these that their stream was centred; their files do not
CENTRED = (
    "jbloom/GPT2-Small-SAEs-Reformatted",
    "jbloom/GPT2-Small-Feature-Splitting-Experiment-Layer-8",
    "tommmcgrath/gpt2-small-mlp-out-saes",
)
_LAYER_NORM = re.compile(
    r"(openai-community/)?gpt2(-\w+)?|(distilbert/)?distilgpt2|eleutherai/(pythia|gpt)-.+|roneneldan/tinystories-.+"
)
_RMS_NORM = re.compile(r"google/gemma-.+|meta-llama/.+|mistralai/.+|qwen/qwen[23].+")


def layer_norm(model: str | None) -> bool | None:
    """Whether the model with this Hub id reads its stream through LayerNorm; None of one not known here."""
    name = (model or "").lower()
    return True if _LAYER_NORM.fullmatch(name) else False if _RMS_NORM.fullmatch(name) else None


def centred(site: str | None, model: str | None, told: bool | None, path: Path) -> bool | None:
    """Whether rows of ``site`` had their means taken out, by what the file told; None where that cannot be known."""
    told = True if told is None and _repository(path) in CENTRED else told
    if not told or not (site or "").startswith(WRITTEN):
        return False
    return layer_norm(model)


def unclear(site: str | None, model: str | None) -> dict[str, Any]:
    """What is noted of a file that does not tell, where it makes a difference."""
    return {"row_mean": NOT_STATED} if (site or "").startswith(WRITTEN) and layer_norm(model) is not False else {}


def _repository(path: Path) -> str | None:
    """The repository whose files these are, as the Hub's cache names its folder."""
    folder = next((part for part in path.parts if part.startswith("models--")), None)
    return None if folder is None else folder.removeprefix("models--").replace("--", "/", 1)
