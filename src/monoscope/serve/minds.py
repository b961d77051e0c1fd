"""What is read off the model while it answers: each token's strongest features, signals, and what the rules say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from itertools import accumulate, pairwise, repeat

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.dictionary.identity import content_hash
from monoscope.errors import MonoscopeError
from monoscope.models import taps
from monoscope.models.language_model import LanguageModel
from monoscope.models.sites import sites_of
from monoscope.serve.running import Running, Ticket
from monoscope.serve.speech import Speech
from monoscope.serve.wanted import Mind, Said, Wanted
from monoscope.types import Code, Site
from monoscope.watch.live import Watching
from monoscope.watch.monitor import Event

Decode = Callable[[list[int]], str]
Features = tuple[tuple[int, float], ...]


class FeatureTap:
    """The activations of a dictionary's site in the last pass, and their codes for those who ask."""

    def __init__(self, lm: LanguageModel, dictionary: Dictionary, site: Site | str) -> None:
        """Take the parts. The dictionary's encoder must not change any more.

        Raises:
            MonoscopeError: the model has no such site, or the dictionary reads another width.
        """
        self.dictionary, self.site = dictionary.to(lm.device).requires_grad_(False), Site.parse(site)
        self._module, self._place = lm.model, sites_of(lm.model, lm.name).place(self.site)
        self._found: Tensor | None = None
        self.failed: dict[int, MonoscopeError] = {}  # rows of the last pass that hold a value that is not finite
        if lm.width(self.site) != dictionary.d_in:
            raise MonoscopeError(
                f"the dictionary reads {dictionary.d_in} numbers a token; {self.site} of {lm.name} has "
                f"{lm.width(self.site)}",
                fix="name the dictionary and the site that belong to this model",
            )
        self.dictionary.make_ready()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Every pass is noted while the block runs."""
        ear = (str(self.site), self._place, self._note, False)
        with taps.listen(self._module, [ear], lambda shape, inputs: None, lambda: None):
            yield

    def _note(self, h: Float[Tensor, "rows tokens d"]) -> None:
        self._found, self.failed = h, {}

    def codes(self, asked: Sequence[tuple[int, int]]) -> Code:
        """The codes of some rows' last tokens in the last pass, one token after the other.

        What is not finite is encoded as 0, and its row is among the ``failed``.

        Args:
            asked: a row, and how many of its tokens.
        """
        assert self._found is not None
        x = torch.cat([self._found[row, self._found.shape[1] - n :] for row, n in asked]).float()
        finite = x.isfinite().all(1)
        if not bool(finite.all()):
            x = x.where(finite[:, None], 0.0)
            sound = finite.split([n for _, n in asked])
            why = MonoscopeError(
                "activations are not finite", where=str(self.site), fix="look for overflow in the model's forward pass"
            )
            self.failed = {row: why for (row, _), fine in zip(asked, sound, strict=True) if not bool(fine.all())}
        return self.dictionary.encode(x)


def _sorted(code: Code, most: int) -> list[Features]:
    """Each row's largest entries, ties by number."""
    out = []
    indices, values = code.indices.tolist(), code.values.tolist()
    for start, stop in pairwise(code.offsets.tolist()):
        order = sorted(range(start, stop), key=lambda i: (-values[i], indices[i]))[:most]
        out.append(tuple((indices[i], values[i]) for i in order))
    return out


