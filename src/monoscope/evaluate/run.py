"""Evaluating: one pass over held-out text that every dictionary and control shares.

Two draws of windows are made by seed. On the first the model is run whole, once as it is and once with each splice,
for the measures of predictions; on both its activations are read once and reconstructed once by each. A transcoder's
reconstruction is of another site than it reads, and is judged and spliced in there. A first, cut
pass over the first draw finds the mean that mean-ablation puts in place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from monoscope import plugins
from monoscope.dictionary.base import NOWHERE
from monoscope.errors import MonoscopeError
from monoscope.evaluate.batches import Predictions, Reconstructed, Spliced
from monoscope.evaluate.checks import refuse_nan
from monoscope.evaluate.evaluation import MAIN, Evaluation, Metrics
from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.measure import PREDICTIONS, ROWS, Facts, Once, SumsByDocument, Tally
from monoscope.evaluate.reconstructor import Reconstructor
from monoscope.evaluate.splice import Write, replace_rows
from monoscope.text import pack
from monoscope.text.store import TokenStore
from monoscope.types import Site, TokenBlock

if TYPE_CHECKING:
    from monoscope.models import LanguageModel

MEASURES = "monoscope.evaluate.measures"
LOGITS = 1 << 23  # logits of one block: 32 MB, and a handful of such arrays


@dataclass
class _Judged:
    """One reconstructor and its tallies, by measure."""

    reconstructor: Reconstructor
    tallies: dict[str, Tally]
    parts: dict[str, str]

    def add(self, part: str, batch: Reconstructed | Spliced) -> None:
        for name, tally in self.tallies.items():
            if self.parts[name] == part:
                tally.add(batch)


@dataclass(frozen=True)
class _Rows:
    """A block's rows, checked, with where they come from: ``x`` are read, ``y`` reconstructed: often the same."""

    x: Float[Tensor, "n d_in"]
    y: Float[Tensor, "n d_out"]
    slots: Int[Tensor, " n"]
    documents: Int[Tensor, " n"]
    positions: Int[Tensor, " n"]
    keys: Int[Tensor, " n"]
    is_text: Bool[Tensor, "blocks context"]


