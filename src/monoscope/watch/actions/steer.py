"""A recipe that is applied while the rule is raised: from the pass after the one that raised it."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from jaxtyping import Int
from torch import Tensor, nn

from monoscope.errors import MonoscopeError
from monoscope.intervene import recipes
from monoscope.intervene.steering import Steering
from monoscope.models.sites import Sites
from monoscope.watch import action
from monoscope.watch.action import Alarm
from monoscope.watch.following import Followed


@dataclass
class _Spans:
    """Where one sequence is steered: from and to which places, and which rules ask for it now."""

    raised: set[str] = field(default_factory=set)
    closed: list[tuple[int, int]] = field(default_factory=list)
    since: int = 0


class Action(action.Action):
    """``file`` is the recipe. Without a cache the same tokens of a sequence are steered as with one."""

    changes: ClassVar[bool] = True

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        if self.act.file is None:
            raise MonoscopeError("steer needs a recipe", fix='write { name = "steer", file = "recipe.toml" }')
        self.recipe = recipes.load(self.act.file)
        self._spans: dict[Followed, _Spans] = {}
        self._steering: Steering | None = None

    def held(self, model: nn.Module, sites: Sites) -> AbstractContextManager[Any]:
        """The recipe, on no token yet."""
        self._steering = Steering(model, sites, [self.recipe])
        self._steering.only = torch.zeros(0, 0, dtype=torch.bool)
        return self._steering.applied()

    def on(self, alarm: Alarm) -> None:
        """Begin or end with the tokens that come next."""
        event, followed = alarm.event, alarm.followed
        spans = self._spans.setdefault(followed, _Spans())
        if event.kind == "raised":
            spans.since = spans.since if spans.raised else followed.seen
            spans.raised.add(event.rule)
        else:
            spans.raised.discard(event.rule)
            if not spans.raised and followed.seen > spans.since:
                spans.closed.append((spans.since, followed.seen))

    def before(self, rows: list[Followed | None], places: Int[Tensor, "batch tokens"]) -> None:
        """Choose the tokens of a pass."""
        assert self._steering is not None
        only = torch.zeros_like(places, dtype=torch.bool)
        for row, followed in enumerate(rows):
            spans = None if followed is None else self._spans.get(followed)
            if spans is not None:
                for first, stop in spans.closed:
                    only[row] |= (places[row] >= first) & (places[row] < stop)
                if spans.raised:
                    only[row] |= places[row] >= spans.since
        self._steering.only = only

    def ended(self, followed: Followed) -> None:
        """Forget it."""
        self._spans.pop(followed, None)
