"""Setting thresholds that a dictionary's file left void, on activations of the site that it reads."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from jaxtyping import Int

from monoscope import progress
from monoscope.app.plan import FIT, TEST, TESTED
from monoscope.dictionary.base import Dictionary
from monoscope.harvest.stream import Stream
from monoscope.models import LanguageModel
from monoscope.text import near_duplicates, prepare, splits
from monoscope.text.corpus import open_corpus
from monoscope.text.store import TokenStore
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

    Documents on which a later run of this text would judge the dictionary are left out, see ``untested``.

    Raises:
        MonoscopeError: the text is unusable, or ``recalibrate`` refuses.
    """
    with tempfile.TemporaryDirectory(prefix="monoscope-") as place:
        with progress.bar("reading text", READ) as report:
            store = prepare.prepare(open_corpus(text), lm.tokeniser, Path(place) / "text", {FIT: READ}, progress=report)
        documents = untested(store)
        held = int((store.token_offsets[documents + 1] - store.token_offsets[documents]).sum())
        n_rows = min(rows.CALIBRATION, held)
        return recalibrate(dictionary, Stream(lm, store, documents, [site], n_rows=n_rows, of_each=rows.OF_EACH), text)


def untested(store: TokenStore) -> Int[np.ndarray, " n"]:
    """The documents of a text's beginning that no run of that text with the usual seed has in its split ``test``.

    A run draws splits by a hash of names, ``test`` from the upper end; however many tokens it has, from no more than
    ``TESTED``. Of so few documents that all would be left out, all.
    """
    signatures = np.stack([near_duplicates.signature(store.text(d).decode()) for d in range(len(store.names))])
    clusters, shares = near_duplicates.clusters(signatures), {FIT: 1 - TESTED, TEST: TESTED}
    # whatever their size: what is too large for a run to draw, it does not test on
    drawn = splits.assign(store.names, [0] * len(signatures), clusters, shares)
    kept = np.flatnonzero(np.array(drawn) == FIT)
    return kept if len(kept) else np.arange(len(drawn))
