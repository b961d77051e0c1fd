"""How a command is stopped: termination is what Ctrl-C is, and what follows the first of them cuts nothing short."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def terminable() -> Iterator[None]:
    """Within the block termination, as schedulers send it, raises ``KeyboardInterrupt`` like Ctrl-C."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL or current_thread() is not main_thread():
        yield  # it is somebody's own, or ignored on purpose; and other threads cannot set any
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def deafen() -> None:
    """From here on neither is heard: the process is about to end, and is saying so."""
    if current_thread() is main_thread():
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
