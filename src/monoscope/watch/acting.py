"""From events to actions: each rule's, or in shadow mode those that change nothing; and the log of what was done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

from jaxtyping import Int
from torch import Tensor, nn

from monoscope import plugins
from monoscope.errors import MonoscopeError
from monoscope.models.sites import Sites
from monoscope.watch.action import Action, Alarm
from monoscope.watch.actions import PACKAGE
from monoscope.watch.actions.log import LOG
from monoscope.watch.audit import Audit
from monoscope.watch.drift import Drifted
from monoscope.watch.following import Followed
from monoscope.watch.metrics import Metrics
from monoscope.watch.monitor import Event
from monoscope.watch.rules import Act, Rules

Settings = Mapping[str, Mapping[str, Any]]


class Acting:
    """The actions of some rules. Rules that ask for the same action with the same options share it."""

    def __init__(self, rules: Rules, settings: Settings, *, shadow: bool = False, audit: Audit | None = None) -> None:
        """Make the actions.

        Raises:
            MonoscopeError: there is no such action, it does not take the options, or a setting is missing or unused.
        """
        self.shadow, self.audit, self.metrics = shadow, audit, Metrics()
        self._made: dict[str, Action] = {}
        unused = set(settings) - {act.name for rule in rules.rules for act in rule.actions}
        if unused:
            raise MonoscopeError(
                f"no rule asks for {sorted(unused)[0]}", fix="leave the setting out, or add the action"
            )
        try:
            self._of: dict[str, list[tuple[str, Action]]] = {
                rule.name: [(act.name, self._action(act, settings.get(act.name, {}))) for act in rule.actions]
                for rule in rules.rules
            }
        except MonoscopeError:
            self.close()
            raise

    def _action(self, act: Act, settings: Mapping[str, Any]) -> Action:
        key = json.dumps([act.name, act.options, act.file], sort_keys=True, default=str)
        if key not in self._made:
            kind = plugins.load(PACKAGE, act.name).Action
            kept = set(getattr(kind, "settings", ())) & set(act.options)
            if kept:
                raise MonoscopeError(
                    f"rules cannot give {sorted(kept)[0]} of {act.name}", fix="whoever runs the watch gives it"
                )
            try:
                self._made[key] = kind(act, self.metrics, **{**act.options, **settings})
            except TypeError as error:
                raise MonoscopeError(
                    f"{act.name} does not take {dict(act.options)}: {error}",
                    fix=f"see the options of watch/actions/{act.name}.py",
                ) from error
        return self._made[key]

    @contextmanager
    def held(self, model: nn.Module, sites: Sites) -> Iterator[None]:
        """What actions hold while the model is watched."""
        with ExitStack() as stack:
            for action in self._made.values():
                if not (self.shadow and action.changes):
                    stack.enter_context(action.held(model, sites))
            yield

    def close(self) -> None:
        """The watch is over."""
        for action in self._made.values():
            action.close()

    def before(self, rows: list[Followed | None], places: Int[Tensor, "batch tokens"]) -> None:
        """A pass begins."""
        for action in self._made.values():
            if not (self.shadow and action.changes):
                action.before(rows, places)

    def on(self, followed: Followed, events: list[Event]) -> None:
        """Do what the events ask for, and write it down."""
        for event in events:
            alarm = Alarm(event, followed)
            done, withheld = [], []
            for name, action in self._of[event.rule]:
                if self.shadow and action.changes:
                    withheld.append(name)
                else:
                    action.on(alarm)
                    done.append(name)
            self.metrics.add("events", rule=event.rule, kind=event.kind)
            self.metrics.add("active", 1 if event.kind == "raised" else -1, rule=event.rule)
            if self.audit is not None:
                shadow = {"would": withheld} if self.shadow else {}
                self.audit.write({**alarm.to_json(), "actions": done, **shadow})

    def drifted(self, drifted: Drifted) -> None:
        """A signal's density left its range, or is back: said in the log, and written down."""
        LOG.warning(
            "density of %s %s: %.4g [%.4g, %.4g]", drifted.signal,
            "has left its range" if drifted.kind == "raised" else "is back", drifted.density, drifted.low, drifted.high,
        )  # fmt: skip
        self.metrics.set("drift", float(drifted.kind == "raised"), signal=drifted.signal)
        if self.audit is not None:
            self.audit.write({"drift": asdict(drifted)})

    def ended(self, followed: Followed) -> None:
        """Nothing more comes of a sequence."""
        for name in followed.monitor.active:
            self.metrics.add("active", -1, rule=name)
        for action in self._made.values():
            action.ended(followed)
