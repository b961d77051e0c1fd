"""Watching a model: rules over features and probes, live and on recordings, with alarms and what follows from them.

The room is also the function that the public face offers: ``ms.watch(model, rules)`` is ``monoscope.watch.live.watch``.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from monoscope.watch.live import Watching


class _Room(ModuleType):
    """A package that can be called."""

    def __call__(self, *args: Any, **options: Any) -> AbstractContextManager[Watching]:
        """See ``monoscope.watch.live.watch``."""
        from monoscope.watch.live import watch

        return watch(*args, **options)


sys.modules[__name__].__class__ = _Room
