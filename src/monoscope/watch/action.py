"""What follows from alarms: the base of the plug-ins in ``watch/actions``, and what they are told."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from jaxtyping import Int
from torch import Tensor, nn

from monoscope.models.sites import Sites
from monoscope.watch.following import Followed
from monoscope.watch.monitor import Event
from monoscope.watch.rules import Act

if TYPE_CHECKING:
    from monoscope.watch.metrics import Metrics


@dataclass(frozen=True)
class Alarm:
    """An event, and whose."""

    event: Event
    followed: Followed

    def to_json(self) -> dict[str, Any]:
        """``{"rule", "kind", "sequence", "name", "place", "value"}``."""
        event, followed = self.event, self.followed
        return {
            "rule": event.rule, "kind": event.kind, "sequence": followed.number, "name": followed.name,
            "place": event.place, "value": event.value,
        }  # fmt: skip


class Action:
    """One action of some rules. Its constructor takes its options by name, after the ``Act`` that asks for it."""

    changes: ClassVar[bool] = False  # True: it changes what the model says, so that shadow mode leaves it out

    def __init__(self, act: Act, metrics: Metrics) -> None:
        self.act, self.metrics = act, metrics

    def held(self, model: nn.Module, sites: Sites) -> AbstractContextManager[Any]:
        """What holds while the model is watched."""
        return nullcontext()

    def on(self, alarm: Alarm) -> None:
        """A rule that asks for the action was raised or cleared. Must not wait for anything."""

    def before(self, rows: list[Followed | None], places: Int[Tensor, "batch tokens"]) -> None:
        """A pass begins; these sequences are in its rows, and its tokens stand at these places."""

    def ended(self, followed: Followed) -> None:
        """Nothing more comes of a sequence."""

    def close(self) -> None:
        """The watch is over."""
