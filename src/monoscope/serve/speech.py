"""From tokens to text that may be sent: whole characters only, and nothing that may turn out to be a stop."""

from __future__ import annotations

from collections.abc import Callable, Sequence

BROKEN = "\N{REPLACEMENT CHARACTER}"
BEFORE = 4  # tokens of the prompt that decoding sees: a character has at most four bytes


class Speech:
    """The text of one choice. ``add`` and ``end`` return the texts of the tokens whose text is now certain, in order.

    Joined, all that is returned is what decoding the tokens at once gives, up to the stop that is
    complete first.
    """

    def __init__(
        self, decode: Callable[[list[int]], str], stop: Sequence[str] = (), before: Sequence[int] = ()
    ) -> None:
        """``decode`` turns tokens into text; ``stop`` are texts, none empty, that end the choice.

        ``before`` are the tokens that it goes on after: some vocabularies write a space only where something precedes.
        """
        self._decode, self._stop = decode, stop
        self._window = list(before[-BEFORE:])  # the last tokens that were complete, and those after them
        self._complete = len(self._window)  # how many of these were
        self._held: list[str] = []  # what is not certain yet, a text a token
        self.stopped = False

    def add(self, token: int) -> list[str]:
        """One more token."""
        whole = self._whole(token)
        self._held.append(whole or "")
        if whole is None:
            return []
        return self._released(certain=False)

    def end(self) -> list[str]:
        """No token follows: what is held is certain, and a broken character stays broken."""
        if self.stopped:
            return []
        rest = self._decode(self._window)[len(self._said()) :]
        if self._held:
            self._held[-1] += rest
        self._window, self._complete = [], 0
        return self._released(certain=True)

    def _whole(self, token: int) -> str | None:
        """The text that a token completes; None where it may end within a character."""
        self._window.append(token)
        before, now = self._said(), self._decode(self._window)
        if now.endswith(BROKEN):
            return None
        if now != before:  # else a special token, which has no text
            self._window = self._window[self._complete :]
        self._complete = len(self._window)
        return now[len(before) :]

    def _said(self) -> str:
        return self._decode(self._window[: self._complete]).rstrip(BROKEN)

    def _released(self, certain: bool) -> list[str]:
        text = "".join(self._held)
        found = [(text.find(stop) + len(stop), text.find(stop)) for stop in self._stop if stop in text]
        if found:
            self.stopped = True
            texts, self._held = _cut(self._held, min(found)[1]), []
            return texts
        safe = len(text) if certain else len(text) - max((_begun(text, stop) for stop in self._stop), default=0)
        released = []
        while self._held and len(self._held[0]) <= safe:
            safe -= len(self._held[0])
            released.append(self._held.pop(0))
        return released


def _begun(text: str, stop: str) -> int:
    """How many characters at the end of a text may be the beginning of a stop."""
    return next((n for n in range(min(len(stop) - 1, len(text)), 0, -1) if stop.startswith(text[-n:])), 0)


def _cut(texts: Sequence[str], length: int) -> list[str]:
    """The texts, shortened to so many characters together."""
    kept = []
    for text in texts:
        kept.append(text[:length])
        length -= len(kept[-1])
    return kept
