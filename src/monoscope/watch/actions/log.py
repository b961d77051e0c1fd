"""A line in Python's log, under the name ``monoscope.watch``."""

from __future__ import annotations

import logging

from monoscope.watch import action
from monoscope.watch.action import Alarm

LOG = logging.getLogger("monoscope.watch")


class Action(action.Action):
    """Raised alarms are warnings, cleared ones are information."""

    def on(self, alarm: Alarm) -> None:
        """Write the line."""
        event, followed = alarm.event, alarm.followed
        level = logging.WARNING if event.kind == "raised" else logging.INFO
        LOG.log(
            level, "%s %s at token %d of %s (%.4g)", event.rule, event.kind, event.place,
            followed.name or f"sequence {followed.number}", event.value,
        )  # fmt: skip
