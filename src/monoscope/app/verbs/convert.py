"""From one format of dictionaries to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from monoscope.app.verbs._said import say

if TYPE_CHECKING:
    from monoscope.dictionary.base import Dictionary


def convert(
    source: str,
    out: Path,
    *,
    format: str = "monoscope",
    model: str | None = None,
    site: str | None = None,
    text: str | None = None,
) -> None:
    """Read a dictionary in any known format and write it in another.

    Example: `monoscope convert my-sae converted --format saelens`

    Example: `monoscope convert my-sae converted --model gpt2 --text files:notes`

    Some files of other libraries hold no threshold. It is then set on activations of a text, so that as many features a
    token are active on average as the file's k says.

    Parameters
    ----------
    source
        A folder or file, or a repository of the Hugging Face Hub as org/repo or org/repo:sub/folder, at a branch, tag
        or commit as org/repo@revision:sub/folder.
    out
        The folder to write.
    format
        The format to write, such as monoscope, saelens, dictionary_learning or sparsify.
    model
        For a file without a threshold: its model; by default the one that the file names.
    site
        For a file without a threshold: its site; by default the one that the file names.
    text
        For a file without a threshold: what the model reads, such as python_source, files:PATH or huggingface:ID.
    """
    from monoscope.dictionary import io

    made = io.load(source)
    done = None if made.calibrated else calibrated(made, source, model, site, text)
    made.save(out, format=format)
    say(
        f"{made.architecture}, {made.n_features:,} features from {made.d_in:,} to {made.d_out:,} numbers: "
        f"{source} is in {out} as {format}"
    )
    if unread := made.provenance.get("unread"):
        say(f"not understood and left out of account: {', '.join(unread)}")
    if done is not None:
        say(done)
    elif text is not None:
        say("its file needs no calibration, so --text was not read")


def calibrated(made: Dictionary, source: str, model: str | None, site: str | None, text: str | None) -> str:
    """Set a threshold that was never set; says what was done.

    Raises:
        MonoscopeError: model, site or text are not known, or do not belong to the dictionary.
    """
    from monoscope.app import given, recalibrating, windows
    from monoscope.app.plan import refuse_stranger
    from monoscope.errors import MonoscopeError
    from monoscope.types import Site

    name, place = model or made.provenance.get("model"), site or made.provenance.get("site")
    if name is None or place is None or text is None:
        wanted = {"--model MODEL": name, "--site SITE": place, "--text TEXT": text}
        raise MonoscopeError(
            "the threshold of this dictionary was never set, so nothing says which features are active",
            where=source,
            fix=f"add {' '.join(flag for flag, known in wanted.items() if known is None)}, and it is set on what the "
            f"model makes of that text, for {made.options()['k']} features a token",
        )
    lm, place = given.model_of(made, model), str(Site.parse(place))
    refuse_stranger(made, lm, place)
    windows.cut_for(lm, made)
    for remark in given.remarks(made, lm):
        say(remark)
    return recalibrating.on_text(made, lm, place, text)
