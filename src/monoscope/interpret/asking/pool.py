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
    ended = threading.Semaphore(0)  # not join: an interrupted join takes a running thread for a finished one

    def work() -> None:
        try:
            while not errors:
                try:
                    item = waiting.get_nowait()
                except queue.Empty:
                    return
                function(item)
        except BaseException as error:
            errors.append(error)
            stop.set()
        finally:
            ended.release()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(workers, waiting.qsize()))]
    try:
        for thread in threads:
            thread.start()
        for _ in threads:
            while not ended.acquire(timeout=0.2):  # a bare wait would not let an interrupt through everywhere
                pass
    except BaseException:
        stop.set()
        ends = time.monotonic() + GRACE
        while any(thread.is_alive() for thread in threads) and time.monotonic() < ends:
            time.sleep(0.02)
        raise
    if errors:
        raise errors[0]
