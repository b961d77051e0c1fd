"""Steering with a run's features: recipes from a feature's number, and what a dose does and costs."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from monoscope import folder, progress
from monoscope.app.plan import FIT, TEST
from monoscope.app.run import Run
from monoscope.concepts import Expression, concept, token_literal
from monoscope.dictionary.identity import content_hash
from monoscope.errors import MonoscopeError
from monoscope.evaluate.intervals import Estimate
from monoscope.harvest.stream import stream
from monoscope.intervene.edit import Direction, Edit, Recipe
from monoscope.studies.continuations import Sampling, go_on, prompts
from monoscope.studies.dose_response import Arm, Response, respond, sweet_spot
from monoscope.visible import safe

STEERING = "steering"
SHORT = {"random features": "random", "difference of means": "difference"}  # a table fits 80 columns
HELD_OUT, RANDOM, ROWS = 32, 4, 100_000
ALIKE = 3.0  # random features have at most so many times the density, and at least as small a part of it


def recipe(run: Run, feature: int, operation: str, dose: float | None, unit: str) -> Recipe:
    """A recipe of one edit of one of the run's features, which refuses any other model and dictionary.

    Raises:
        MonoscopeError: there is no such feature, it never fires, or the operation does not take the dose.
    """
    largest = run.catalogue[feature].max
    if not largest > 0:
        raise MonoscopeError(f"feature {feature} never fires", fix="choose another")
    of = Direction(str(run.path / "dictionary"), feature, max=largest, sha256=content_hash(run.dictionary))
    return Recipe((Edit(operation, of, dose, unit),), run.plan.model, run.plan.fingerprint)


def demonstrate(run: Run, text: str, recipes: Sequence[Recipe], sampling: Sampling) -> dict[str, Any]:
    """A text's plain continuation, and one for each recipe: ``{"text", "plain", "steered": [{"dose", "text"}]}``."""
    tokens = run.lm.tokeniser.text(text).tokens.tolist()

    def said(steered: Recipe | None) -> str:
        return str(run.lm.tokeniser.fast.decode(go_on(run.lm, [tokens], sampling, steered)[0]))

    return {
        "text": text,
        "plain": said(None),
        "steered": [{"dose": r.edits[0].dose, "text": said(r)} for r in recipes],
    }


