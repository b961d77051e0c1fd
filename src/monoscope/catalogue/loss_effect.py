"""What a feature does for the model's prediction: the loss of the next token without it, less the loss with it.

At one position of one document, ``value · direction`` is subtracted from what the model holds at the site, and the rest
of the forward pass runs as usual. A positive effect means that the feature helped to predict what came next. A window
begins where it began when the text was harvested, so that activations are those in the catalogue, and ends at the
patched position, because a causal model does not look further.

There are two ways to the same number:

* *Patched pass*: the window runs again for every feature that is removed in it. Right for every site and model; passes
  are batched by length, and the clean loss takes one pass a window.
* *Direct*: where nothing but a linear map lies between the site and the final residual stream (``mlp_act``, ``mlp_out``
  and ``resid_post`` of a last layer), the patch is mapped and subtracted from the clean residual vector, and only
  the final norm and the head run again: one vector for every feature instead of a window.

Nobody says which applies: both are computed for the first places, and the direct way is taken where they agree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Integer
from torch import Tensor

from monoscope.catalogue.readout import Readout, Write
from monoscope.models import LanguageModel
from monoscope.text.pack import block
from monoscope.text.store import TokenStore
from monoscope.types import Site, TokenBlock

Progress = Callable[[int, int], None]
TOKENS = 16_384  # tokens that run at once
ROWS = 1024  # residual vectors whose logits are held at once
TRIED = 48  # places at which both ways are compared


@dataclass(frozen=True)
class Places:
    """Where features are removed: ``windows`` holds (document, first position, tokens up to the place) of each place,
    ``targets`` the next token, ``patches`` what is subtracted.
    """  # fmt: skip

    windows: Integer[np.ndarray, "n 3"]
    targets: Integer[Tensor, " n"]
    patches: Float[Tensor, "n d"]

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, chosen: slice) -> Places:
        return Places(self.windows[chosen], self.targets[chosen], self.patches[chosen])


@torch.no_grad()
def loss_effects(
    lm: LanguageModel,
    store: TokenStore,
    site: Site | str,
    directions: Float[Tensor, "n_features d"],
    features: Integer[np.ndarray, " n"],
    documents: Integer[np.ndarray, " n"],
    positions: Integer[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    *,
    budget: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Float[np.ndarray, " n"]:
    """The effect on the next token's loss of removing each feature at each place, in nats.

    Args:
        lm: the model.
        store: the text.
        site: where the features write.
        directions: what each feature writes per unit of its value.
        features: which feature is removed at each place.
        documents: the places' documents.
        positions: their positions.
        values: the features' values there.
        budget: where patched passes are needed, how many tokens may run; every feature's first places come first.
        progress: told (done, total) places.

    Returns:
        Loss without the feature less loss with it; NaN at the last token of a document, beyond the budget, and
        everywhere for a model without a head.
    """
    out = np.full(len(features), np.nan)
    lengths = store.token_offsets[documents + 1] - store.token_offsets[documents]
    kept = np.flatnonzero(positions + 1 < lengths)
    if not lm.has_head or len(kept) == 0:
        return out
    documents, positions = documents[kept], positions[kept]
    first = positions // lm_room(lm) * lm_room(lm)
    places = Places(
        np.stack([documents, first, positions - first + 1], 1),
        torch.from_numpy(store.tokens[store.rows_of(documents, positions + 1)].astype(np.int64)),
        torch.from_numpy(values[kept]).float()[:, None] * directions.detach().float().cpu()[features[kept]],
    )
    readout = Readout(lm)
    direct = _Direct.of(lm, site)
    if direct is not None and direct.agrees(readout, lm, store, site, places[:TRIED]):
        out[kept] = direct.effects(readout, lm, store, places, progress)
        return out
    within = _within(budget, features[kept], places.windows[:, 2])
    chosen = Places(places.windows[within], places.targets[within], places.patches[within])
    out[kept[within]] = patched(readout, lm, store, site, chosen, progress)
    return out


def lm_room(lm: LanguageModel) -> int:
    """How many tokens of text a window holds."""
    return lm.window - len(lm.tokeniser.prefix) - len(lm.tokeniser.suffix)


def _within(
    budget: int | None, features: Integer[np.ndarray, " n"], lengths: Integer[np.ndarray, " n"]
) -> Integer[np.ndarray, " n_kept"]:
    """The places whose windows fit into the budget: every feature's first place, then every second one, …"""
    order = np.argsort(features, kind="stable")
    starts = np.searchsorted(features[order], features[order])
    rank = np.empty(len(features), np.int64)
    rank[order] = np.arange(len(features)) - starts
    by_rank = np.argsort(rank, kind="stable")
    spent = np.cumsum(lengths[by_rank])
    return np.sort(by_rank if budget is None else by_rank[spent <= budget])


