"""Serving a model: an engine with recipes, rules and words for features, behind a guard, with a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from monoscope.app.run import Run
from monoscope.app.ui.guard import Guard
from monoscope.app.ui.payloads import number
from monoscope.app.ui.server import STATIC
from monoscope.errors import MonoscopeError
from monoscope.intervene import recipes
from monoscope.intervene.edit import Recipe
from monoscope.models.language_model import LanguageModel
from monoscope.serve import errors
from monoscope.serve.api import Service, create_app
from monoscope.serve.codes import Codes
from monoscope.serve.engine import Engine, Limits
from monoscope.serve.minds import FeatureTap
from monoscope.watch.rules import Rules

LONGEST_BODY = 1 << 20  # bytes: some 300,000 tokens


class Labels:
    """What a run's catalogue says of features: ``{"label", "label_f1"}`` by number."""

    def __init__(self, catalogue: Any) -> None:
        """Read all labels once."""
        features = catalogue.features
        self._told = [
            {"label": str(label), "label_f1": number(f1)}
            for label, f1 in zip(features["label"], features["label_f1"], strict=True)
        ]

    def __getitem__(self, feature: int) -> dict[str, Any]:
        return self._told[feature]


@dataclass(frozen=True)
class Served:
    """What ``service`` was told to serve.

    Args:
        lm: the model.
        name: what requests call it.
        run: gives the dictionary whose features are told, and their labels.
        recipes: what requests may be steered by, by name.
        rules: watch all sequences.
        limits: of sequences that run and wait.
        longest: new tokens that one request may ask for.
    """

    lm: LanguageModel
    name: str
    run: Run | None = None
    recipes: Mapping[str, Recipe] | None = None
    rules: Rules | None = None
    limits: Limits | None = None
    longest: int | None = None


def service(served: Served) -> Service:
    """Everything that answers requests.

    Raises:
        MonoscopeError: the run or a recipe is of another model, or the model cannot be served.
    """
    lm, run = served.lm, served.run
    if run is not None and run.plan.fingerprint != lm.fingerprint:
        raise MonoscopeError(
            f"{run.path} is a run of another model ({run.plan.model})",
            where=str(run.path),
            fix="serve that model, or name a run of this one",
        )
    tap = None if run is None else FeatureTap(lm, run.dictionary, run.plan.site)
    engine = Engine(lm, recipes=served.recipes, features=tap, rules=served.rules, limits=served.limits)
    labels = None if run is None else Labels(run.catalogue)
    codes = None if run is None else Codes(lm, run.dictionary, run.plan.site)
    rules = () if served.rules is None else tuple(rule.name for rule in served.rules.rules)
    return Service(engine, served.name, labels, codes, rules, served.longest)


def named_recipes(given: Sequence[str]) -> dict[str, Recipe]:
    """Recipes by name, from ``NAME=FILE`` or ``FILE``, whose name is then that of the file.

    Raises:
        MonoscopeError: two have one name, or a file holds no recipe.
    """
    found: dict[str, Recipe] = {}
    for one in given:
        name, equals, file = one.partition("=")
        if not equals:
            name, file = Path(one).stem, one
        if name in found:
            raise MonoscopeError(f"two recipes are called {name!r}", fix="name them: --steer NAME=FILE")
        found[name] = recipes.load(file)
    return found


def application(service: Service, token: str | None, host: str = "127.0.0.1") -> FastAPI:
    """The API and the page, behind a guard that asks for the token."""
    app = create_app(service)

    async def page() -> Response:
        return FileResponse(STATIC / "think.html", headers={"Cache-Control": "no-cache"})

    app.add_api_route("/", page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(Guard, token=token, extra_host=host, longest_body=LONGEST_BODY, refuse=errors.refusal)
    return app
