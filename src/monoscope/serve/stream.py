"""Server-sent events as OpenAI sends them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import StreamingResponse
from starlette.types import Message, Send

PATIENCE = 60.0  # seconds that a client may read nothing
END = b"data: [DONE]\n\n"


def event(content: Any) -> bytes:
    """One event."""
    return b"data: " + encoded(content) + b"\n\n"


def encoded(content: Any) -> bytes:
    """JSON without spaces; a NaN is a defect, never sent."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class EventStream(StreamingResponse):
    """A stream that is given up when its client reads nothing for a while."""

    def __init__(self, events: AsyncIterator[bytes], patience: float = PATIENCE) -> None:
        """``events`` are closed when the stream ends, however it ends."""
        super().__init__(events, media_type="text/event-stream", headers={"Cache-Control": "no-store"})
        self._events, self._patience = events, patience

    async def stream_response(self, send: Send) -> None:
        """Send the events."""

        async def within(message: Message) -> None:
            async with asyncio.timeout(self._patience):
                await send(message)

        try:
            await super().stream_response(within)
        except TimeoutError:
            pass  # the server closes a connection whose answer is not whole
        finally:
            close = getattr(self._events, "aclose", None)
            if close is not None:
                await close()
