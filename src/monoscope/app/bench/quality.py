"""``monoscope bench quality``: what training reaches at equal tokens, every library at its best learning rate.

Of each peer, every rate of the sweep is trained with the first seed, and the best of them with all seeds. Ours is
trained with all seeds at its default rate, which nobody swept, and besides at the best of the same sweep. Every
training is one line of a file: the command goes on where it stopped, and contenders can be trained one at a time. A
peer's training, which can take hours, goes on within: a file beside the lines holds it while it is under way.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monoscope import progress
from monoscope.app.bench import data
from monoscope.app.bench.contenders import is_ours
from monoscope.app.bench.process import Failed, contend
from monoscope.errors import MonoscopeError
from monoscope.folder import unwritable

HELD_OUT = 32_768  # rows that are judged, at most a tenth
Key = tuple[str, float | None, int]  # contender, learning rate (None: the default), seed
Record = dict[str, Any]


@dataclass(frozen=True)
class Trial:
    """What is trained, of every contender alike."""

    contenders: Sequence[str]
    rows: Path
    tokens: int
    rates: Sequence[float]
    seeds: int = 3
    features: int = 3072
    k: int = 32
    batch: int = 4096
    threads: int = 0
    peers: Path | None = None
    silence: int = 0

    def __post_init__(self) -> None:
        for name, least in (("seeds", 1), ("features", 1), ("k", 1), ("batch", 1), ("silence", 0)):
            if getattr(self, name) < least:
                raise MonoscopeError(f"{name} is {getattr(self, name)}", fix=f"choose at least {least}")
        if not self.rates or min(self.rates) <= 0:
            raise MonoscopeError(f"the rates {list(self.rates)} cannot be swept", fix="choose numbers above 0")
        if self.tokens < 40 * self.batch:
            raise MonoscopeError(
                f"{self.tokens:,} tokens are fewer than 40 batches of {self.batch:,}",
                fix="warm-up is 5 % of the steps and decay 20 %: give more tokens, or a smaller --batch",
            )

    def to_json(self) -> dict[str, Any]:
        """The same in JSON, without the paths of this machine."""
        held_out = self.setting(None, 0)["held_out"]
        return {**vars(self), "peers": self.peers is not None, "rows": self.rows.name, "held_out": held_out}

    def facts(self) -> dict[str, Any]:
        """What a record must agree with to be one of this trial's."""
        return {
            "rows": fingerprint(self.rows), "tokens": self.tokens, "features": self.features, "k": self.k,
            "batch": self.batch, "threads": self.threads, **({"silence": self.silence} if self.silence else {}),
        }  # fmt: skip

    def setting(self, rate: float | None, seed: int) -> dict[str, Any]:
        """What its process is told."""
        total = data.enough(data.opened(self.rows), 2 * self.batch)
        held_out = min(HELD_OUT, total // 10)
        return {
            "features": self.features, "k": self.k, "batch": self.batch, "steps": self.tokens // self.batch,
            "rate": rate, "seed": seed, "autocast": False, "threads": self.threads, "dead": 0.0,
            "rows": total - held_out, "held_out": held_out, "windows": {}, "silence": self.silence,
        }  # fmt: skip


def numbers(text: str) -> list[float]:
    """Learning rates, as they are typed.

    Raises:
        MonoscopeError: no numbers.
    """
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise MonoscopeError(f"{text!r} are no learning rates", fix="write for example 1e-3,3e-3,6e-3") from error


def fingerprint(path: Path) -> str:
    """The shape of a file of rows, and a hash of some of them."""
    rows = data.opened(path)
    some = np.ascontiguousarray(rows[:: max(1, len(rows) // 256)])
    return f"{rows.shape[0]}x{rows.shape[1]} {hashlib.sha256(some.tobytes()).hexdigest()[:16]}"


class Records:
    """A JSON-lines file, of which the lines that agree with a trial are read and to which others are appended."""

    def __init__(self, path: Path, facts: dict[str, Any], stamp: dict[str, Any] | None = None) -> None:
        """Args: the file; what records must agree with; and what else a new one holds, such as the date."""
        self.path, self.facts, self.stamp = path, facts, stamp or {}
        self.held: dict[Key, Record] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
            try:
                record = json.loads(line)
            except ValueError:  # half a line, as after a power cut
                continue
            if record.get("facts") == facts:
                self.held[record["contender"], record["rate"], record["seed"]] = record

    def add(self, key: Key, found: dict[str, Any]) -> None:
        """Append a line, at once, and then let go of what held the training while it was under way."""
        record = {"contender": key[0], "rate": key[1], "seed": key[2], **found, "facts": self.facts, **self.stamp}
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            whole = not self.path.is_file() or self.path.read_bytes()[-1:] in (b"", b"\n")
            with self.path.open("a", encoding="utf-8") as file:
                file.write(("" if whole else "\n") + json.dumps(record, allow_nan=False) + "\n")
        except OSError as error:
            raise unwritable(self.path, error) from error
        self.held[key] = record
        self.under_way(key).unlink(missing_ok=True)

    def under_way(self, key: Key) -> Path:
        """The file that holds this training of this trial while it is under way."""
        known = hashlib.sha256(json.dumps([key, self.facts]).encode()).hexdigest()[:12]
        return self.path.with_name(f"{self.path.name}.{known}.under-way")

    def fvu(self, key: Key) -> float:
        """What was reached; of a failed or diverged training infinity."""
        found = self.held[key].get("fvu")
        return float("inf") if found is None else float(found)


def run(trial: Trial, records: Records, tell: Callable[[str], None]) -> None:
    """Train what is not there yet; ``tell`` is given a line about each training.

    Raises:
        MonoscopeError: ours cannot train that, or the rows are too few.
    """
    for contender in trial.contenders:
        for key in _wanted(contender, trial, records):
            if key not in records.held:
                records.add(key, _trained(key, trial, records.under_way(key)))
                tell(said(key, records.held[key]))


def _wanted(contender: str, trial: Trial, records: Records) -> Iterator[Key]:
    """Every training of a contender; the last ones follow from what the first have found."""
    if is_ours(contender):
        yield from ((contender, None, seed) for seed in range(trial.seeds))
    yield from ((contender, rate, 0) for rate in trial.rates)
    best = best_rate(contender, trial, records)
    if best is not None:
        yield from ((contender, best, seed) for seed in range(1, trial.seeds))


def best_rate(contender: str, trial: Trial, records: Records) -> float | None:
    """The rate of the sweep that reached the lowest FVU with the first seed; None where none did."""
    reached = {rate: records.fvu((contender, rate, 0)) for rate in trial.rates if (contender, rate, 0) in records.held}
    best = min(reached, key=lambda rate: reached[rate], default=None)
    return best if best is not None and reached[best] < float("inf") else None


def _trained(key: Key, trial: Trial, under_way: Path) -> dict[str, Any]:
    contender, rate, seed = key
    setting = trial.setting(rate, seed) | ({} if is_ours(contender) else {"kept": str(under_way.absolute())})
    with progress.bar(f"{contender} {_named(rate)}", setting["steps"], unit="steps") as report:
        try:
            found = contend(contender, trial.rows, setting, trial.peers, report=report)
        except Failed as error:
            return {"fvu": None, "failed": str(error)}
    return {name: value for name, value in found.items() if name != "windows"}


def _named(rate: float | None) -> str:
    return "default" if rate is None else f"{rate:g}"


def said(key: Key, record: Record) -> str:
    """One training in words."""
    what = f"{key[0]}, rate {_named(key[1])}, seed {key[2]}: "
    if "failed" in record:
        return f"{what}failed: {record['failed'].splitlines()[-1]}"
    if record["fvu"] is None:
        return f"{what}diverged"
    return f"{what}FVU {record['fvu']:.4f} at L0 {record['l0']:.1f}, {record['elapsed']:,.0f} s"


def summary(trial: Trial, records: Records) -> list[dict[str, Any]]:
    """A line for each contender at its best rate, and for ours at its default; means and ranges over seeds."""
    lines: list[dict[str, Any]] = []
    for contender in trial.contenders:
        rates: list[tuple[str, float | None]] = [("default", None)] if is_ours(contender) else []
        best = best_rate(contender, trial, records)
        rates += [("best of the sweep", best)] if best is not None else []
        sweep = {str(rate): records.held.get((contender, rate, 0), {}).get("fvu") for rate in trial.rates}
        if best is None and not is_ours(contender):
            lines.append({"contender": contender, "rate": None, "which": "none converged", "seeds": 0, "sweep": sweep})
        for which, rate in rates:
            seeds = [r for s in range(trial.seeds) if (r := records.held.get((contender, rate, s)))]
            good = [r for r in seeds if r["fvu"] is not None]
            line: dict[str, Any] = {"contender": contender, "rate": rate, "which": which}
            line |= {"seeds": len(good), "sweep": sweep}
            line["at_edge"] = rate in (min(trial.rates), max(trial.rates)) and len(trial.rates) > 1
            line |= {name: spread([r[name] for r in good]) for name in ("fvu", "l0", "dead", "elapsed") if good}
            chosen = [r["by_selection"] for r in good if "by_selection" in r]
            if chosen:
                line["by_selection"] = {n: spread([c[n] for c in chosen]) for n in ("fvu", "l0")}
            line["remark"] = next((r["remark"] for r in good if r.get("remark")), "")
            lines.append(line)
    return lines


def spread(values: Sequence[float]) -> dict[str, float]:
    """Mean and range."""
    return {"mean": sum(values) / len(values), "low": min(values), "high": max(values)}
