"""From one format of dictionaries to another."""

from __future__ import annotations

from pathlib import Path


def convert(source: str, out: Path, *, format: str = "monoscope") -> None:
    """Read a dictionary in any known format and write it in another.

    Example: `monoscope convert my-sae converted --format saelens`

    Parameters
    ----------
    source
        A folder or file, or a repository of the Hugging Face Hub as org/repo or org/repo:sub/folder.
    out
        The folder to write.
    format
        The format to write, such as monoscope, saelens, dictionary_learning or sparsify.
    """
    from rich.console import Console

    from monoscope.dictionary import io

    made = io.load(source)
    made.save(out, format=format)
    console = Console()
    console.print(
        f"{made.architecture}, {made.n_features:,} features from {made.d_in:,} to {made.d_out:,} numbers: "
        f"{source} is in {out} as {format}",
        markup=False,
    )
    if unread := made.provenance.get("unread"):
        console.print(f"not understood and left out of account: {', '.join(unread)}", markup=False)
    if not getattr(made, "calibrated", True):
        console.print("its threshold was never set: calibrate it before use (docs/formats.md)", markup=False)
