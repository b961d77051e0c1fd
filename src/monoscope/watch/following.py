"""Which sequence each row of a pass goes on with, and which of its tokens are new to it.

With a cache a pass holds what comes after the tokens before; without one the whole window comes again, longer. A pass
goes on with the rows before it where their places, or the tokens they begin with, say so; otherwise sequences begin.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from monoscope.errors import MonoscopeError
from monoscope.watch import beams
from monoscope.watch.monitor import Event, Monitor
from monoscope.watch.rules import Rules


@dataclass(eq=False)
class Followed:
    """One sequence.

    Args:
        number: from 0, in the order in which sequences began.
        monitor: its state.
        first: the place of its first token that was watched.
        tokens: those watched so far.
        events: those of the sequence so far.
        name: what whoever feeds the model calls it.
        tags: words that rules gave it.
        stopped: a rule asked for its end.
        over: nothing more of it is watched: the model, or a rule, ended it.
    """

    number: int
    monitor: Monitor
    first: int
    tokens: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    name: str | None = None
    tags: set[str] = field(default_factory=set)
    stopped: bool = False
    over: bool = False

    @property
    def seen(self) -> int:
        """The place of the token that comes next."""
        return self.first + len(self.tokens)


class Follower:
    """Told what each pass holds, it says what is new."""

    def __init__(self, rules: Rules, ends: frozenset[int], causal: bool) -> None:
        """``ends``: tokens that end a sequence when the model writes them. ``causal``: later tokens change no value."""
        self.rules, self.ends, self.causal = rules, ends, causal
        self.rows: list[Followed | None] = []
        self.assigned: list[Followed | None] | None = None  # the rows of the next pass, where somebody says so
        self.ended: list[Followed] = []  # that no pass goes on with; whoever is told of them empties the list
        self.begun = 0

    def end(self) -> None:
        """What comes next are new sequences."""
        for followed in self.rows:
            if followed is not None:
                self.close(followed)
        self.rows = []

    def close(self, followed: Followed) -> None:
        """Nothing more of a sequence is watched."""
        if not followed.over:
            followed.over = True
            self.ended.append(followed)

    def follow(
        self, places: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]], names: Sequence[str] = ()
    ) -> Iterator[tuple[int, Followed, list[int]]]:
        """The rows that hold something new: which, their sequence, and the columns of the new tokens.

        Args:
            places: of every token of the pass in its sequence, −1 on padding.
            tokens: their numbers.
            names: of sequences that begin, by row.
        """
        columns = [[i for i, place in enumerate(row) if place >= 0] for row in places]
        if self.assigned is not None:
            self.rows, goes_on = list(self.assigned), True
        else:
            goes_on = len(self.rows) == len(places) and self._goes_on(places, tokens, columns)
        if not goes_on:
            self.end()
            self.rows = [None] * len(places)
        for row, live in enumerate(columns):
            if live:
                followed, new = self._row(row, places[row], live, names[row] if row < len(names) else None)
                said = [tokens[row][i] for i in new]
                if goes_on and len(said) == 1 and said[0] in self.ends:
                    self.close(followed)
                if said and not followed.over:
                    followed.tokens += said
                    yield row, followed, new

    def _goes_on(
        self, places: Sequence[Sequence[int]], tokens: Sequence[Sequence[int]], columns: list[list[int]]
    ) -> bool:
        """Whether a pass goes on with the rows: it begins in their midst, or repeats them and holds more."""
        if any(live and places[row][live[0]] > 0 for row, live in enumerate(columns)):
            return True
        longer = False
        for followed, said, live in zip(self.rows, tokens, columns, strict=True):
            if followed is None or not self.causal or followed.first:
                return False
            known = len(followed.tokens)
            if [said[i] for i in live[:known]] != followed.tokens:
                before = [row.tokens for row in self.rows if row is not None]
                beams.check(before, [[said[i] for i in live] for said, live in zip(tokens, columns, strict=True)])
                return False
            longer |= len(live) > known
        return longer

    def _row(self, row: int, places: Sequence[int], live: list[int], name: str | None) -> tuple[Followed, list[int]]:
        followed, first = self.rows[row], places[live[0]]
        if followed is None:
            followed = self.rows[row] = Followed(self.begun, Monitor(self.rules, first), first, name=name)
            self.begun += 1
        elif first > 0 and first != followed.seen and not followed.over:
            raise MonoscopeError(
                f"row {row} goes on at place {first}, but {followed.seen} of its tokens were watched",
                fix="call restart() before sequences that do not go on; assisted generation cannot be watched",
            )
        return followed, [i for i in live if places[i] >= followed.seen]