def patched(
    readout: Readout, lm: LanguageModel, store: TokenStore, site: Site | str, places: Places, progress: Progress
) -> Float[np.ndarray, " n"]:
    """The effects by a patched pass for every place."""
    clean = torch.empty(len(places))
    for tokens, rows, columns, which in _clean_blocks(lm, store, places.windows):
        clean[which] = readout.losses(tokens, rows, columns, places.targets[which], {})
    out = np.empty(len(places))
    done = 0
    for batch in _batches(places.windows[:, 2]):
        rows, columns = torch.arange(len(batch)), _columns(lm, places.windows[batch])
        tokens = block(store, places.windows[batch], lm.tokeniser, lm.window)
        write = _subtraction(rows, columns, places.patches[batch])
        losses = readout.losses(tokens, rows, columns, places.targets[batch], {site: write})
        out[batch] = (losses - clean[batch]).numpy()
        done += len(batch)
        progress(done, len(places))
    return out


@dataclass(frozen=True)
class _Direct:
    """The direct way: ``into`` maps a vector at the site into the residual stream after the last layer, ``last``."""

    last: str
    into: Float[Tensor, "d d_model"]

    @classmethod
    def of(cls, lm: LanguageModel, site: Site | str) -> _Direct | None:
        """The direct way from a site, if it may exist at all."""
        layers = [s for s in lm.sites() if s.kind == "resid_post"]
        into = lm.to_residual(site)
        return cls(str(layers[-1]), into.cpu()) if layers and into is not None else None

    def agrees(self, readout: Readout, lm: LanguageModel, store: TokenStore, site: Site | str, places: Places) -> bool:
        """Whether both ways give the same effects at these places, to single precision."""
        ours = self.effects(readout, lm, store, places, lambda done, total: None)
        theirs = patched(readout, lm, store, site, places, lambda done, total: None)
        return bool(np.all(np.abs(ours - theirs) <= 1e-4 + 1e-3 * np.abs(theirs)))

    def effects(
        self, readout: Readout, lm: LanguageModel, store: TokenStore, places: Places, progress: Progress
    ) -> Float[np.ndarray, " n"]:
        """The effects at the places, as if nothing but ``into`` lay between site and final residual stream."""
        held = torch.empty(len(places), self.into.shape[1])
        done = 0
        for tokens, rows, columns, which in _clean_blocks(lm, store, places.windows):
            found = lm.run(tokens, read=[self.last])[self.last]
            held[which] = found[rows.to(found.device), columns.to(found.device)].float().cpu()
            done += len(which)
            progress(done, len(places))
        clean = self._losses(readout, held, places.targets)
        return (self._losses(readout, held - places.patches @ self.into, places.targets) - clean).numpy()

    def _losses(
        self, readout: Readout, held: Float[Tensor, "n d_model"], targets: Integer[Tensor, " n"]
    ) -> Float[Tensor, " n"]:
        """The loss of each target from a residual vector: it is written into a window of one token of any kind."""
        out = []
        for vectors, wanted in zip(held.split(ROWS), targets.split(ROWS), strict=True):
            zeros = torch.zeros(len(vectors), 1, dtype=torch.long)
            rows = torch.arange(len(vectors))
            out.append(
                readout.losses(TokenBlock(zeros, zeros, zeros), rows, zeros[:, 0], wanted, {self.last: _put(vectors)})
            )
        return torch.cat(out)


def _put(vectors: Float[Tensor, "n d"]) -> Write:
    """A write that replaces what windows of one token hold."""
    return lambda held: vectors[:, None].to(held)


def _subtraction(rows: Integer[Tensor, " n"], columns: Integer[Tensor, " n"], patches: Float[Tensor, "n d"]) -> Write:
    """A write that subtracts each patch at its place, and changes nothing else."""

    def write(held: Tensor) -> Tensor:
        held = held.clone()
        held[rows.to(held.device), columns.to(held.device)] -= patches.to(held)
        return held

    return write


def _columns(lm: LanguageModel, windows: Integer[np.ndarray, "n 3"]) -> Integer[Tensor, " n"]:
    """Where the last token of each window is in its block."""
    return torch.from_numpy(windows[:, 2] - 1 + len(lm.tokeniser.prefix))


def _clean_blocks(
    lm: LanguageModel, store: TokenStore, windows: Integer[np.ndarray, "n 3"]
) -> Iterator[tuple[TokenBlock, Tensor, Tensor, Integer[np.ndarray, " n"]]]:
    """Blocks in which each window's last token occurs once; windows with one beginning share a row.

    Yields:
        (block, rows and columns of the last tokens, which windows these are).
    """
    starts, group = np.unique(windows[:, :2], axis=0, return_inverse=True)
    longest = np.zeros(len(starts), np.int64)
    np.maximum.at(longest, group, windows[:, 2])
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(len(starts) + 1))
    for batch in _batches(longest):
        members = [order[bounds[g] : bounds[g + 1]] for g in batch]
        which = np.concatenate(members)
        rows = torch.from_numpy(np.repeat(np.arange(len(batch)), [len(m) for m in members]))
        tokens = block(store, np.column_stack([starts[batch], longest[batch]]), lm.tokeniser, lm.window)
        yield tokens, rows, _columns(lm, windows[which]), which


def _batches(lengths: Integer[np.ndarray, " n"]) -> Iterator[Integer[np.ndarray, " n_batch"]]:
    """Indices in batches of about equal length, longest first, each of at most ``TOKENS`` padded tokens."""
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        size = max(1, TOKENS // int(lengths[order[first]]))
        yield order[first : first + size]
        first += size