@dataclass(frozen=True)
class _Plan:
    """What is run: the model, where it is read and written, and how the documents that are read are numbered from 0."""

    lm: LanguageModel
    site: str
    target: str
    store: TokenStore
    slot_of: Int[Tensor, " n_store_documents"]
    context: int
    tokens_per_block: int
    seed: int

    def blocks(self, windows: Int[np.ndarray, "n 3"], tokens_per_block: int) -> Iterator[TokenBlock]:
        """The windows in blocks, long ones together, so that little is padded."""
        ordered = windows[np.argsort(-windows[:, 2], kind="stable")]
        size = max(1, tokens_per_block // self.context)
        for first in range(0, len(ordered), size):
            yield pack.block(self.store, ordered[first : first + size], self.lm.tokeniser, self.context)

    @property
    def sites(self) -> list[str]:
        """Those that are read: the target too, where it is another one."""
        return list(dict.fromkeys([self.site, self.target]))

    def rows(self, block: TokenBlock, seen: Mapping[str, Tensor]) -> _Rows:
        """The text rows of a block's sites."""
        is_text = block.is_text.to(seen[self.site].device)
        documents, positions = block.documents[block.is_text], block.positions[block.is_text]
        found = {}
        for site in self.sites:
            x = seen[site][is_text]
            found[site] = x if x.dtype == torch.float64 else x.float()
            refuse_nan(found[site], f"activations of {site}", self.store, documents, positions)
        x, y = found[self.site], found[self.target]
        keys = torch.from_numpy(self.store.rows_of(documents.numpy(), positions.numpy()))
        return _Rows(x, y, self.slot_of[documents].to(x.device), documents, positions, keys, is_text)

    def predictions(self, block: TokenBlock, rows: _Rows, logits: Tensor, ablated: Mapping[str, Tensor]) -> Predictions:
        """The untouched model's predictions, with the losses under each ablation."""
        device = logits.device
        text, documents = block.is_text, block.documents
        counted = torch.zeros_like(text)
        counted[:, :-1] = text[:, :-1] & text[:, 1:] & (documents[:, :-1] == documents[:, 1:])
        targets = torch.roll(block.tokens, -1, 1).to(device)
        slots = self.slot_of[documents[counted]].to(device)
        width = rows.y.shape[1]
        made = Predictions(log_softmax(logits), targets, counted.to(device), slots, {}, {}, rows.keys, width, self.seed)
        made.losses["ce"] = made.cross_entropy(made.log_p)
        for name, row in ablated.items():
            write = replace_rows(text.to(device), row)
            log_q = log_softmax(self.lm.run(block, read=["logits"], write={self.target: write})["logits"])
            made.losses[f"ce_{name}"] = made.cross_entropy(log_q)
            made.divergences[f"kl_{name}"] = made.divergence(log_q)
        return made


def log_softmax(logits: Tensor) -> Tensor:
    """Log-probabilities in float32 or better."""
    return torch.log_softmax(logits if logits.dtype == torch.float64 else logits.float(), -1)


@torch.no_grad()
def evaluate(
    lm: LanguageModel,
    site: Site | str,
    dictionaries: Mapping[str, Reconstructor],
    store: TokenStore,
    documents: Sequence[int] | Int[np.ndarray, " n"],
    *,
    target: Site | str | None = None,
    n_tokens: int = 1_000_000,
    n_loss_tokens: int = 100_000,
    seed: int = 0,
    measures: Sequence[str] | None = None,
    context: int | None = None,
    tokens_per_block: int = 16_384,
    progress: Callable[[int], None] = lambda tokens: None,
) -> Evaluation:
    """Judge a dictionary and its controls on held-out documents.

    Args:
        lm, site: the model, and where the dictionary reads it, and writes it unless there is a ``target``.
        dictionaries: name → reconstructor. The first is the one judged; the others are its controls.
        store, documents: held-out text: documents that neither the model nor any of the dictionaries was fitted on.
        target: where transcoders write: the site whose rows they predict from those of ``site``, and on which they are
            judged and spliced in.
        n_tokens: about how many tokens are reconstructed; whole windows, drawn by ``seed``.
        n_loss_tokens: on how many of these the model is run with the splices; may be 0. Without a head, none.
        seed: fixes the windows drawn and the resamples of the intervals.
        measures: names of files of ``evaluate/measures``, or dotted modules; None is all of the folder.
        context: tokens in a window; None is ``lm.window``, usually the model's longest.
        tokens_per_block: how many tokens are in memory at once; it changes no result.
        progress: told the number of tokens of each finished block.

    Raises:
        MonoscopeError: there is no dictionary, too little text, an unknown measure, a dictionary of another width, or
            NaN in activations or reconstructions.
    """
    if not dictionaries:
        raise MonoscopeError("there is nothing to evaluate", fix="give at least one dictionary")
    modules = {name: plugins.load(MEASURES, name) for name in measures or plugins.names(MEASURES)}
    context = min(context or lm.window, lm.context)
    with_loss = lm.has_head and n_loss_tokens > 0 and any(m.PART == PREDICTIONS for m in modules.values())
    windows = pack.windows(store, np.unique(np.asarray(documents, dtype=np.int64)), lm.tokeniser, context)
    first, second = _draw(windows, n_loss_tokens if with_loss else 0, n_tokens, seed)
    drawn = np.unique(np.concatenate([first[:, 0], second[:, 0]]))  # of many documents few tokens reach only some
    slot_of = torch.full((len(store),), -1, dtype=torch.long)
    slot_of[torch.from_numpy(drawn)] = torch.arange(len(drawn))
    plan = _Plan(lm, str(site), str(target or site), store, slot_of, context, tokens_per_block, seed)
    for name, r in dictionaries.items():
        _refuse_elsewhere(plan, name, r)
    moments = SumsByDocument(len(drawn))
    n_drawn = _tokens(first) + _tokens(second)
    facts = partial(Facts, len(drawn), seed=seed, activations=moments, n_tokens=n_drawn, once=Once())
    judged = {name: _judge(r, modules, facts) for name, r in dictionaries.items()}

    if with_loss:
        ablated = _ablations(plan, first)
        for block in plan.blocks(first, min(tokens_per_block, LOGITS // lm.tokeniser.vocabulary_size)):
            seen = lm.run(block, read=[*plan.sites, "logits"])
            rows = plan.rows(block, seen)
            predictions = plan.predictions(block, rows, seen["logits"], ablated)
            _add_rows(plan, judged, rows, moments, _splicer(plan, block, predictions))
            progress(len(rows.x))
    for block in plan.blocks(second, tokens_per_block):
        rows = plan.rows(block, lm.run(block, read=plan.sites))
        _add_rows(plan, judged, rows, moments)
        progress(len(rows.x))
    return _conclude(plan, judged, modules, with_loss, first, second, seed)


def _refuse_elsewhere(plan: _Plan, name: str, r: Reconstructor) -> None:
    """Refuse a dictionary that says that it writes elsewhere than it is to be judged."""
    told = getattr(r, "provenance", {}).get("target")
    elsewhere = told in NOWHERE or getattr(r, "w_skip", None) is not None
    if plan.target == plan.site and (elsewhere or told not in (None, plan.site)):
        raise MonoscopeError(
            f"{name} is a transcoder: it does not write {plan.site}, which it reads",
            fix="pass the target that it writes",
        )
    if told not in (None, plan.target, *NOWHERE):
        raise MonoscopeError(f"{name} writes {told}, not {plan.target}", fix=f"pass the target {told}")


def _draw(
    windows: Int[np.ndarray, "n 3"], n_loss: int, n_rows: int, seed: int
) -> tuple[Int[np.ndarray, "a 3"], Int[np.ndarray, "b 3"]]:
    """The windows for the measures of predictions, and the rest of those for the measures of rows."""
    shuffled = windows[np.random.default_rng(seed).permutation(len(windows))]
    reached = np.cumsum(shuffled[:, 2]) - shuffled[:, 2]  # tokens before each window
    first = int((reached < min(n_loss, n_rows)).sum())
    last = int((reached < n_rows).sum())
    if len(np.unique(shuffled[: first or last, 0])) < 2:
        raise MonoscopeError(
            "an evaluation needs at least two documents: its intervals come from the differences between them",
            fix="give more held-out text, in more documents, or more tokens",
        )
    return shuffled[:first], shuffled[first:last]


def _tokens(windows: Int[np.ndarray, "n 3"]) -> int:
    return int(windows[:, 2].sum())


def _judge(r: Reconstructor, modules: Mapping[str, ModuleType], told: Callable[..., Facts]) -> _Judged:
    facts = told(
        n_features=r.n_features,
        directions=getattr(r, "directions", None),
        rest=getattr(r, "rest", None),
        reconstruct=lambda x: r.decode(r.encode(x), x),
    )
    return _Judged(r, {k: m.start(facts) for k, m in modules.items()}, {k: m.PART for k, m in modules.items()})


def _ablations(plan: _Plan, windows: Int[np.ndarray, "n 3"]) -> dict[str, Tensor]:
    """What each ablation puts in the place of a row: the mean row of the same tokens, and zero."""
    total, count = torch.zeros(()), 0
    for block in plan.blocks(windows, plan.tokens_per_block):
        y = plan.rows(block, plan.lm.run(block, read=plan.sites)).y
        total, count = total.to(y.device) + y.sum(0, dtype=torch.float64), count + len(y)
    return {"mean": total / count, "zero": torch.zeros_like(total)}


def _splicer(plan: _Plan, block: TokenBlock, predictions: Predictions) -> Callable[[_Rows, Tensor], Spliced]:
    """What turns a reconstruction of the block's rows into the predictions made with it."""

    def splice(rows: _Rows, y_hat: Tensor) -> Spliced:
        def again(other: Tensor) -> Tensor:
            write: dict[Site | str, Write] = {plan.target: replace_rows(rows.is_text, other)}
            return log_softmax(plan.lm.run(block, read=["logits"], write=write)["logits"])

        return Spliced(predictions, again(y_hat), rows.y, y_hat, again)

    return splice


def _add_rows(
    plan: _Plan,
    judged: Mapping[str, _Judged],
    rows: _Rows,
    moments: SumsByDocument,
    splice: Callable[[_Rows, Tensor], Spliced] | None = None,
) -> None:
    """Reconstruct a block's rows with every reconstructor, once, and let all measures see it."""
    exact = rows.y.double()  # Σ‖y‖² − n‖ȳ‖² cancels where the mean is large, so these sums are exact from the start
    moments.add(rows.slots, {"norm": torch.linalg.vecdot(exact, exact), "sum": exact})
    for name, one in judged.items():
        code = one.reconstructor.encode(rows.x)
        y_hat = one.reconstructor.decode(code, rows.x).to(rows.y)  # a dictionary answers rows of float64 in float32
        if y_hat.shape != rows.y.shape:
            raise MonoscopeError(
                f"{name} reconstructs rows of {y_hat.shape[-1]}, but {plan.target} has {rows.y.shape[-1]}",
                fix="evaluate a dictionary at the site that it was trained on",
            )
        refuse_nan(y_hat, f"reconstructions by {name}", plan.store, rows.documents, rows.positions)
        one.add(ROWS, Reconstructed(rows.y, y_hat, code, rows.slots, rows.keys, rows.x))
        if splice is not None:
            one.add(PREDICTIONS, splice(rows, y_hat))


def _metrics(one: _Judged, modules: Mapping[str, ModuleType], with_loss: bool) -> Metrics:
    """All metrics of one reconstructor; null where there was nothing to measure."""
    found: Metrics = {}
    for name, module in modules.items():
        applies = module.PART == ROWS or with_loss
        found |= one.tallies[name].estimates() if applies else dict.fromkeys(module.NAMES, Estimate())
    return found


def _differences(
    one: _Judged, other: _Judged, modules: Mapping[str, ModuleType], with_loss: bool, metrics: Metrics
) -> Metrics:
    """Paired differences of two reconstructors in all metrics; null where there was nothing to measure."""
    found: Metrics = dict.fromkeys(metrics, Estimate())
    for name, module in modules.items():
        if module.PART == ROWS or with_loss:
            found |= one.tallies[name].differences(other.tallies[name])
    return found


def _conclude(
    plan: _Plan,
    judged: Mapping[str, _Judged],
    modules: Mapping[str, ModuleType],
    with_loss: bool,
    first: Int[np.ndarray, "a 3"],
    second: Int[np.ndarray, "b 3"],
    seed: int,
) -> Evaluation:
    main, *others = judged
    metrics = {name: _metrics(one, modules, with_loss) for name, one in judged.items()}
    details: dict[str, dict[str, Any]] = {}
    for name, one in judged.items():
        for measure, tally in one.tallies.items():
            if shown := tally.details():
                details.setdefault(measure, {})[MAIN if name == main else name] = shown
    facts = {
        "model": plan.lm.name,
        "site": plan.site,
        "target": plan.target,
        "seed": seed,
        "n_tokens": _tokens(first) + _tokens(second),
        "n_loss_tokens": _tokens(first),
        "n_documents": int((plan.slot_of >= 0).sum()),
        "context": plan.context,
    }
    differences = {name: _differences(judged[main], judged[name], modules, with_loss, metrics[main]) for name in others}
    return Evaluation(metrics.pop(main), metrics, facts, details, differences)
