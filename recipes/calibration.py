"""How far the L0 of other documents is from that of those a threshold was set on, by what long documents count for.

    python recipes/calibration.py RUN

The active features of every token of a run's splits ``fit`` and ``test`` are counted once. Then the documents are dealt
4,000 times into two halves, one to calibrate on, one to judge: shown is how far the L0 of the second is from that of
the first, where a document counts in the first for no more than so many tokens.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from cyclopts import App
from jaxtyping import Float
from rich.console import Console
from rich.table import Table

from monoscope.app.plan import FIT, TEST
from monoscope.app.run import Run
from monoscope.dictionary import io
from monoscope.harvest.stream import stream

ENOUGH = (0, 4000, 2000, 1500, 1000, 700, 500, 300)  # tokens of a document; 0: all of them
DEALS, NEAR = 4000, 0.03
app = App(help=__doc__)


def counted(run: Run) -> Float[np.ndarray, "2 n_documents"]:
    """How many tokens each document has, and how many features are active on one of them on average."""
    dictionary, site = io.load(run.path / "dictionary"), run.plan.site
    tokens, active = (np.zeros(len(run.store.names)) for _ in range(2))
    documents = np.concatenate([run.store.documents(split) for split in (FIT, TEST)])
    for rows in stream(run.lm, run.store, documents, [site]):
        at = rows.documents.numpy()
        tokens += np.bincount(at, minlength=len(tokens))
        active += np.bincount(at, dictionary.encode(rows.values[site]).counts().numpy(), len(tokens))
    held = tokens > 0
    return np.stack([tokens[held], active[held] / tokens[held]])


def apart(
    lengths: Float[np.ndarray, " n"], l0: Float[np.ndarray, " n"], enough: int, rng: np.random.Generator
) -> Float[np.ndarray, " n_deals"]:
    """The logarithm of the L0 of one half of the documents over that of the other, for each deal."""
    found = np.empty(DEALS)
    weights = np.minimum(lengths, enough) if enough else lengths
    for i in range(DEALS):
        one, other = np.array_split(rng.permutation(len(lengths)), 2)
        found[i] = np.average(l0[other], weights=lengths[other]) / np.average(l0[one], weights=weights[one])
    return np.log(found)


@app.default
def main(run: Path) -> None:
    """Print the table.

    Args:
        run: the folder of a run with a dictionary.
    """
    lengths, l0 = counted(Run(run))
    table = Table(
        title=f"{len(lengths)} documents, {int(lengths.sum()):,} tokens, L0 {np.average(l0, weights=lengths):.1f}"
    )
    for name in ("tokens of a document", "root mean square", "off on average", f"within {NEAR:.0%}"):
        table.add_column(name, justify="right")
    for enough in ENOUGH:
        off = apart(lengths, l0, enough, np.random.default_rng(0))
        shares = (np.sqrt((off**2).mean()), off.mean(), (abs(off) < NEAR).mean())
        table.add_row(f"{enough:,}" if enough else "all", *(f"{share:.1%}" for share in shares))
    Console().print(table)


if __name__ == "__main__":
    app()
