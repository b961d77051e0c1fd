"""Server-sent events as OpenAI sends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Message, Receive, Scope, Send

PATIENCE = 60.0  # seconds that a client may read nothing
END = b"data: [DONE]\n\n"
_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def event(content: Any) -> bytes:
    """One event."""
    return b"data: " + encoded(content) + b"\n\n"


def encoded(content: Any) -> bytes:
    """JSON without spaces; a NaN is a defect, never sent."""
    return _JSON.encode(content).encode()


class EventStream(StreamingResponse):
    """A stream that is given up when its client reads nothing for a while."""

    def __init__(self, events: AsyncIterator[bytes], closed: Callable[[], None], patience: float = PATIENCE) -> None:
        """``closed`` is called when the stream is over, however it ends: also where it never began."""
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._closed, self._patience = closed, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events until they end, the client is gone, or it has read nothing for too long."""

        async def within(message: Message) -> None:
            async with asyncio.timeout(self._patience):
                await send(message)

        try:
            await super().__call__(scope, receive, within)
        except TimeoutError:
            pass  # the server closes a connection whose answer is not whole
        finally:
            self._closed()
