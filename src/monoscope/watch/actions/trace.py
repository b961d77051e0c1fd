"""An OpenTelemetry span from the token that raises a rule to the one that clears it. Needs the extra ``otel``.

Where spans go is what the program has set up (``opentelemetry.trace.set_tracer_provider``); without that, nowhere.
"""

from __future__ import annotations

from typing import Any

from monoscope.errors import MonoscopeError
from monoscope.watch import action
from monoscope.watch.action import Alarm
from monoscope.watch.following import Followed


class Action(action.Action):
    """Spans are named after the rule, and hold sequence, place and value as attributes."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        try:
            from opentelemetry import trace
        except ImportError as error:
            raise MonoscopeError(
                "spans are to be traced, and opentelemetry is not there", fix="pip install 'monoscope[otel]'"
            ) from error
        self._tracer = trace.get_tracer("monoscope.watch")
        self._open: dict[tuple[Followed, str], Any] = {}

    def on(self, alarm: Alarm) -> None:
        """Begin or end a span."""
        event, followed = alarm.event, alarm.followed
        key = (followed, event.rule)
        if event.kind == "raised":
            told = {
                "monoscope.rule": event.rule, "monoscope.sequence": followed.number,
                "monoscope.name": followed.name or "", "monoscope.place": event.place, "monoscope.value": event.value,
            }  # fmt: skip
            self._open[key] = self._tracer.start_span(event.rule, attributes=told)
        elif key in self._open:
            span = self._open.pop(key)
            span.set_attribute("monoscope.cleared", event.place)
            span.end()

    def ended(self, followed: Followed) -> None:
        """End what is open of a sequence."""
        for key in [key for key in self._open if key[0] is followed]:
            self._open.pop(key).end()

    def close(self) -> None:
        """End what is open."""
        for key in list(self._open):
            self._open.pop(key).end()
