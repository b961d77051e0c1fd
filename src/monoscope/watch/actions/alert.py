"""A message to a web address that whoever runs the watch gives, as JSON by POST.

A bounded queue and a thread of its own stand between the model and the network: decoding never waits. What finds the
queue full is dropped and counted; what cannot be delivered is tried again a few times, then counted.
"""

from __future__ import annotations

import http.client
import json
import queue
import threading
import time
import urllib.request
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from monoscope.errors import MonoscopeError
from monoscope.watch import action
from monoscope.watch.action import Alarm


class Action(action.Action):
    """Settings of the run, which rules cannot give: ``url``; options: the others.

    Args:
        given: what every action is given.
        url: where messages go, http or https.
        waiting: so many messages wait at most.
        timeout: seconds that one try may take.
        tries: of each message, with growing pauses between.
        patience: seconds that the end of the watch waits for what is still to be delivered.
        cleared: whether the end of an alarm is told too.
    """

    settings = ("url",)

    def __init__(
        self, *given: Any, url: str = "", waiting: int = 256, timeout: float = 5.0, tries: int = 3,
        patience: float = 5.0, cleared: bool = False,
    ) -> None:  # fmt: skip
        super().__init__(*given)
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise MonoscopeError(
                f"alerts are to be sent, and {url!r} is no address" if url else "alerts are to be sent: where to?",
                fix='give it to the run: settings={"alert": {"url": "http://…"}}, or --alert http://…',
            )
        self.url, self.timeout, self.tries, self.patience, self.cleared = url, timeout, max(1, tries), patience, cleared
        self._waiting: queue.Queue[bytes | None] = queue.Queue(max(1, waiting))
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._deliver, name="monoscope alerts", daemon=True)
        self._thread.start()

    def on(self, alarm: Alarm) -> None:
        """Queue the message."""
        if alarm.event.kind == "cleared" and not self.cleared:
            return
        try:
            self._waiting.put_nowait(json.dumps({**alarm.to_json(), "time": time.time()}).encode())
        except queue.Full:
            self._count("dropped")

    def close(self) -> None:
        """Wait a little for what is still to be delivered."""
        until = time.monotonic() + self.patience
        while self._waiting.unfinished_tasks and time.monotonic() < until:
            time.sleep(0.01)
        self._over.set()
        left = self._waiting.unfinished_tasks
        for _ in range(left):
            self._count("dropped")
        with suppress(queue.Full):
            self._waiting.put_nowait(None)

    def _deliver(self) -> None:
        while not self._over.is_set():
            message = self._waiting.get()
            if message is None:
                return
            outcome = "delivered" if self._sent(message) else "failed"
            if not self._over.is_set():
                self._count(outcome)
            self._waiting.task_done()

    def _sent(self, message: bytes) -> bool:
        for attempt in range(self.tries):
            if self._over.wait(0 if attempt == 0 else 0.25 * 2**attempt):
                return False
            request = urllib.request.Request(self.url, message, {"Content-Type": "application/json"}, method="POST")
            try:
                with _OPENER.open(request, timeout=self.timeout) as answer:
                    answer.read(1)
                return True
            except (OSError, ValueError, http.client.HTTPException):
                continue
        return False

    def _count(self, outcome: str) -> None:
        self.metrics.add("alerts", outcome=outcome)


class _Straight(urllib.request.HTTPRedirectHandler):
    """An address that sends messages elsewhere is not followed: they go where the user said, or nowhere."""

    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        """No other request is made."""


_OPENER = urllib.request.build_opener(_Straight)
