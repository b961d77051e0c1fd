"""A word on the sequence, for whoever handles it afterwards."""

from __future__ import annotations

from typing import Any

from monoscope.watch import action
from monoscope.watch.action import Alarm


class Action(action.Action):
    """``tag``: the word; the rule's name by default. It stays when the alarm is cleared."""

    def __init__(self, *given: Any, tag: str = "") -> None:
        super().__init__(*given)
        self.tag = tag

    def on(self, alarm: Alarm) -> None:
        """Add it to the sequence's tags."""
        alarm.followed.tags.add(self.tag or alarm.event.rule)
