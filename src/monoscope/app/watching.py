"""Watching from the command line: texts read or gone on with under rules, recordings, and what is shown of alarms."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.text import Text
from torch import Tensor

from monoscope import progress
from monoscope.app import plan
from monoscope.app.run import Run
from monoscope.errors import MonoscopeError
from monoscope.models import LanguageModel, load_model, reference
from monoscope.models.sites import uncached
from monoscope.text import tokenise
from monoscope.text.corpus import open_corpus
from monoscope.text.tokenise import Tokeniser
from monoscope.types import Document
from monoscope.visible import safe
from monoscope.watch.following import Followed
from monoscope.watch.live import Watching, watch
from monoscope.watch.monitor import Event
from monoscope.watch.recording import Recording
from monoscope.watch.replay import Replayed
from monoscope.watch.rules import Condition, Rule, Rules, Signal

AT_ONCE = 8
AROUND, SHOWN = 10, 40  # tokens on each side of an alarm's, and alarms that are shown
MARKS = {"raised": ("▲", "bold red"), "cleared": ("▽", "green")}


@dataclass(frozen=True)
class Given:
    """A text to be watched, as tokens, framed as the model expects."""

    name: str
    tokens: list[int]


@dataclass
class Report:
    """What a watch found: the sequences, and what there is to say of the whole."""

    sequences: list[dict[str, Any]]
    tokens: int
    drifted: list[dict[str, Any]]


def model_of(name: str) -> LanguageModel:
    """The model of a run's folder, or one by its own name."""
    return Run(name).lm if (Path(name) / plan.NAME).is_file() else load_model(name)


def rules_of(run: Run, features: Sequence[int], above: float, clear: float | None) -> Rules:
    """A rule for each of some of a run's features, which refuses any other model and dictionary.

    Thresholds are in multiples of the feature's largest value.

    Raises:
        MonoscopeError: there is no such feature, or it never fires.
    """
    from monoscope.app.steering import recipe

    signals, rules = [], []
    for feature in features:
        of = recipe(run, feature, "ablate", None, "value").edits[0].of
        name = f"feature {feature}"
        levels = [None if level is None else level * (of.max or 0.0) for level in (above, clear)]
        signals.append(Signal(name, of))
        words = str(run.catalogue.features["label"][feature]) or name
        rules.append(Rule(words, Condition(name, levels[0], levels[1])))
    if len({rule.name for rule in rules}) < len(rules):
        rules = [Rule(s.name, r.when) for s, r in zip(signals, rules, strict=True)]
    return Rules(tuple(signals), tuple(rules), run.plan.model, run.plan.fingerprint)


def texts(lm: LanguageModel, text: str | None, source: str | None, most: int, new: int) -> Iterator[Given]:
    """What is to be watched: one text, or documents up to so many tokens, each in windows that the model can read.

    Raises:
        MonoscopeError: there is none, or a prompt leaves no room for ``new`` tokens.
    """
    if (text is None) == (source is None):
        raise MonoscopeError("what is watched?", fix="give a text, or --text with a corpus")
    documents = [Document("text", text)] if text is not None else open_corpus(str(source))
    prefix, suffix, left = lm.tokeniser.prefix, lm.tokeniser.suffix, most
    room = lm.context - len(prefix) - len(suffix)
    for document in documents:
        tokens = lm.tokeniser.documents([document])[0].tokens.tolist()[:left]
        if new and len(tokens) + len(prefix) + new > lm.context:
            raise MonoscopeError(
                f"{document.name}: {len(tokens)} tokens and {new} new ones do not fit {lm.name} ({lm.context})",
                fix="give shorter texts, or ask for fewer new tokens",
            )
        for first in range(0, len(tokens), room):
            part = f" from token {first}" if len(tokens) > room else ""
            yield Given(document.name + part, [*prefix, *tokens[first : first + room], *([] if new else suffix)])
        left -= len(tokens)
        if left <= 0:
            return


def run(
    lm: LanguageModel, given: Iterator[Given], new: int, temperature: float, seed: int, **options: Any
) -> tuple[Report, Watching]:
    """Watch texts; with ``new``, the model goes on with each by so many tokens. ``options`` are those of ``watch``."""
    found, tokens = [], 0
    with watch(lm, **options) as watching, progress.bar("watching", None) as report:
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.manual_seed(seed)
            while batch := list(islice(given, AT_ONCE)):
                watching.restart()
                watching.names = [text.name for text in batch]
                _pass(lm, watching, batch, new, temperature)
                read = [(text, row) for text, row in zip(batch, watching.rows, strict=True) if row is not None]
                found += [_told(lm.tokeniser, text, row) for text, row in read]
                tokens += sum(len(row.tokens) for _, row in read)
                report(sum(len(row.tokens) for _, row in read))
    return Report(found, tokens, [asdict(drifted) for drifted in watching.drifted]), watching


