"""A dictionary trained elsewhere: which model it is of, and what must be said of it."""

from __future__ import annotations

from monoscope import model_names
from monoscope.app import windows
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.models import LanguageModel, load_model


def model_of(dictionary: Dictionary, asked: str | None) -> LanguageModel:
    """The model that was asked for, or else the one that the dictionary names.

    Raises:
        MonoscopeError: neither names one, or it cannot be loaded.
    """
    name = asked or dictionary.provenance.get("model")
    if name is None:
        raise MonoscopeError("the dictionary does not name its model", fix="pass --model")
    try:
        return load_model(str(name))
    except MonoscopeError as error:
        if asked:
            raise
        raise MonoscopeError(
            f"the dictionary names the model {name}, which is not to be had: {error.what}",
            fix=f"pass --model with the name under which it is; or {error.fix}",
        ) from error


def remarks(dictionary: Dictionary, lm: LanguageModel) -> list[str]:
    """In a sentence each: what its activations on the rows that ``lm`` gives must be read with."""
    said, known = windows.remarks(dictionary, lm), dictionary.provenance
    named = str(known.get("model") or lm.name)
    if named != lm.name and known.get("fingerprint") is None and model_names.same(named, lm.name) is None:
        tuned = f"{lm.name} is another tuning of it, in which its features may mean something else"
        unknown = f"whether {lm.name} has the same weights is not known"
        said.append(f"its file names the model {named}; {tuned if model_names.tuned(named, lm.name) else unknown}")
    if known.get("row_mean") == "not stated":
        said.append(
            "its file does not say whether each row's mean was taken out in its training, as TransformerLens does "
            "unless told otherwise; it is read on rows as they are"
        )
    return said
