"""What an evaluation found: each metric with its interval, beside the same metric of every control."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Estimate

Metrics = dict[str, Estimate]
MAIN = "dictionary"  # the name of the evaluated dictionary among ``details``


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a dictionary and of its controls, on which text, from which seed.

    ``details[measure][name]`` holds what a measure shows beyond its numbers (``density``: its histogram), where
    ``name`` is ``"dictionary"`` or a control's.
    """

    metrics: Metrics
    controls: dict[str, Metrics]
    facts: dict[str, Any]
    details: dict[str, dict[str, Any]] = field(default_factory=dict)

    def with_control(self, name: str, other: Evaluation) -> Evaluation:
        """This evaluation with another's dictionary as a control: for a control that lives in another model.

        Raises:
            MonoscopeError: there already is a control of that name.
        """
        if name in self.controls:
            raise MonoscopeError(f"the evaluation already has a control {name!r}", fix="give it another name")
        details = {measure: dict(shown) for measure, shown in self.details.items()}
        for measure, shown in other.details.items():
            if MAIN in shown:
                details.setdefault(measure, {})[name] = shown[MAIN]
        return replace(self, controls={**self.controls, name: other.metrics}, details=details)

    def to_json(self) -> dict[str, Any]:
        """The content of ``evaluation.json``: ``metrics`` and ``controls``, then the facts and details."""
        return {
            "metrics": {name: e.to_json() for name, e in self.metrics.items()},
            "controls": {c: {name: e.to_json() for name, e in m.items()} for c, m in self.controls.items()},
            **self.facts,
            **self.details,
        }


def metrics_from_json(written: Mapping[str, Mapping[str, float | None]]) -> Metrics:
    """The metrics that ``Estimate.to_json`` wrote."""
    return {name: Estimate(e["value"], e["low"], e["high"]) for name, e in written.items()}


def from_json(written: Mapping[str, Any]) -> Evaluation:
    """The evaluation that ``to_json`` wrote.

    Raises:
        MonoscopeError: it holds no metrics or no controls.
    """
    if not {"metrics", "controls"} <= set(written):
        raise MonoscopeError("this is no evaluation: it holds no metrics and controls", fix="evaluate the run again")
    rest = {k: v for k, v in written.items() if k not in ("metrics", "controls")}
    details = {k: v for k, v in rest.items() if isinstance(v, dict)}
    return Evaluation(
        metrics_from_json(written["metrics"]),
        {name: metrics_from_json(m) for name, m in written["controls"].items()},
        {k: v for k, v in rest.items() if k not in details},
        details,
    )
