"""The engine: one thread that owns the model and goes on with all running sequences, a token each, pass by pass.

Requests wait in a queue, join between passes as soon as there are slots for all their choices, and leave when they end
or are given up. A sequence that is watched has every token read before it is told: an alarm comes with its token.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, compress
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.errors import MonoscopeError, unknown_name
from monoscope.intervene.edit import Recipe
from monoscope.intervene.steering import Steering
from monoscope.models.language_model import LanguageModel
from monoscope.models.sites import sites_of
from monoscope.serve.batch import Batch, Passes
from monoscope.serve.choosing import choose, logprobs
from monoscope.serve.minds import FeatureTap, Minds
from monoscope.serve.running import Running, Tell, Ticket
from monoscope.serve.wanted import Piece, Wanted
from monoscope.watch.live import Watching

T = TypeVar("T")
Post = Callable[[list[tuple[Tell, Piece]]], None]

log = logging.getLogger(__name__)
READ_AT_ONCE = 4096  # tokens of prompts, padding included, that one pass reads; one prompt may be longer


class Full(Exception):
    """Too many requests wait."""


@dataclass(frozen=True)
class Limits:
    """``slots`` sequences run at once; ``waiting`` more may wait for them."""

    slots: int = 64
    waiting: int = 256


def tell_at_once(posted: list[tuple[Tell, Piece]]) -> None:
    """Tell everyone what is new, in the engine's thread."""
    for tell, piece in posted:
        tell(piece)


