"""Data sets of the Hugging Face ``datasets`` library: one on its hub, or a folder written by ``save_to_disk``.

``huggingface:ID[:CONFIG][#COLUMN][@SPLIT]``, for example ``huggingface:Salesforce/wikitext:wikitext-2-raw-v1@test`` or
``huggingface:my-saved-folder#body``. The column is ``text`` and the split ``train`` unless named; a saved folder with
one split needs no name. Rows are streamed, so that nothing larger than a batch is held, and documents are named
``ID/SPLIT/ROW``, rows counted from 0 as ``datasets`` does.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from monoscope import hub
from monoscope.errors import MonoscopeError, unknown_name
from monoscope.types import Document

_SOURCE = re.compile(r"(?P<name>[^#@]+)(?:#(?P<column>[^@]+))?(?:@(?P<split>.+))?")


def documents(source: str) -> Iterator[Document]:
    """The rows of a data set, in its order; rows without text are passed over.

    Raises:
        MonoscopeError: ``datasets`` is not installed, the data set, split or column does not exist or cannot be read,
            or there is no text in it.
    """
    if find_spec("datasets") is None:
        raise MonoscopeError("Hugging Face data sets need the datasets library", fix='pip install "monoscope[data]"')
    parsed = _SOURCE.fullmatch(source)
    if parsed is None:
        raise MonoscopeError(f"{source!r} names no data set", fix="write huggingface:ID#COLUMN@SPLIT")
    name, column, split = parsed["name"], parsed["column"] or "text", parsed["split"]
    folder = Path(name).expanduser()
    rows, split = _saved(folder, split) if folder.is_dir() else _hub(name, split or "train")
    columns = getattr(rows, "column_names", None)
    if columns is not None and column not in columns:
        raise unknown_name(f"column of {name}:", column, columns)
    label = folder.name if folder.is_dir() else name
    yield from _texts(rows, column, f"{label}/{split}")


def _texts(rows: Iterable[dict[str, Any]], column: str, prefix: str) -> Iterator[Document]:
    found = False
    for i, row in enumerate(rows):
        if column not in row:
            raise unknown_name(f"column of {prefix}:", column, row)
        text = row[column]
        if text is None or text == "":
            continue
        if not isinstance(text, str):
            kind = type(text).__name__
            raise MonoscopeError(f"the column {column!r} holds a {kind}, not text", where=f"{prefix}, row {i}")
        if not text.isspace():
            found = True
            yield Document(f"{prefix}/{i}", text)
    if not found:
        raise MonoscopeError("the text is empty", where=prefix, fix="name another data set, split or column")


def _saved(folder: Path, split: str | None) -> tuple[Iterable[dict[str, Any]], str]:
    """A folder written by ``save_to_disk``: a data set, or one for each of several splits."""
    import datasets

    try:
        held = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise MonoscopeError(
            f"{folder} holds no saved data set: {error}", fix="for a folder of text files write files:FOLDER"
        ) from error
    if not isinstance(held, datasets.DatasetDict):
        return held, split or str(held.split or "all")
    wanted = split or ("train" if len(held) > 1 else next(iter(held)))
    if wanted not in held:
        raise unknown_name(f"split of {folder.name}:", wanted, held)
    return held[wanted], wanted


def _refuse_unreached(id_: str) -> None:
    """Raise ``MonoscopeError`` where the Hub does not answer: ``datasets`` would ask it again for half a minute."""
    from huggingface_hub.constants import is_offline_mode

    if not (is_offline_mode() or hub.is_path(id_) or hub.answers(id_, "dataset")):
        raise MonoscopeError(
            f"{id_!r} is no folder here, and the Hugging Face Hub, which may have it, cannot be reached",
            fix="check the name and the connection; set HF_HUB_OFFLINE=1 for what was fetched before, or name a folder "
            "of save_to_disk",
        )


def _hub(name: str, split: str) -> tuple[Iterable[dict[str, Any]], str]:
    import datasets

    id_, _, config = name.partition(":")
    _refuse_unreached(id_)
    try:
        return datasets.load_dataset(id_, config or None, split=split, streaming=True), split
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        raise MonoscopeError(
            f"the data set {name!r} cannot be opened: {error}",
            fix="check its id, configuration and split, and the connection; offline, name a folder of save_to_disk",
        ) from error
