"""Watching a model live: signals read in every forward pass, plain ``generate`` with a cache or without included.

Values are read off what steering wrote, whichever of the two began first, unless a signal says ``before``. Only the
features that are watched are encoded where the dictionary allows it, all of them where they are recorded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from monoscope import folder
from monoscope.errors import MonoscopeError
from monoscope.intervene.steering import positions
from monoscope.models import taps
from monoscope.models.language_model import LanguageModel
from monoscope.models.sites import Sites, sites_of
from monoscope.signals.direction import Sources
from monoscope.types import Code, Site
from monoscope.watch import rules as rules_
from monoscope.watch.acting import Acting, Settings
from monoscope.watch.audit import Audit
from monoscope.watch.beams import Caches
from monoscope.watch.columns import Columns, Group
from monoscope.watch.drift import Drift, Drifted
from monoscope.watch.following import Followed, Follower
from monoscope.watch.monitor import Event
from monoscope.watch.recorder import Recorder
from monoscope.watch.rules import Rules

if TYPE_CHECKING:
    from transformers import PreTrainedModel

NOTHING: Settings = {}
LastCodes = Callable[[Sequence[tuple[int, int]]], Code]
Stopping = Callable[..., Bool[Tensor, " batch"]]


class Watching:
    """Rules compiled for one model; ``held`` is the context in which it is watched.

    Attributes:
        rules: the rules.
        values: of the last pass: ``(batch, tokens, n_signals)``, float32; NaN on padding.
        events: those of the last pass, as (row of the batch, event), where sequences are followed.
        failed: the rows of the last pass that hold a value that is not finite, with the error, where rows are assigned:
            their sequences are over. Otherwise such a value is raised as that error.
        drifted: every drift alarm so far.
        names: what the sequences of the batch that begins next are called, by row; for logs and recordings.
        acting: actions, and the ``metrics`` of the watch.
    """

    def __init__(
        self, model: nn.Module, sites: Sites, rules: Rules, acting: Acting, *,
        follow: bool = True, ends: Iterable[int] | None = None, recorder: Recorder | None = None,
    ) -> None:  # fmt: skip
        """Open dictionaries and vectors and check that everything belongs together; see ``watch``."""
        self.model, self.sites, self.rules, self.acting, self.recorder = model, sites, rules, acting, recorder
        self._sources = Sources(model, sites, "rules file")
        self._sources.check_model(rules.fingerprint, rules.model)
        self._columns = Columns(rules, self._sources, () if recorder is None else recorder.codes)
        if not list(self._columns):
            raise MonoscopeError("nothing is watched", fix="give rules with a signal, or dictionaries to record")
        causal = sites.layout is None or sites.layout.causal
        self._follower = Follower(rules, _ends(model) if ends is None else frozenset(ends), causal) if follow else None
        self._drift, self._caches = Drift(rules), Caches()
        self.values: Float[Tensor, "batch tokens n_signals"] = torch.zeros(0, 0, len(rules.signals))
        self.events: list[tuple[int, Event]] = []
        self.failed: dict[int, MonoscopeError] = {}
        self.drifted: list[Drifted] = []
        self.names: Sequence[str] = ()
        self._values: Float[np.ndarray, "batch tokens n_signals"] = self.values.numpy()
        self._places = torch.zeros(0, 0, dtype=torch.long)
        self._live: Bool[Tensor, "batch tokens"] = self._places >= 0
        self._whole = True  # no padding in the pass
        self._new: list[tuple[int, Followed, list[int]]] | None = None  # of a pass that has not ended

    @property
    def rows(self) -> list[Followed | None]:
        """The sequences of the last pass, where they are followed; None for a row that held only padding so far."""
        return [] if self._follower is None else list(self._follower.rows)

    def restart(self) -> None:
        """What comes next are new sequences, whatever it looks like."""
        if self._follower is not None:
            self._follower.end()
            self._tell_ended()

    def assign(self, rows: Sequence[Followed | None]) -> None:
        """Say which sequence each row of the next passes goes on with, for batches that sequences join and leave.

        From then on nothing is guessed: every pass is preceded by this, and ``rows`` says after it who was in it.

        Args:
            rows: for each row its sequence, or None where one begins; empty where a pass is none of those watched.
        """
        assert self._follower is not None
        self._follower.assigned = list(rows)

    def leave(self, followed: Followed) -> None:
        """Nothing more comes of a sequence, for batches that sequences join and leave."""
        assert self._follower is not None
        self._follower.close(followed)
        self._tell_ended()

    def codes(self, site: Site, sha256: str) -> LastCodes | None:
        """What gives the codes of some rows' last tokens in the last pass, so that nobody need encode them again.

        Args:
            site: where the dictionary reads, as steering left it.
            sha256: of the dictionary's content.

        Returns:
            A function of (row, how many) pairs, rows rising; None where the whole of that dictionary is not encoded.
        """
        group = self._columns.encoding(site, sha256)
        return None if group is None else partial(self._last, group)

    def _last(self, group: Group, asked: Sequence[tuple[int, int]]) -> Code:
        ends = self._live.sum(1).cumsum(0).tolist()
        return _rows(group.code, np.concatenate([np.arange(ends[row] - n, ends[row]) for row, n in asked]))

    def stopping(self, input_ids: Int[Tensor, "batch tokens"], *scores: Any, **more: Any) -> Bool[Tensor, " batch"]:
        """A stopping criterion: ``generate(…, stopping_criteria=[watching.stopping])`` ends what a rule stops."""
        stopped = [followed is not None and followed.stopped for followed in self.rows]
        if self._follower is not None and any(stopped):
            for followed in self.rows:
                if followed is not None and followed.stopped:
                    self._follower.close(followed)
            self._tell_ended()
        return torch.tensor(stopped, dtype=torch.bool, device=input_ids.device)

    @contextmanager
    def held(self) -> Iterator[Watching]:
        """Every forward pass of the model is watched while the block runs."""
        ears = [
            (group.site, self.sites.place(Site.parse(group.site)), partial(self._hear, group), group.before)
            for group in self._columns
        ]
        with ExitStack() as stack:
            stack.enter_context(self.acting.held(self.model, self.sites))
            self._begin_logs()
            stack.callback(self._end_logs)
            stack.enter_context(self._caches.released())
            stack.enter_context(taps.listen(self.model, ears, self._begin, self._end))
            yield self

    def _begin_logs(self) -> None:
        facts = {"model": self.rules.model or self.sites.name, "fingerprint": self._sources.fingerprint}
        if self.recorder is not None:
            self.recorder.begin({**facts, **self._columns.facts(self.rules)})
        if self.acting.audit is not None:
            self.acting.audit.write(
                {"began": {**facts, "rules": rules_.digest(self.rules), "shadow": self.acting.shadow}}
            )

    def _end_logs(self) -> None:
        if self._follower is not None:
            rows = self._follower.rows
            self.restart()
            self._follower.rows = rows  # to be looked at
        if self.recorder is not None:
            self.recorder.close()
            self._count_recorded(self.recorder)
        if self.acting.audit is not None:
            self.acting.audit.write({"ended": {"tokens": int(self.acting.metrics.get("tokens"))}})

    def _begin(self, shape: tuple[int, int], inputs: Mapping[str, Any]) -> None:
        places, tokens = positions(shape, inputs), inputs.get("input_ids")
        self._places, self._live, self.failed = places, places >= 0, {}
        self._whole = bool(self._live.all())
        self._values = np.full((*shape, len(self.rules.signals)), np.nan, np.float32)
        self.values = torch.from_numpy(self._values)
        if self._follower is None:
            return
        if tokens is None:
            raise MonoscopeError("sequences are followed by their tokens", fix="call the model with input_ids")
        if self._follower.assigned == []:
            self._new = None
            self.acting.before([None] * shape[0], places)
            return
        if self._follower.assigned is None:
            self._caches.hold(inputs.get("past_key_values"))
            if self._new is not None:  # the pass before was broken off
                self.restart()
        begun = self._follower.begun
        self._new = list(self._follower.follow(places.tolist(), tokens.tolist(), self.names))
        self.names = self.names if self._follower.begun == begun else ()
        self._tell_ended()
        self.acting.before(self.rows, places)

    def _hear(self, group: Group, h: Float[Tensor, "batch tokens d"]) -> None:
        if self._assigned:
            h = self._apart(group, h.detach())
        group.hear(h, None if self._whole else self._live, self._values)

    @property
    def _assigned(self) -> bool:
        return self._follower is not None and bool(self._follower.assigned)

    def _apart(self, group: Group, h: Float[Tensor, "batch tokens d"]) -> Float[Tensor, "batch tokens d"]:
        """0 for the tokens that are not finite, whose rows fail, so that the others are read as ever."""
        finite = h.isfinite().all(2).cpu() | ~self._live
        if bool(finite.all()):
            return h
        for row, column in (~finite).nonzero().tolist():
            error = MonoscopeError(
                f"activations of token {int(self._places[row, column])} are not finite",
                where=f"{group.site}, while it is watched",
                fix="look for overflow in the model's forward pass",
            )
            self.failed.setdefault(row, error)
        return h.where(finite[..., None].to(h.device), 0.0)

    def _end(self) -> None:
        self.events = []
        if self._new is None:
            return
        new = [each for each in self._new if self._take(*each)]
        if self.failed:
            self._tell_ended()
        self.acting.metrics.add("tokens", sum(len(columns) for _, _, columns in new))
        if self.recorder is not None and new:
            self._record(self.recorder, new, self._values)
        self._new = None

    def _take(self, row: int, followed: Followed, columns: list[int]) -> bool:
        """A sequence's new tokens; False where it fails."""
        seen = self._values[row, columns]
        try:
            if row in self.failed:
                raise self.failed[row]
            events = followed.monitor.step(seen)
        except MonoscopeError as error:
            if not self._assigned:
                raise
            assert self._follower is not None
            self.failed[row] = error
            self._values[row] = np.nan
            self._follower.close(followed)
            return False
        for drifted in self._drift.see(followed.number, seen):
            self.drifted.append(drifted)
            self.acting.drifted(drifted)
        followed.events += events
        self.events += [(row, event) for event in events]
        self.acting.on(followed, events)
        return True

    def _record(
        self, recorder: Recorder, new: list[tuple[int, Followed, list[int]]], values: Float[np.ndarray, "b t n"]
    ) -> None:
        """Write down the new tokens, those of a sequence together."""
        rows = np.concatenate([np.full(len(columns), row) for row, _, columns in new])
        columns = np.concatenate([np.array(columns) for _, _, columns in new])
        numbers = np.concatenate([np.full(len(columns), followed.number) for _, followed, columns in new])
        places = np.concatenate(
            [followed.seen - len(columns) + np.arange(len(columns)) for _, followed, columns in new]
        )
        tokens = np.concatenate([np.array(followed.tokens[-len(columns) :]) for _, followed, columns in new])
        for _, followed, some in new:
            if followed.name and followed.seen - followed.first == len(some):
                recorder.named(followed.number, followed.name)
        live = np.cumsum(self._live.numpy().reshape(-1)) - 1
        kept = live[rows * self._live.shape[1] + columns]  # which of the live tokens are new
        codes = [_rows(group.code, kept) for group in self._columns.whole]
        recorder.add(numbers, places, tokens, values[rows, columns][:, self._columns.loose], codes)
        self._count_recorded(recorder)

    def _count_recorded(self, recorder: Recorder) -> None:
        self.acting.metrics.set("recorded_tokens", recorder.n_tokens)
        self.acting.metrics.set("recorded_bytes", recorder.n_bytes)

    def _tell_ended(self) -> None:
        assert self._follower is not None
        self.acting.metrics.set("sequences", self._follower.begun)
        for followed in self._follower.ended:
            self.acting.ended(followed)
            if self.recorder is not None:
                self.recorder.ended(followed.number)
        self._follower.ended = []


