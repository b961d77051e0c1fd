"""Setting thresholds that a dictionary's file left void, on activations of the site that it reads."""

from __future__ import annotations

import tempfile
from pathlib import Path

from monoscope import progress
from monoscope.app.plan import FIT
from monoscope.dictionary.base import Dictionary
from monoscope.harvest.stream import Stream
from monoscope.models import LanguageModel
from monoscope.text import prepare
from monoscope.text.corpus import open_corpus
from monoscope.train import rows
from monoscope.train.calibrate import calibrate

READ = 4 * rows.CALIBRATION  # tokens of a text, from all over which the windows to calibrate on are drawn


def recalibrate(dictionary: Dictionary, source: Stream, text: str) -> str:
    """Set the threshold at which the dictionary's own k features a row are active on average, in place.

    ``dictionary.provenance["calibrated_on"]`` then holds the model, the site, the text and the number of tokens.

    Args:
        dictionary: whose threshold was never set.
        source: activations of the one site that the dictionary reads; the first 16,384 rows are taken.
        text: the name of the corpus that they are of.

    Returns:
        What was done, in a sentence.

    Raises:
        MonoscopeError: no feature is active on these rows.
    """
    (site,) = source.sites
    x = rows.copied(source, site, 0, min(rows.CALIBRATION, sum(source.counts)))
    calibrate(dictionary, x)
    told = {"model": source.lm.name, "site": site, "text": text, "n_tokens": len(x)}
    dictionary.provenance["calibrated_on"] = told
    k = dictionary.options()["k"]
    return f"its file sets no threshold: it was calibrated to {k} features a token, on {len(x):,} tokens of {text}"


def on_text(dictionary: Dictionary, lm: LanguageModel, site: str, text: str) -> str:
    """Recalibrate on windows drawn from all over the beginning of a text that no run holds; see ``recalibrate``.

    Raises:
        MonoscopeError: the text is unusable, or ``recalibrate`` refuses.
    """
    with tempfile.TemporaryDirectory(prefix="monoscope-") as place:
        with progress.bar("reading text", READ) as report:
            store = prepare.prepare(open_corpus(text), lm.tokeniser, Path(place) / "text", {FIT: READ}, progress=report)
        n_rows = min(rows.CALIBRATION, store.tokens_in(FIT))
        return recalibrate(dictionary, Stream(lm, store, store.documents(FIT), [site], n_rows=n_rows), text)
