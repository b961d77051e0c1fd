"""Several calls at a time, in threads that do not outlive their reason."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

T = TypeVar("T")
GRACE = 10.0  # seconds that calls under way are given when everything is to stop: their answers are paid for


def run(function: Callable[[T], None], items: Iterable[T], workers: int, stop: threading.Event) -> None:
    """Call ``function`` with every item, ``workers`` at a time, and return when all are done.

    An exception in one of them stops the others and is raised here. An interrupt sets ``stop``, gives the calls under
    way a short grace, and is raised again.
    """
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    errors: list[BaseException] = []

    def work() -> None:
        while not errors:
            try:
                item = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                function(item)
            except BaseException as error:
                errors.append(error)
                stop.set()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, waiting.qsize()))]
    for thread in threads:
        thread.start()
    try:
        for thread in threads:
            while thread.is_alive():
                thread.join(0.2)  # a bare join would not let an interrupt through everywhere
    except BaseException:
        stop.set()
        ends = time.monotonic() + GRACE
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))
        raise
    if errors:
        raise errors[0]