class Minds:
    """Tells running sequences what was read off their tokens in the last pass."""

    def __init__(self, features: FeatureTap | None, watching: Watching | None, decode: Decode) -> None:
        """``features`` reads for those who ask, ``watching`` for all; ``decode`` turns tokens into text.

        Where the watch encodes all that ``features`` would, it does so for both.
        """
        self.features, self.watching, self._decode = features, watching, decode
        shared = None
        if features is not None and watching is not None:
            shared = watching.codes(features.site, content_hash(features.dictionary))
        self._tap = features if shared is None else None  # what reads beside the watch
        self._codes = shared if features is None or shared is not None else features.codes

    @contextmanager
    def held(self) -> Iterator[None]:
        """Every pass is noted while the block runs; at its end logs and actions are closed."""
        with ExitStack() as stack:
            if self._tap is not None:
                stack.enter_context(self._tap.held())
            if self.watching is not None:
                if self.watching.acting.audit is not None:
                    stack.enter_context(closing(self.watching.acting.audit))
                stack.enter_context(closing(self.watching.acting))
                stack.enter_context(self.watching.held())
            yield

    def try_features(self, read: Callable[[], object]) -> None:
        """Read features once, so that kernels are compiled before anyone waits for them; ``read`` runs the model."""
        if self._tap is not None:
            with self._tap.held():
                read()
            self._tap.codes([(0, 1)])

    def running(self, ticket: Ticket) -> list[Running]:
        """A request's choices."""
        watched = self.watching is not None or self._asks(ticket.wanted)
        return [Running(ticket, i, self._decode, watched) for i in range(ticket.wanted.choices)]

    def before(self, running: Sequence[Running]) -> None:
        """A pass over these sequences is about to begin, a row for each; none where it is about something else."""
        if self.watching is not None:
            self.watching.names = [f"{r.wanted.name}/{r.choice}" for r in running]
            self.watching.assign([r.followed for r in running])

    def left(self, running: Running) -> None:
        """A sequence is over."""
        if self.watching is not None and running.followed is not None:
            self.watching.leave(running.followed)

    def of_tokens(self, running: Sequence[Running]) -> None:
        """After a pass over one token of each sequence."""
        features = self._strongest([(row, 1, r.wanted) for row, r in enumerate(running)])
        events, failed = self._events(), self._failed()
        for row, r in enumerate(running):
            if row in failed:
                r.fail(failed[row])
            elif r.watched:
                r.read(self._mind(r, row, -1, features.get(row, [()])[0], events[row]))
                self._stop(r)

    def of_prompts(self, running: Sequence[Running], rows: Sequence[int]) -> None:
        """After a pass over the prompts of these sequences, each of which has a row that it may share."""
        asked = {row: r.wanted for r, row in zip(running, rows, strict=True) if r.wanted.of_prompt}
        features = self._strongest([(row, len(w.tokens), w) for row, w in asked.items()])
        events, failed = self._events(), self._failed()
        for r, row in zip(running, rows, strict=True):
            if self.watching is not None:
                r.followed = self.watching.rows[row]
            if row in failed:
                r.fail(failed[row])
            elif r.watched:
                r.knows(self._prompt(r, row, features.get(row), events[row]))
                self._stop(r)

    def _events(self) -> dict[int, list[Event]]:
        """Those of the last pass, by row."""
        found: dict[int, list[Event]] = defaultdict(list)
        for row, event in self.watching.events if self.watching is not None else ():
            found[row].append(event)
        return found

    def _failed(self) -> dict[int, MonoscopeError]:
        """The rows of the last pass in which something is not finite, and what."""
        told = self._tap, self.watching
        return {row: error for each in told if each is not None for row, error in each.failed.items()}

    def _prompt(self, r: Running, row: int, features: list[Features] | None, events: list[Event]) -> tuple[Said, ...]:
        """What is told of a prompt: all its tokens where that was asked for, else what the rules say of them."""
        tokens, n = r.wanted.tokens, len(r.wanted.tokens)
        if not r.wanted.of_prompt:
            mind = self._mind(r, row, -1, (), events)
            return (Said(tokens[-1], "", None, mind),) if events else ()
        minds = []
        for i in range(n):
            here = [event for event in events if event.place == i]
            minds.append(self._mind(r, row, i - n, features[i] if features else (), here))
        return tuple(map(Said, tokens, spoken(self._decode, tokens), repeat(None), minds))

    def _mind(self, r: Running, row: int, column: int, features: Features, events: list[Event]) -> Mind:
        if self.watching is None:
            return Mind(features)
        for event in events:
            (r.raised.add if event.kind == "raised" else r.raised.discard)(event.rule)
        signals = dict(zip(self.watching.rules.names, self.watching.values[row, column].tolist(), strict=True))
        active = tuple(rule.name for rule in self.watching.rules.rules if rule.name in r.raised)
        return Mind(features, signals, tuple(map(asdict, events)), active)

    def _stop(self, r: Running) -> None:
        """End what a rule stops; in shadow mode none does."""
        if r.followed is not None and r.followed.stopped:
            r.stop()

    def _asks(self, wanted: Wanted) -> bool:
        return self.features is not None and wanted.features > 0

    def _strongest(self, rows: Sequence[tuple[int, int, Wanted]]) -> dict[int, list[Features]]:
        """By row the features of its last tokens, for requests that ask for some."""
        asked = [(row, n, w.features) for row, n, w in rows if self._asks(w)]
        if not asked or self._codes is None:
            return {}
        each = _sorted(self._codes([(row, n) for row, n, _ in asked]), max(most for *_, most in asked))
        ends = accumulate((n for _, n, _ in asked), initial=0)
        return {
            row: [features[:most] for features in each[start:stop]]
            for (start, stop), (row, _, most) in zip(pairwise(ends), asked, strict=True)
        }


def spoken(decode: Decode, tokens: Sequence[int]) -> list[str]:
    """The text of each token of a whole text, which they make up when joined."""
    speech = Speech(decode)
    texts = [text for token in tokens for text in speech.add(token)]
    return texts + speech.end()
