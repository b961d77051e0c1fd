"""One answer under way: what the engine tells of it, in the event loop, however many prompts and choices it has."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from monoscope.serve.engine import Engine, Full
from monoscope.serve.errors import Refused
from monoscope.serve.running import Tell, Ticket
from monoscope.serve.wanted import Piece, Wanted


class Bridge:
    """Hands what the engine tells over to the event loop, once a pass."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """``loop`` is where it is heard."""
        self._loop = loop

    def __call__(self, posted: list[tuple[Tell, Piece]]) -> None:
        """From the engine's thread."""
        self._loop.call_soon_threadsafe(_tell, posted)


def _tell(posted: list[tuple[Tell, Piece]]) -> None:
    for tell, piece in posted:
        tell(piece)


class Answer:
    """The pieces of all choices as they come. Close it when nobody listens any more: its slots become free."""

    def __init__(self, engine: Engine, wanted: Sequence[Wanted]) -> None:
        """Put the prompts in the queue, all or none.

        Raises:
            MonoscopeError: one of them cannot be answered.
            Refused: too many requests wait.
        """
        self._pieces: asyncio.Queue[Piece] = asyncio.Queue()
        self.choices = sum(w.choices for w in wanted)
        self.prompt_tokens, self.completion_tokens = sum(len(w.tokens) for w in wanted), 0
        self._tickets: list[Ticket] = []
        for w in wanted:
            engine.check(w)
        try:
            first = 0
            for w in wanted:
                self._tickets.append(engine.submit(w, self._hearer(first)))
                first += w.choices
        except Full as full:
            self.close()
            raise Refused("too many requests wait; try again in a moment", status=429, code="server_busy") from full

    def _hearer(self, first: int) -> Tell:
        if not first:
            return self._pieces.put_nowait
        return lambda piece: self._pieces.put_nowait(replace(piece, choice=first + piece.choice))

    async def __aiter__(self) -> AsyncIterator[Piece]:
        """Pieces until every choice is over.

        Raises:
            Refused: the engine failed.
        """
        left = self.choices
        while left:
            piece = await self._pieces.get()
            if piece.finish == "error":
                raise Refused(piece.problem, status=500, code="engine_failed")
            self.completion_tokens += len(piece.said)
            left -= piece.finish is not None
            yield piece

    def close(self) -> None:
        """Give up what is not over."""
        for ticket in self._tickets:
            ticket.cancel()


async def unless_gone(receive: Any, work: Any) -> Any:
    """The result of some work, or None as soon as the client is gone, and the work given up."""
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, gone):
            task.cancel()


async def _gone(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
