"""Counters and gauges of a watch, and the text that Prometheus reads (exposition format 0.0.4)."""

from __future__ import annotations

import threading
from collections import defaultdict

MEANING = {
    "tokens": ("counter", "Tokens that were watched."),
    "sequences": ("counter", "Sequences that were begun."),
    "events": ("counter", "Rules that were raised or cleared."),
    "active": ("gauge", "Sequences in which a rule is raised now."),
    "alerts": ("counter", "Messages that were delivered, failed or dropped."),
    "drift": ("gauge", "Signals whose density has left its range, 1 or 0."),
    "recorded_tokens": ("counter", "Tokens that were written into the recording."),
    "recorded_bytes": ("counter", "Bytes that were written into the recording."),
}


class Metrics:
    """Numbers by name and labels; may be changed and read by several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers: dict[str, dict[tuple[tuple[str, str], ...], float]] = defaultdict(dict)

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Count."""
        key = tuple(sorted(labels.items()))
        with self._lock:
            self._numbers[name][key] = self._numbers[name].get(key, 0) + amount

    def set(self, name: str, value: float, **labels: str) -> None:
        """What a gauge shows, or a counter that others keep."""
        with self._lock:
            self._numbers[name][tuple(sorted(labels.items()))] = value

    def get(self, name: str, **labels: str) -> float:
        """A number; 0 where nothing was counted."""
        with self._lock:
            return self._numbers[name].get(tuple(sorted(labels.items())), 0)

    def text(self) -> str:
        """The exposition format: every number, with what it means."""
        lines = []
        with self._lock:
            for name, (kind, meaning) in MEANING.items():
                full = f"monoscope_watch_{name}" + ("_total" if kind == "counter" else "")
                lines += [f"# HELP {full} {meaning}", f"# TYPE {full} {kind}"]
                for labels, value in sorted(self._numbers[name].items()):
                    told = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels)
                    lines.append(f"{full}{{{told}}} {value:.17g}" if told else f"{full} {value:.17g}")
        return "\n".join(lines) + "\n"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