class Engine:
    """Runs a model for many requests at once. A context: the thread lives while the block runs."""

    def __init__(
        self,
        lm: LanguageModel,
        *,
        recipes: Mapping[str, Recipe] | None = None,
        features: FeatureTap | None = None,
        watching: Watching | None = None,
        limits: Limits | None = None,
    ) -> None:
        """Check that everything belongs together, with a short pass.

        Args:
            lm: a causal model; nobody else may run it while the engine does.
            recipes: what requests may be steered by, by name.
            features: reads features for requests that ask for them.
            watching: watches all sequences; what its rules stop ends with "content_filter".
            limits: of what runs and waits.

        Raises:
            MonoscopeError: the model predicts no tokens or cannot be batched, or a recipe does not belong to it.
        """
        if not (lm.has_head and lm.model.can_generate()):
            raise MonoscopeError(
                f"{lm.name} does not predict the next token, so it cannot answer", fix="serve a causal language model"
            )
        self.lm, self.limits = lm, limits or Limits()
        self.recipes = {name: i for i, name in enumerate(recipes or {})}
        self.post: Post = tell_at_once  # hands over what is new after a pass; called in the engine's thread
        sites = sites_of(lm.model, lm.name)
        self._minds = Minds(features, watching, partial(lm.tokeniser.backend.decode, skip_special_tokens=True))
        self._passes = Passes(lm.model, lm.tokeniser.padding)
        held = list((recipes or {}).values())
        self._steering = Steering(lm.model, sites, held) if held else None
        self._ends = _ends(lm)
        self._wake = threading.Condition()
        self._waiting: deque[Ticket] = deque()
        self._errands: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._closing = False
        self._running: list[Running] = []
        self._batch: Batch | None = None
        self._thread = threading.Thread(target=self._run, name="monoscope-engine", daemon=True)
        self._try()

    def __enter__(self) -> Engine:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    @property
    def watching(self) -> Watching | None:
        """What watches all sequences."""
        return self._minds.watching

    @property
    def alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def load(self) -> tuple[int, int]:
        """Sequences that run, and sequences that wait."""
        return len(self._running), sum(t.wanted.choices for t in list(self._waiting))

    def submit(self, wanted: Wanted, tell: Tell) -> Ticket:
        """Put a request in the queue; ``tell`` hears of it through ``post``.

        Raises:
            MonoscopeError: the prompt has no tokens, tokens of no vocabulary or too many, the recipe is none of those
                given, or there are more choices than slots.
            Full: too many requests wait.
        """
        self.check(wanted)
        ticket = Ticket(wanted, tell)
        with self._wake:
            if self.load[1] + wanted.choices > self.limits.waiting:
                raise Full
            self._waiting.append(ticket)
            self._wake.notify()
        return ticket

    def check(self, wanted: Wanted) -> None:
        """Refuse what cannot be answered; see ``submit``."""
        n, vocabulary = len(wanted.tokens), self.lm.model.get_input_embeddings().weight.shape[0]
        if not n:
            raise MonoscopeError("the prompt is empty", fix="give at least one token")
        if not 0 <= min(wanted.tokens) <= max(wanted.tokens) < vocabulary:
            raise MonoscopeError(f"tokens are numbers from 0 to {vocabulary - 1}", fix="use the model's own tokeniser")
        if n + wanted.most > self.lm.context:
            raise MonoscopeError(
                f"{n} tokens of prompt and {wanted.most} new ones do not fit the model's {self.lm.context}",
                fix="shorten the prompt, or ask for fewer new tokens",
            )
        if wanted.choices > self.limits.slots:
            raise MonoscopeError(f"at most {self.limits.slots} choices", fix="ask for fewer")
        if wanted.recipe is not None and wanted.recipe not in self.recipes:
            raise unknown_name("recipe", wanted.recipe, self.recipes)

    def between_passes(self, errand: Callable[[], T]) -> Future[T]:
        """Run a function in the engine's thread while no pass is under way, with nothing steered."""
        done: Future[T] = Future()
        with self._wake:
            self._errands.append((errand, done))
            self._wake.notify()
        return done

    # From here on: the engine's thread.

    def _try(self) -> None:
        """One short pass with every recipe: what does not fit together is told before anyone asks."""
        named = [None, *self.recipes.values()]
        padding = self.lm.tokeniser.padding
        with self._steered():
            if self._steering is not None:
                self._steering.assign(named)
            batch, _ = self._passes.read([[padding] * 2] * len(named))
            self._passes.step(batch, [padding] * len(named))
            if self._steering is not None:
                self._steering.assign([])
            self._minds.try_features(partial(self._passes.read, [[padding] * 2]))

    def _steered(self) -> ExitStack:
        """The recipes held, on nobody yet."""
        stack = ExitStack()
        stack.enter_context(torch.inference_mode())
        if self._steering is not None:
            stack.enter_context(self._steering.applied())
        return stack

    def _before(self, running: Sequence[Running]) -> None:
        """A pass over these sequences is about to begin, a row for each; none where it is about something else."""
        if self._steering is not None:
            named = [r.wanted.recipe for r in running]
            self._steering.assign([None if name is None else self.recipes[name] for name in named])
        self._minds.before(running)

    def _run(self) -> None:
        with self._steered(), self._minds.held():
            while self._wait():
                self._run_errands()
                self._drop([r for r in self._running if r.ticket.cancelled])
                self._guarded(self._go_on, self._running)
                new = [r for ticket in self._joining() for r in self._minds.running(ticket)]
                self._guarded(partial(self._join, new), new)
            self._stop()

    def _guarded(self, work: Callable[[], None], concerned: Sequence[Running]) -> None:
        """Do some work; where it fails, those concerned are told, and the server goes on."""
        try:
            work()
        except Exception as error:  # whatever the model raised
            log.exception("a pass failed")
            for r in concerned:
                r.fail(error)
            self._tell(concerned)
            self._drop(concerned)

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when it is to stop."""
        with self._wake:
            self._wake.wait_for(lambda: self._closing or self._waiting or self._errands or self._running)
        return not self._closing

    def _run_errands(self) -> None:
        while self._errands:
            errand, done = self._errands.popleft()
            if not done.set_running_or_notify_cancel():
                continue
            try:
                self._before([])
                done.set_result(errand())
            except Exception as error:  # told to who asked
                done.set_exception(error)

    def _go_on(self) -> None:
        """Let all running sequences read their token, and choose the next."""
        if self._batch is not None:
            self._before(self._running)
            logits = self._passes.step(self._batch, [r.token for r in self._running])
            self._minds.of_tokens(self._running)
            self._next(self._running, logits)

    def _joining(self) -> list[Ticket]:
        """The requests that join now: the first that wait, as long as there are slots and a pass holds them."""
        joining: list[Ticket] = []
        free, width = self.limits.slots - len(self._running), 0
        with self._wake:
            self._waiting = deque(t for t in self._waiting if not t.cancelled)
            while self._waiting:
                wanted = self._waiting[0].wanted
                width = max(width, len(wanted.tokens))
                if wanted.choices > free or (joining and width * (len(joining) + 1) > READ_AT_ONCE):
                    break
                free -= wanted.choices
                joining.append(self._waiting.popleft())
        return joining

    def _join(self, new: Sequence[Running]) -> None:
        """Read prompts, and give every sequence a row. Choices share their prompt's pass where nothing is watched."""
        if not new:
            return
        own = [r.choice == 0 or self._minds.watching is not None for r in new]
        read, rows = list(compress(new, own)), [n - 1 for n in accumulate(own)]
        self._before(read)
        batch, logits = self._passes.read([r.wanted.tokens for r in read])
        self._minds.of_prompts(new, rows)
        batch.keep(rows)
        if self._batch is None:
            self._batch = batch
        else:
            self._batch.join(batch)
        self._running = [*self._running, *new]
        self._next(new, logits[rows])

    def _next(self, running: Sequence[Running], logits: Float[Tensor, "n vocabulary"]) -> None:
        """Choose the next token of each row that is not over, tell what is new, and let those leave that are over."""
        going = _sound(running, logits)
        if going:
            rows, left = logits[going], [running[i] for i in going]
            chosen = choose(rows, [r.draw for r in left])
            values = logprobs(rows, chosen, [r.wanted.top for r in left])
            for r, token, value in zip(left, chosen, values, strict=True):
                r.takes(token, value, ended=token in self._ends)
        self._tell(running)
        self._drop([r for r in running if r.over])

    def _tell(self, running: Sequence[Running]) -> None:
        pieces = [(r.ticket, r.piece()) for r in running]
        posted = [(ticket.tell, piece) for ticket, piece in pieces if piece is not None and not ticket.cancelled]
        if posted:
            self.post(posted)

    def _drop(self, gone: Sequence[Running]) -> None:
        """Let sequences leave the batch."""
        for r in gone:
            self._minds.left(r)
        leaving = set(map(id, gone))
        kept = [i for i, r in enumerate(self._running) if id(r) not in leaving]
        if len(kept) == len(self._running):
            return
        self._running = [self._running[i] for i in kept]
        if not kept:
            self._batch = None
        elif self._batch is not None:
            self._batch.keep(kept)

    def _stop(self) -> None:
        """Tell all who still wait for something that nothing more comes."""
        left = [r for ticket in self._waiting for r in self._minds.running(ticket)]
        for r in [*self._running, *left]:
            r.fail("the server has stopped")
        self._tell([*self._running, *left])
        self._drop(self._running)
        self._waiting.clear()
        while self._errands:
            self._errands.popleft()[1].cancel()


def _sound(running: Sequence[Running], logits: Float[Tensor, "n vocabulary"]) -> list[int]:
    """The rows that are not over; those whose likeliest token has no finite logit fail."""
    found = logits.amax(1).isfinite().tolist()  # NaN where there is one; minus infinity excludes a token and no more
    for r, sound in zip(running, found, strict=True):
        if not (sound or r.over):
            r.fail(MonoscopeError("the logits are not finite", fix="look for overflow in the model's forward pass"))
    return [i for i, r in enumerate(running) if not r.over]


def _ends(lm: LanguageModel) -> frozenset[int]:
    """The tokens that end an answer."""
    config = getattr(lm.model, "generation_config", None)
    named = [lm.tokeniser.fast.eos_token_id, getattr(config, "eos_token_id", None), lm.model.config.eos_token_id]
    listed = (n if isinstance(n, list) else [n] for n in named if n is not None)
    return frozenset(t for several in listed for t in several)
