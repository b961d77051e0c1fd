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
    ``name`` is ``"dictionary"`` or a control's. ``differences[control]`` holds the dictionary's metrics less that
    control's, with paired intervals: both were judged on the same tokens, so the interval is that of the difference,
    and narrower than the two intervals suggest. A control of another model has none.
    """

    metrics: Metrics
    controls: dict[str, Metrics]
    facts: dict[str, Any]
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    differences: dict[str, Metrics] = field(default_factory=dict)

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
        """The content of ``evaluation.json``: ``metrics``, ``controls`` and ``differences``, then facts and details."""
        return {
            "metrics": _to_json(self.metrics),
            "controls": {c: _to_json(m) for c, m in self.controls.items()},
            "differences": {c: _to_json(m) for c, m in self.differences.items()},
            **self.facts,
            **self.details,
        }


def _to_json(metrics: Metrics) -> dict[str, dict[str, float | None]]:
    return {name: estimate.to_json() for name, estimate in metrics.items()}


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
    rest = {k: v for k, v in written.items() if k not in ("metrics", "controls", "differences")}
    details = {k: v for k, v in rest.items() if isinstance(v, dict)}
    return Evaluation(
        metrics_from_json(written["metrics"]),
        {name: metrics_from_json(m) for name, m in written["controls"].items()},
        {k: v for k, v in rest.items() if k not in details},
        details,
        {name: metrics_from_json(m) for name, m in written.get("differences", {}).items()},
    )
