"""The end of the sequence: ``generate`` writes no more of it, where it is given ``watching.stopping``."""

from __future__ import annotations

from typing import ClassVar

from monoscope.watch import action
from monoscope.watch.action import Alarm


class Action(action.Action):
    """The token that was chosen while the alarm was raised is the last."""

    changes: ClassVar[bool] = True

    def on(self, alarm: Alarm) -> None:
        """Ask for the end."""
        if alarm.event.kind == "raised":
            alarm.followed.stopped = True
