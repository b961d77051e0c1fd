"""When to try again: later and later, by chance a little apart, and never before the server said."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime


@dataclass(frozen=True)
class Retries:
    """How often and how late.

    Args:
        times: attempts after the first.
        first: seconds before the first of them; each further one waits twice as long.
        longest: seconds that no wait of our own exceeds.
        patience: the longest wait that a server may ask for; beyond it the attempt is given up.
    """

    times: int = 4
    first: float = 0.5
    longest: float = 30.0
    patience: float = 300.0

    def delay(self, attempt: int) -> float:
        """Seconds before a further attempt (1, 2, …): between half and the whole of the doubled time."""
        return min(self.longest, self.first * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0)


class Gate:
    """What everyone passes before sending; a server that asks one to wait asks all."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self._opens = 0.0
        self._lock = threading.Lock()

    def shut(self, seconds: float) -> None:
        """Let no one pass for so long."""
        with self._lock:
            self._opens = max(self._opens, time.monotonic() + seconds)

    def passed(self) -> bool:
        """Wait until the gate is open; False when everything is to stop."""
        while (left := self._opens - time.monotonic()) > 0:
            if self.stop.wait(left):
                return False
        return not self.stop.is_set()


def retry_after(header: str | None, now: datetime | None = None) -> float | None:
    """The seconds that a ``Retry-After`` header asks for, whether it holds a number or a date; None if neither."""
    if header is None:
        return None
    try:
        return max(0.0, float(header))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(header)
    except ValueError:
        return None
    return max(0.0, (when.replace(tzinfo=when.tzinfo or UTC) - (now or datetime.now(UTC))).total_seconds())
