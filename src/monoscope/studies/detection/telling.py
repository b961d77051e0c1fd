"""What the numbers say in words, and no more than they say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monoscope.evaluate.intervals import Estimate
from monoscope.studies.detection import dense, features, words
from monoscope.studies.detection.detector import Detector
from monoscope.studies.detection.examples import Texts
from monoscope.studies.detection.fitting import Fitted
from monoscope.studies.detection.judging import Judged, differences
from monoscope.studies.detection.thresholds import smallest


def lesson(judged: Mapping[str, Judged], rule: Detector | None) -> list[str]:
    """Which detector tells texts apart better, where a paired interval of 95 % says so.

    Args:
        judged: of all detectors, on the same texts.
        rule: the one over features.
    """
    told = []
    if rule is None:
        told.append("No feature is on in any positive text: there is no rule over features.")
    else:
        gap = differences(judged, dense.DENSE, [features.NAME])[features.NAME]["auc"]
        told.append(
            _verdict(
                gap,
                f"The dense probe detects better than the rule over features (AUC {_more(gap)}){_explains(rule)}.",
                f"The rule over features detects better than the dense probe (AUC {_more(_negated(gap))}).",
                f"The rule over features and the dense probe cannot be told apart (AUC {_more(gap)} for the probe).",
            )
        )
    reading = max((n for n in (features.NAME, dense.DENSE) if n in judged), key=lambda n: judged[n].auc.value)
    plain = max((words.UNIGRAM, words.BAG), key=lambda n: judged[n].auc.value)
    gap = differences(judged, reading, [plain])[plain]["auc"]
    told.append(
        _verdict(
            gap,
            f"The model knows more than its tokens say: AUC {_more(gap)} over the {plain} baseline.",
            f"The {plain} baseline, which sees no model, detects better (AUC {_more(_negated(gap))}).",
            f"The {plain} baseline, which sees no model, does as well (AUC {_more(gap)} for the {reading}).",
        )
    )
    return told


def _explains(rule: Detector) -> str:
    """What a rule is still good for: an alarm says by what it was raised, where features have labels that hold."""
    labelled = sum(part.label is not None for part in rule.parts)
    if labelled == len(rule.parts):
        return "; the rule says by what its alarms are raised"
    return f"; {labelled or 'none'} of the rule's {len(rule.parts)} features has a label that holds"


def _verdict(gap: Estimate, better: str, worse: str, neither: str) -> str:
    if gap.low is not None and gap.low > 0:
        return better
    return worse if gap.high is not None and gap.high < 0 else neither


def _negated(gap: Estimate) -> Estimate:
    value, low, high = (None if x is None else -x for x in (gap.value, gap.high, gap.low))
    return Estimate(value, low, high)


def _more(gap: Estimate) -> str:
    if gap.value is None or gap.low is None or gap.high is None:
        return "not defined"
    return f"{gap.value:+.3f}, {gap.low:+.3f} to {gap.high:+.3f}"


def report(fitted: Fitted, parts: Mapping[str, Texts], judged: Mapping[str, Mapping[str, Judged]]) -> dict[str, Any]:
    """Everything as JSON.

    Args:
        fitted: the detectors.
        parts: what fitted, calibrated and tested them.
        judged: by the name of the texts, "test" among them.
    """
    promised, test = fitted.promised, judged["test"]
    return {
        "model": fitted.subject.lm.name,
        "fingerprint": fitted.subject.lm.fingerprint,
        "site": fitted.subject.site,
        "examples": {name: _counts(texts) for name, texts in parts.items()},
        "cut": fitted.cut,
        "promise": {**vars(promised), "smallest": smallest(promised.negatives)},
        "detectors": {
            name: {
                "threshold": fitted.thresholds[name],
                "how": _how(fitted, name),
                **{where: found[name].to_json() for where, found in judged.items()},
            }
            for name in test
        },
        "differences": {where: _differences(found) for where, found in judged.items()},
        "lesson": {w: lesson(found, fitted.chosen.detectors.get(features.NAME)) for w, found in judged.items()},
    }


def _differences(judged: Mapping[str, Judged]) -> dict[str, Any]:
    """How much better the rule, and the dense probe, are than each other detector."""
    return {
        of: {
            other: {measure: gap.to_json() for measure, gap in found.items()}
            for other, found in differences(judged, of, [o for o in judged if o != of]).items()
        }
        for of in (features.NAME, dense.DENSE)
        if of in judged
    }


def _counts(texts: Texts) -> dict[str, int]:
    positives = int(texts.labels.sum())
    return {"positives": positives, "negatives": len(texts) - positives}


def _how(fitted: Fitted, name: str) -> Any:
    """How a detector comes to its number."""
    if name in fitted.chosen.words:
        held = fitted.chosen.words[name]
        return f"log-odds of tokens; {held.counted}" if isinstance(held, words.Unigram) else "which tokens a text holds"
    detector, ways = fitted.chosen.detectors[name], fitted.chosen.ways
    return ways[name] if name in ways else {"join": detector.join, "parts": _parts(fitted, detector)}


def _parts(fitted: Fitted, detector: Detector) -> list[dict[str, Any]]:
    above = fitted.thresholds[detector.name]
    return [
        {"feature": p.feature, "label": p.label, "counted": str(p.aggregation), "above": above * p.scale}
        for p in detector.parts
    ]
