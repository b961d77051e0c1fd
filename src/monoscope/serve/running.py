"""One running sequence: a choice of a request, the token it reads next, and what is not told of it yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from monoscope.serve.choosing import Draw
from monoscope.serve.speech import Speech
from monoscope.serve.wanted import Finish, LogProb, Mind, Piece, Said, Wanted
from monoscope.watch.following import Followed

Tell = Callable[[Piece], None]


@dataclass(eq=False)
class Ticket:
    """A request under way; ``cancel`` gives it up, from any thread."""

    wanted: Wanted
    tell: Tell
    cancelled: bool = field(default=False, init=False)

    def cancel(self) -> None:
        """Nothing more is told; its slots are free after the pass under way."""
        self.cancelled = True


class Running:
    """A choice of a request. Where ``watched``, a token is told once it was read, else as soon as it is chosen."""

    def __init__(self, ticket: Ticket, choice: int, decode: Callable[[list[int]], str], watched: bool) -> None:
        """Begin with nothing chosen."""
        self.ticket, self.wanted, self.choice, self.watched = ticket, ticket.wanted, choice, watched
        self.followed: Followed | None = None  # what the watch knows of it
        self.raised: set[str] = set()  # rules
        self.draw = Draw.of(self.wanted, choice)
        self.token = -1  # chosen last: what the next pass reads
        self.over = False
        self._count = 0
        self._logprob: LogProb | None = None
        self._speech = Speech(decode, self.wanted.stop, self.wanted.tokens)
        self._held: deque[tuple[int, LogProb | None, Mind | None]] = deque()  # tokens whose text is not certain
        self._said: list[Said] = []
        self._finish: Finish | None = None
        self._prompt: tuple[Said, ...] = ()
        self._problem = ""

    def knows(self, prompt: tuple[Said, ...]) -> None:
        """What was read off the prompt."""
        self._prompt = prompt

    def takes(self, token: int, logprob: LogProb | None, ended: bool) -> None:
        """The token that was chosen; ``ended`` where it ends the text and is none of it."""
        if ended:
            self._end("stop")
            return
        self.token, self._logprob, self._count = token, logprob, self._count + 1
        if not self.watched:
            self.read(None)

    def read(self, mind: Mind | None) -> None:
        """The chosen token may be told, with what was read off it."""
        if self.over:
            return
        self._held.append((self.token, self._logprob, mind))
        self._release(self._speech.add(self.token))
        if self._speech.stopped:
            self._end("stop")
        elif self._count == self.wanted.most:
            self._end("length")

    def stop(self) -> None:
        """A rule ends it here."""
        self._end("content_filter")

    def fail(self, why: Exception | str) -> None:
        """It ends here, whatever it wanted."""
        self._problem = why if isinstance(why, str) else f"{type(why).__name__}: {why}".splitlines()[0]
        self._end("error")

    def piece(self) -> Piece | None:
        """What is new since the last call, if anything."""
        if not (self._said or self._finish):
            return None
        piece = Piece(self.choice, tuple(self._said), self._finish, self._prompt, self._problem)
        self._said, self._prompt, self._finish = [], (), None
        return piece

    def _end(self, finish: Finish) -> None:
        if not self.over:
            self.over, self._finish = True, finish
            self._release(self._speech.end())

    def _release(self, texts: list[str]) -> None:
        for text in texts:
            token, logprob, mind = self._held.popleft()
            self._said.append(Said(token, text, logprob, mind))