def _pass(lm: LanguageModel, watching: Watching, batch: list[Given], new: int, temperature: float) -> None:
    """Read a batch, or go on with it. Padding is on the side where it moves no token's position."""
    ids, mask = _padded(batch, lm.tokeniser.padding, left=new > 0)
    ids, mask = ids.to(lm.device), mask.to(lm.device)
    if not new:
        lm.model(input_ids=ids, attention_mask=mask, **uncached(lm.model))
        return
    if not lm.has_head:
        raise MonoscopeError(
            f"{lm.name} predicts no tokens, so it cannot go on with a text", fix="leave out --generate"
        )
    drawn = {"do_sample": True, "temperature": temperature, "top_k": 0, "top_p": 1.0}
    lm.model.generate(
        ids, attention_mask=mask, max_new_tokens=new, pad_token_id=lm.tokeniser.padding,
        stopping_criteria=[watching.stopping], **(drawn if temperature > 0 else {"do_sample": False}),
    )  # fmt: skip


def _padded(batch: list[Given], padding: int, left: bool) -> tuple[Tensor, Tensor]:
    width = max(len(text.tokens) for text in batch)
    ids = torch.full((len(batch), width), padding)
    mask = torch.zeros_like(ids)
    for row, text in enumerate(batch):
        at = slice(width - len(text.tokens), width) if left else slice(0, len(text.tokens))
        ids[row, at], mask[row, at] = torch.tensor(text.tokens), 1
    return ids, mask


def _told(tokeniser: Tokeniser, text: Given, row: Followed) -> dict[str, Any]:
    """A sequence as JSON; each event with its token and what is around it."""
    return {
        "sequence": row.number, "name": text.name, "tokens": len(row.tokens),
        "written": tokeniser.fast.decode(row.tokens[len(text.tokens) :]), "stopped": row.stopped,
        "tags": sorted(row.tags), "active": row.monitor.active,
        "events": [_event(tokeniser, row.tokens, event) for event in row.events],
    }  # fmt: skip


def _event(tokeniser: Tokeniser | None, tokens: Sequence[int], event: Event, first: int = 0) -> dict[str, Any]:
    at = event.place - first
    parts = [tokens[max(0, at - AROUND) : at], tokens[at : at + 1], tokens[at + 1 : at + 1 + AROUND]]
    said = [" ".join(map(str, part)) if tokeniser is None else tokeniser.fast.decode(part) for part in parts]
    return {**asdict(event), "before": said[0], "token": said[1], "after": said[2]}


def of_replay(recording: Recording, found: Replayed) -> Report:
    """What rules found in a recording, in the form of a watch; words where the model's tokeniser is at hand."""
    of: dict[int, list[Event]] = {}
    for number, event in found.events:
        of.setdefault(number, []).append(event)
    tokens: dict[int, list[int]] = {number: [] for number in of}
    first: dict[int, int] = {}
    for block in recording.blocks():
        for number, place, token in zip(
            *(c.tolist() for c in (block.sequences, block.places, block.tokens)), strict=True
        ):
            if number in tokens:
                first.setdefault(number, place)
                tokens[number].append(token)
    tokeniser = _tokeniser(str(recording.facts.get("model")))
    sequences = [
        {
            "sequence": number, "name": found.names.get(number), "tokens": len(tokens[number]),
            "events": [_event(tokeniser, tokens[number], event, first[number]) for event in events],
        }
        for number, events in sorted(of.items())
    ]  # fmt: skip
    return Report(sequences, found.tokens, [asdict(drifted) for drifted in found.drifted])


def _tokeniser(model: str) -> Tokeniser | None:
    """A model's tokeniser, where it is on this machine: a packaged model's, or a folder's."""
    path = reference.folder(model) if model in reference.NAMES else Path(model)
    with suppress(MonoscopeError):
        return tokenise.load(path) if path.is_dir() else None
    return None


def show(report: Report, console: Console) -> None:
    """Every alarm with the text around it; then how many there were."""
    from monoscope.app.terminal import _visible

    events = [(each, event) for each in report.sequences for event in each["events"]]
    last = None
    for each, event in events[:SHOWN]:
        if each["sequence"] != last:
            last = each["sequence"]
            console.print(Text(safe(each["name"] or f"sequence {last}"), style="bold"))
            if each.get("written"):
                console.print(Text(safe(each["written"]), style="dim"))
        mark, style = MARKS[event["kind"]]
        line = Text.assemble((f" {mark} ", style), (f"{event['place']:>5} ", "dim"), (safe(event["rule"]), style), "  ")
        line.append_text(_visible(event["before"], "dim")).append_text(_visible(event["token"], "reverse"))
        line.append_text(_visible(event["after"], "dim")).append(f"  {event['value']:.3g}", style="dim")
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    if len(events) > SHOWN:
        console.print(f"… and {len(events) - SHOWN:,} more; --json gives all", style="dim")
    for drifted in report.drifted:
        console.print(
            f"density of {drifted['signal']} {drifted['density']:.3g} [{drifted['low']:.3g}, {drifted['high']:.3g}]: "
            + ("out of its range" if drifted["kind"] == "raised" else "back in its range"),
            markup=False,
        )
    raised = sum(event["kind"] == "raised" for _, event in events)
    console.print(
        f"{raised:,} {'alarm' if raised == 1 else 'alarms'} on {report.tokens:,} tokens", style="bold" if raised else ""
    )


def to_json(report: Report, **more: Any) -> Mapping[str, Any]:
    """``{"tokens", "sequences": [{"sequence", "name", "tokens", "events": […]}], "drift": […]}``."""
    return {"tokens": report.tokens, "sequences": report.sequences, "drift": report.drifted, **more}
