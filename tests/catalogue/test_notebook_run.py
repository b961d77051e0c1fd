"""A real notebook, run by a real kernel; only where nbclient and ipykernel are installed."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from catalogue_world import dictionary, language_model, store

from monoscope.catalogue.build import build
from monoscope.catalogue.records import Label

CELLS = (
    "import monoscope as ms\ncat = ms.open_catalogue(RUN)\ncat",
    "cat[5]",
    "cat.search('docstring')",
    "cat[int(cat.features['density'].argmax())]",
    "ms.load(RUN + '/dictionary')",
)


@pytest.mark.slow
def test_every_cell_shows_html(tmp_path: Path) -> None:
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")
    with build(tmp_path, language_model(1), "mlp_act.0", dictionary(), store(tmp_path / "text"), effects=1) as made:
        made.write_labels([Label(5, "context", "c", "a <docstring>", 0.1, 0.9, 0.8, 0.85, 0.8, 0.9, 0.2, 80, 14)])
    dictionary().save(tmp_path / "dictionary")
    book = nbformat.v4.new_notebook()
    book.cells = [nbformat.v4.new_code_cell(f"RUN = {str(tmp_path)!r}"), *map(nbformat.v4.new_code_cell, CELLS)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what these libraries deprecate is theirs
        nbclient.NotebookClient(book, timeout=120).execute()
    for cell in book.cells[1:]:
        (output,) = cell.outputs
        html = output["data"]["text/html"]
        assert html.startswith("<div style=") and "<script" not in html and "text/plain" in output["data"]
    assert "a &lt;docstring&gt;" in book.cells[2].outputs[0]["data"]["text/html"]
    assert "Where it fires most" in book.cells[4].outputs[0]["data"]["text/html"]
