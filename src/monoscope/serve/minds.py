"""What is read off the model while it answers: each token's strongest features, signals, and what the rules say."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from itertools import pairwise, repeat

import torch
from jaxtyping import Float
from torch import Tensor

from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.models import taps
from monoscope.models.language_model import LanguageModel
from monoscope.models.sites import sites_of
from monoscope.serve.running import Running, Ticket
from monoscope.serve.speech import Speech
from monoscope.serve.wanted import Mind, Said, Wanted
from monoscope.types import Code, Site
from monoscope.watch.live import Watching
from monoscope.watch.monitor import Monitor

Decode = Callable[[list[int]], str]
Features = tuple[tuple[int, float], ...]


class FeatureTap:
    """The activations of a dictionary's site in the last pass, and their strongest features for those who ask."""

    def __init__(self, lm: LanguageModel, dictionary: Dictionary, site: Site | str) -> None:
        """Take the parts.

        Raises:
            MonoscopeError: the model has no such site, or the dictionary reads another width.
        """
        self.dictionary, self.site = dictionary.to(lm.device).requires_grad_(False), Site.parse(site)
        self._module, self._place = lm.model, sites_of(lm.model, lm.name).place(self.site)
        self._found: Tensor | None = None
        if lm.width(self.site) != dictionary.d_in:
            raise MonoscopeError(
                f"the dictionary reads {dictionary.d_in} numbers a token; {self.site} of {lm.name} has "
                f"{lm.width(self.site)}",
                fix="name the dictionary and the site that belong to this model",
            )

    @contextmanager
    def held(self) -> Iterator[None]:
        """Every pass is noted while the block runs."""
        ear = (str(self.site), self._place, self._note, False)
        with taps.listen(self._module, [ear], lambda shape, inputs: None, lambda: None):
            yield

    def _note(self, h: Float[Tensor, "rows tokens d"]) -> None:
        self._found = h

    def strongest(self, asked: Sequence[tuple[int, int, int]]) -> list[list[Features]]:
        """The strongest features in some rows of the last pass.

        Args:
            asked: a row, how many of its last tokens, and how many features of each at most.

        Returns:
            For each of these its tokens' features, as (number, value), strongest first.
        """
        if not asked or self._found is None:
            return [[] for _ in asked]
        x = torch.cat([self._found[row, self._found.shape[1] - n :] for row, n, _ in asked])
        each = _sorted(self.dictionary.encode(x.float()), max(most for *_, most in asked))
        ends = [0]
        for _, n, _ in asked:
            ends.append(ends[-1] + n)
        return [
            [features[:most] for features in each[start:stop]]
            for (start, stop), (*_, most) in zip(pairwise(ends), asked, strict=True)
        ]


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
        """``features`` reads for those who ask, ``watching`` for all; ``decode`` turns tokens into text."""
        self.features, self.watching, self._decode = features, watching, decode

    @contextmanager
    def held(self) -> Iterator[None]:
        """Every pass is noted while the block runs."""
        with ExitStack() as stack:
            if self.features is not None:
                stack.enter_context(self.features.held())
            if self.watching is not None:
                stack.enter_context(self.watching.held())
            yield

    def running(self, ticket: Ticket) -> list[Running]:
        """A request's choices, each with a monitor of its own where there are rules."""
        rules, wanted = None if self.watching is None else self.watching.rules, ticket.wanted
        watched = rules is not None or self._asks(wanted)
        return [
            Running(ticket, i, self._decode, watched, None if rules is None else Monitor(rules))
            for i in range(wanted.choices)
        ]

    def of_tokens(self, running: Sequence[Running]) -> None:
        """After a pass over one token of each sequence."""
        features = self._strongest([(row, 1, r.wanted) for row, r in enumerate(running)])
        for row, r in enumerate(running):
            if r.watched:
                with failing(r):
                    r.read(self._mind(r, row, -1, features.get(row, [()])[0]))

    def of_prompts(self, requests: Sequence[Sequence[Running]]) -> None:
        """After a pass over the prompts of these requests, a row for all choices of each."""
        wanted = [choices[0].wanted for choices in requests]
        features = self._strongest([(row, len(w.tokens), w) for row, w in enumerate(wanted) if w.of_prompt])
        for row, choices in enumerate(requests):
            for r in choices:
                with failing(r):
                    r.knows(self._prompt(r, row, features.get(row)))

    def _prompt(self, r: Running, row: int, features: list[Features] | None) -> tuple[Said, ...]:
        """What is told of a prompt: all its tokens where that was asked for, else what the rules say of them."""
        tokens, n = r.wanted.tokens, len(r.wanted.tokens)
        if r.wanted.of_prompt and r.watched:
            minds = [self._mind(r, row, i - n, features[i] if features else ()) for i in range(n)]
            return tuple(map(Said, tokens, spoken(self._decode, tokens), repeat(None), minds))
        if r.monitor is None or self.watching is None:
            return ()
        events = r.monitor.step(self.watching.values[row, -n:].numpy())
        told = Mind((), {}, tuple(map(asdict, events)), tuple(r.monitor.active))
        return (Said(tokens[-1], "", None, told),) if events else ()

    def _mind(self, r: Running, row: int, column: int, features: Features) -> Mind:
        if r.monitor is None or self.watching is None:
            return Mind(features)
        values = self.watching.values[row, column]
        events = r.monitor.step(values[None].numpy())
        signals = dict(zip(self.watching.rules.names, values.tolist(), strict=True))
        return Mind(features, signals, tuple(map(asdict, events)), tuple(r.monitor.active))

    def _asks(self, wanted: Wanted) -> bool:
        return self.features is not None and wanted.features > 0

    def _strongest(self, rows: Sequence[tuple[int, int, Wanted]]) -> dict[int, list[Features]]:
        """By row the features of its last tokens, for requests that ask for some."""
        asked = [(row, n, w.features) for row, n, w in rows if self._asks(w)]
        found = [] if self.features is None else self.features.strongest(asked)
        return dict(zip((row for row, *_ in asked), found, strict=True))


@contextmanager
def failing(r: Running) -> Iterator[None]:
    """What cannot be watched ends its own sequence, and no other."""
    try:
        yield
    except MonoscopeError as error:
        r.fail(error.what)


def spoken(decode: Decode, tokens: Sequence[int]) -> list[str]:
    """The text of each token of a whole text, which they make up when joined."""
    speech = Speech(decode)
    texts = [text for token in tokens for text in speech.add(token)]
    return texts + speech.end()
