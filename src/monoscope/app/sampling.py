"""Some tokens of a run's text, drawn as whole windows, and a site's activations on them."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from monoscope.app.run import Run
from monoscope.models import LanguageModel
from monoscope.text import pack
from monoscope.text.rows import Rows


def draw(run: Run, rows: Rows, split: str, wanted: int) -> Int[np.ndarray, " n"]:
    """Rows of whole windows, drawn by the run's seed, until there are ``wanted``; ascending."""
    found = pack.windows(run.store, run.store.documents(split), run.lm.tokeniser, run.lm.window)
    shuffled = found[np.random.default_rng(run.plan.seed).permutation(len(found))]
    reached = np.cumsum(shuffled[:, 2]) - shuffled[:, 2]
    chosen = shuffled[reached < wanted]
    parts = [rows.index(np.full(n, d), np.arange(first, first + n)) for d, first, n in chosen.tolist()]
    return np.sort(np.concatenate(parts))


def activations(
    run: Run,
    lm: LanguageModel,
    rows: Rows,
    drawn: Int[np.ndarray, " n"],
    kept: Bool[np.ndarray, " n"] | None = None,
) -> Float[Tensor, "m d"]:
    """The activations of ``lm`` at the run's site, read in the windows that ``draw`` took the rows from.

    Of rows that are not ``kept`` nothing is held.
    """
    documents, positions = rows.locate(drawn)
    cut = np.flatnonzero((np.diff(documents) != 0) | (np.diff(positions) != 1)) + 1
    firsts, ends = np.concatenate([[0], cut]), np.concatenate([cut, [len(drawn)]])
    room = lm.window - len(lm.tokeniser.prefix) - len(lm.tokeniser.suffix)
    windows = [
        (at, documents[at], positions[at], min(room, b - at))
        for a, b in zip(firsts.tolist(), ends.tolist(), strict=True)
        for at in range(a, b, room)
    ]
    site, parts = run.plan.site, []
    with torch.no_grad():
        for at, *window in windows:
            here = np.ones(window[2], bool) if kept is None else kept[at : at + window[2]]
            if here.any():
                block = pack.block(run.store, np.array([window]), lm.tokeniser, lm.window)
                made = lm.run(block, read=[site])[site][block.is_text].float().cpu()
                parts.append(made[torch.from_numpy(here)])
    return torch.cat(parts)