def study(run: Run, recipes: Sequence[Recipe], expression: str, n_prompts: int, sampling: Sampling) -> list[Response]:
    """The response to every recipe (one feature at several doses) beside plain, random features, a vector and a prompt.

    Raises:
        MonoscopeError: the concept is none, or holds nowhere on the run's text, or the text is too short.
    """
    tested, lm, store = concept(expression), run.lm, run.store
    room = lm.context - sampling.new - len(lm.tokeniser.prefix)
    longest = max(16, room // 2)
    given = prompts(store, store.documents(TEST).tolist(), n_prompts, longest, min(16, longest), sampling.seed)
    held_out = prompts(
        store,
        store.documents(TEST).tolist(),
        min(HELD_OUT, n_prompts),
        lm.context // 2,
        lm.context // 2,
        sampling.seed + 1,
    )
    examples = _examples(run, recipes[0].edits[0].of.feature or 0, room - longest)
    vector = difference_of_means(run, tested)
    arms = [Arm("plain"), Arm("prompt", prefix=tuple(examples))]
    for steered in recipes:
        edit = steered.edits[0]
        arms.append(Arm("feature", edit.dose, (steered,)))
        arms.append(Arm("random features", edit.dose, tuple(_others(run, steered, sampling.seed))))
        arms.append(Arm("difference of means", edit.dose, (_as_vector(run, steered, vector),)))
    with progress.bar("steering", sum(len(arm.recipes) for arm in arms), unit="runs") as report:
        return respond(lm, given, held_out, tested, arms, sampling, seed=sampling.seed, progress=report)


def difference_of_means(run: Run, tested: Expression) -> Path:
    """The mean activation before tokens on which a concept holds less that before others, on fit documents; its file.

    Raises:
        MonoscopeError: the concept holds on no token there, or on all.
    """
    name = hashlib.sha256(tested.text.encode()).hexdigest()[:16]
    path = run.path / STEERING / f"{name}.npy"
    if path.is_file():
        return path
    sums, counts, masks, seen = np.zeros((2, run.lm.width(run.plan.site))), np.zeros(2), {}, 0
    for block in stream(run.lm, run.store, run.store.documents(FIT), [run.plan.site]):
        for document in block.documents.unique().tolist():
            if document not in masks:
                masks[document] = np.append(tested.mask(run.store.document(document))[1:], False)
        held = np.array([masks[d][p] for d, p in zip(block.documents.tolist(), block.positions.tolist(), strict=True)])
        values = block.values[run.plan.site].cpu().double().numpy()
        for side in (0, 1):
            sums[side] += values[held == bool(side)].sum(0)
            counts[side] += (held == bool(side)).sum()
        seen += len(held)
        if seen >= ROWS:
            break
    if not counts.all():
        raise MonoscopeError(
            f"{tested.text} holds on {int(counts[1])} of {seen} tokens of the run's text", fix="choose another concept"
        )
    made = sums[1] / counts[1] - sums[0] / counts[0]
    with folder.replacing(path) as partial, partial.open("wb") as file:
        np.save(file, made.astype(np.float32))
    return path


def _as_vector(run: Run, steered: Recipe, vector: Path) -> Recipe:
    """The difference of means, added at about the length of a feature's edit at the same dose."""
    edit = steered.edits[0]
    direction = run.dictionary.directions[edit.of.feature].norm()
    unit = {"max": edit.of.max or 1.0, "value": 1.0}.get(edit.unit)
    length = float(torch.from_numpy(np.load(vector)).norm())
    dose = abs(edit.dose or 1.0)
    amount, unit_name = (dose, "norm") if unit is None else (dose * unit * float(direction) / length, "value")
    site = str(run.plan.target or run.plan.site)
    return Recipe(
        (Edit("add", Direction(vector=str(vector)), amount, unit_name, site),), steered.model, steered.fingerprint
    )


def _others(run: Run, steered: Recipe, seed: int) -> list[Recipe]:
    """The same edit of other features that are about as dense."""
    edit, density = steered.edits[0], run.catalogue.features["density"]
    own = density[edit.of.feature]
    near = np.flatnonzero((density > own / ALIKE) & (density < own * ALIKE))
    near = near[near != edit.of.feature]
    chosen = np.random.default_rng(seed).permutation(near)[:RANDOM].tolist()
    return [recipe(run, feature, edit.operation, edit.dose, edit.unit) for feature in chosen]


def _examples(run: Run, feature: int, room: int) -> list[int]:
    """Tokens of the feature's strongest examples, each from its line's beginning, as many as there is room for."""
    said: list[int] = []
    for example in run.catalogue[feature].examples.get("top", []):
        first = int(run.store.token_offsets[example.document])
        start, stop = max(0, example.position - 12), example.position + 2
        tokens = run.store.tokens[first + start : first + min(stop, run.store.length(example.document))].tolist()
        tokens += run.lm.tokeniser.text("\n").tokens.tolist()
        if len(said) + len(tokens) > room:
            break
        said += tokens
    return said


def show_texts(found: Mapping[str, Any], console: Console) -> None:
    """The plain continuation and the steered ones, the given text dimmed before each."""
    for name, said in [
        ("plain", found["plain"]),
        *((f"dose {s['dose']:g}" if s["dose"] is not None else "steered", s["text"]) for s in found["steered"]),
    ]:
        console.rule(name, align="left", style="dim")
        console.print(Text(safe(found["text"]), style="dim") + Text(safe(said)))


def to_json(responses: Sequence[Response], tolerance: float) -> dict[str, Any]:
    """``{"responses": [{"name", "dose", "effect", …}], "sweet_spot": dose or null, "tolerance"}``."""
    best = sweet_spot(responses, tolerance)
    names = ("effect", "gain", "excess", "repetition", "kl")
    return {
        "responses": [
            {"name": r.name, "dose": r.dose, **{n: getattr(r, n).to_json() for n in names}, "tokens": r.n_tokens}
            for r in responses
        ],
        "sweet_spot": None if best is None else best.dose,
        "tolerance": tolerance,
    }


def show(responses: Sequence[Response], tolerance: float, console: Console) -> None:
    """The table, and which dose to take."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="dim")
    for name in ("", "effect %", "excess", "repeats %", "KL"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for r in responses:
        name = SHORT.get(r.name, r.name) + ("" if r.dose is None else f" × {r.dose:g}")
        cells = (_cell(r.effect, 1, 100), _cell(r.excess, 2), _number(r.repetition, 1, 100), _number(r.kl, 2))
        table.add_row(name, *cells)
    console.print(table)
    console.print(
        "effect: share of new tokens; excess: how much less likely than its own words\n"
        "the plain model finds them, nats a token; repeats: of runs of four tokens; KL:\n"
        "on held-out text, nats a token. In brackets: 95 % intervals.",
        style="dim",
    )
    best = sweet_spot(responses, tolerance)
    console.print(
        f"No dose has a certain effect at a cost of at most {tolerance:g} nats a token."
        if best is None
        else f"Best dose within {tolerance:g} nats a token: {best.dose:g}."
    )


def _cell(estimate: Estimate, digits: int, factor: float = 1.0) -> str:
    if estimate.value is None or estimate.low is None or estimate.high is None:
        return "–"
    value, low, high = (f"{factor * v:z.{digits}f}" for v in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


def _number(estimate: Estimate, digits: int, factor: float = 1.0) -> str:
    return "–" if estimate.value is None else f"{factor * estimate.value:z.{digits}f}"


def promoted(run: Run, feature: int, most: int = 10) -> str:
    """The tokens that a feature promotes most, as an expression over concepts: what it should make the model say.

    Raises:
        MonoscopeError: the catalogue knows none, because the model has no language head or no linear way to it.
    """
    tokens = run.catalogue[feature].promoted[:most]
    if not tokens:
        raise MonoscopeError(
            f"nothing is known of what feature {feature} promotes", fix="say what counts: --concept EXPRESSION"
        )
    ids = [[token.token_id] for token in tokens]
    return " | ".join(token_literal(run.lm.tokeniser.fast.decode(i).encode()) for i in ids)
