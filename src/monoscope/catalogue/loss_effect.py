"""What a feature does for the model's prediction: the loss of the next token without it, less the loss with it.

At one position of one document, ``value · direction`` is subtracted from what the model holds at the site, and the rest
of the forward pass runs as usual. A positive effect means that the feature helped to predict what came next.

A patched pass needs the window only up to the patched position: in a causal model nothing after it matters. The window
begins where it began when the text was harvested, so that activations are those in the catalogue. Only one position's
logits are needed of each window, so the pass is cut where the head begins and the head is applied to that position
alone; in a model whose logits are more than that (a soft cap, a scale) whole logits are read. Passes are batched by
length. The clean loss comes from one pass over each window, whatever the number of features that are removed in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor
from torch.nn.functional import cross_entropy

from monoscope.models import LanguageModel
from monoscope.text.pack import block
from monoscope.text.store import TokenStore
from monoscope.types import Site, TokenBlock

Write = Callable[[Tensor], Tensor]
Progress = Callable[[int, int], None]


class _Losses:
    """The loss of chosen next tokens, from the head applied to chosen positions."""

    def __init__(self, lm: LanguageModel) -> None:
        self._lm = lm
        head = lm.model.get_output_embeddings()
        self._head = head
        self._path = next(f"{path}:in" for path, module in lm.model.named_modules() if module is head)
        self._whole = not self._is_plain()

    def _is_plain(self) -> bool:
        """Whether the logits are the head applied to what goes into it, found out on a few tokens."""
        prefix = self._lm.tokeniser.prefix or [0]
        probe = torch.arange(4) % self._lm.tokeniser.vocabulary_size
        tokens = torch.cat([torch.tensor(prefix), probe])[None, : self._lm.context]
        where = torch.zeros_like(tokens)
        at = TokenBlock(tokens, where, where)
        logits = self._lm.run(at, read=["logits"])["logits"]
        again = self._head(self._lm.run(at, read=[self._path])[self._path])
        scale = float(logits.abs().max())
        return again.shape == logits.shape and bool((again - logits).abs().max() <= 1e-4 * max(scale, 1e-6))

    def at(
        self,
        tokens: TokenBlock,
        rows: Int[Tensor, " n"],
        columns: Int[Tensor, " n"],
        targets: Int[Tensor, " n"],
        write: Mapping[Site | str, Write],
    ) -> Float[Tensor, " n"]:
        """The loss of predicting each target from (row, column) of the block, in nats."""
        read = "logits" if self._whole else self._path
        held = self._lm.run(tokens, read=[read], write=write)[read]
        held = held[rows.to(held.device), columns.to(held.device)]
        logits = held if self._whole else self._head(held)
        return cross_entropy(logits.float(), targets.to(logits.device), reduction="none").cpu()


@torch.no_grad()
def loss_effects(
    lm: LanguageModel,
    store: TokenStore,
    site: Site | str,
    directions: Float[Tensor, "n_features d_site"],
    features: Integer[np.ndarray, " n"],
    documents: Integer[np.ndarray, " n"],
    positions: Integer[np.ndarray, " n"],
    values: Float[np.ndarray, " n"],
    *,
    tokens_per_batch: int = 16_384,
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
        tokens_per_batch: tokens that run at once.
        progress: told (done, total) places.

    Returns:
        Loss without the feature less loss with it; NaN at the last token of a document, and everywhere for a model
        without a head.
    """
    out = np.full(len(features), np.nan)
    lengths = store.token_offsets[documents + 1] - store.token_offsets[documents]
    kept = np.flatnonzero(positions + 1 < lengths)
    if not lm.has_head or len(kept) == 0:
        return out
    losses = _Losses(lm)
    documents, positions = documents[kept], positions[kept]
    room = lm.context - len(lm.tokeniser.prefix) - len(lm.tokeniser.suffix)
    firsts = positions // room * room
    targets = torch.from_numpy(store.tokens[store.rows_of(documents, positions + 1)].astype(np.int64))
    windows = np.stack([documents, firsts, positions - firsts + 1], 1)
    patches = torch.from_numpy(values[kept]).float()[:, None] * directions.detach().float().cpu()[features[kept]]
    clean = _clean(losses, lm, store, windows, targets, tokens_per_batch)
    done = 0
    for batch in _batches(windows[:, 2], tokens_per_batch):
        rows, columns = torch.arange(len(batch)), torch.from_numpy(windows[batch, 2] - 1 + len(lm.tokeniser.prefix))
        tokens = block(store, windows[batch], lm.tokeniser, lm.context)
        write = {site: _subtraction(rows, columns, patches[batch])}
        patched = losses.at(tokens, rows, columns, targets[batch], write)
        out[kept[batch]] = (patched - clean[batch]).numpy()
        done += len(batch)
        progress(done, len(kept))
    return out


def _subtraction(rows: Int[Tensor, " n"], columns: Int[Tensor, " n"], patches: Float[Tensor, "n d"]) -> Write:
    """A write that subtracts each patch at its place, and changes nothing else."""

    def write(held: Tensor) -> Tensor:
        held = held.clone()
        held[rows.to(held.device), columns.to(held.device)] -= patches.to(held)
        return held

    return write


def _clean(
    losses: _Losses,
    lm: LanguageModel,
    store: TokenStore,
    windows: Integer[np.ndarray, "n 3"],
    targets: Int[Tensor, " n"],
    tokens_per_batch: int,
) -> Float[Tensor, " n"]:
    """The loss at the last token of each of ``windows`` with nothing removed; windows with one beginning run once."""
    starts, group = np.unique(windows[:, :2], axis=0, return_inverse=True)
    longest = np.zeros(len(starts), np.int64)
    np.maximum.at(longest, group, windows[:, 2])
    order = np.argsort(group, kind="stable")
    bounds = np.searchsorted(group[order], np.arange(len(starts) + 1))
    out = torch.empty(len(windows))
    for batch in _batches(longest, tokens_per_batch):
        members = [order[bounds[g] : bounds[g + 1]] for g in batch]
        places = np.concatenate(members)
        rows = torch.from_numpy(np.repeat(np.arange(len(batch)), [len(m) for m in members]))
        columns = torch.from_numpy(windows[places, 2] - 1 + len(lm.tokeniser.prefix))
        tokens = block(store, np.column_stack([starts[batch], longest[batch]]), lm.tokeniser, lm.context)
        out[places] = losses.at(tokens, rows, columns, targets[places], {})
    return out


def _batches(lengths: Integer[np.ndarray, " n"], tokens: int) -> Iterator[Integer[np.ndarray, " n_batch"]]:
    """Indices in batches of about equal length, longest first, each of at most ``tokens`` padded tokens."""
    order = np.argsort(-lengths, kind="stable")
    first = 0
    while first < len(order):
        size = max(1, tokens // int(lengths[order[first]]))
        yield order[first : first + size]
        first += size