@contextmanager
def watch(
    model: PreTrainedModel | LanguageModel,
    rules: str | Path | Rules | None = None,
    *,
    record: str | Path | Recorder | None = None,
    shadow: bool = False,
    audit: str | Path | None = None,
    settings: Settings = NOTHING,
    follow: bool = True,
    ends: Iterable[int] | None = None,
) -> Iterator[Watching]:
    """Watch a model while the block runs: every forward pass, so plain ``model.generate`` too, cached or not.

    Args:
        model: a ``transformers`` model, or a ``LanguageModel``.
        rules: rules, or their file; None where only a recording is made.
        record: a new folder into which every token is recorded, with the full codes of the dictionaries that the rules
            name; or a recorder, which says otherwise.
        shadow: do everything but what changes what the model says (stop, steer); the audit log says what would be done.
        audit: a file to which every event and what was done are appended.
        settings: of actions, by their name: what rules cannot say, such as ``{"alert": {"url": "http://…"}}``.
        follow: keep a monitor for each sequence of a batch, as ``generate`` goes on with them. Without that there are
            the ``values`` of each pass, and no events, actions or recording.
        ends: tokens that end a sequence when the model writes them, so that a sequence of a batch is watched just as
            long as it would be alone; those of the model's generation config by default.

    Raises:
        MonoscopeError: the rules do not fit the model: another fingerprint, another dictionary or vector than was
            meant, no such site or feature, another width. During a pass: a value is not finite.
    """
    if isinstance(rules, str | Path):
        rules = rules_.load(rules)
    if not isinstance(rules, Rules | None):
        raise MonoscopeError(f"a {type(rules).__name__} is no rules", fix="pass rules, or the name of their file")
    if not follow and (record is not None or audit is not None or settings):
        raise MonoscopeError("without following sequences nothing is recorded or done", fix="leave out follow=False")
    recorder = record if isinstance(record, Recorder) or record is None else Recorder(folder.named(record))
    rules, module = rules or Rules(()), model.model if isinstance(model, LanguageModel) else model
    sites = sites_of(module, model.name if isinstance(model, LanguageModel) else type(module).__name__)
    with ExitStack() as stack:
        log = None if audit is None else stack.enter_context(closing(Audit(audit)))
        acting = Acting(rules if follow else Rules(()), settings, shadow=shadow, audit=log)
        stack.enter_context(closing(acting))
        watching = Watching(module, sites, rules, acting, follow=follow, ends=ends, recorder=recorder)
        yield stack.enter_context(watching.held())


def _rows(code: Code, kept: Int[np.ndarray, " n"]) -> Code:
    """Some rows of a code, in order."""
    if len(kept) == len(code):
        return code
    counts, starts = code.counts().cpu().numpy()[kept], code.offsets.cpu().numpy()[kept]
    offsets = np.concatenate([[0], np.cumsum(counts)])
    at = torch.from_numpy(np.repeat(starts - offsets[:-1], counts) + np.arange(offsets[-1])).to(code.indices.device)
    return Code(code.indices[at], code.values[at], torch.from_numpy(offsets), code.n_features)


def _ends(model: nn.Module) -> frozenset[int]:
    """What the model's generation config says ends a text."""
    found = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    return frozenset(found if isinstance(found, list) else [] if found is None else [int(found)])
