"""Serving a model: an engine with recipes, rules and words for features, behind a guard, with a page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
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
from monoscope.models.sites import sites_of
from monoscope.serve import errors
from monoscope.serve.api import Service, create_app
from monoscope.serve.codes import Codes
from monoscope.serve.engine import Engine, Limits
from monoscope.serve.minds import FeatureTap
from monoscope.watch.acting import Acting
from monoscope.watch.audit import Audit
from monoscope.watch.live import Watching, watch
from monoscope.watch.recorder import Recorder
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
class Watched:
    """How a served model is watched.

    Args:
        rules: over features and probes.
        record: a new folder into which every token is recorded, with the codes of the rules' dictionaries.
        audit: a file to which every event and what was done are appended.
        shadow: alarms are told, and nothing that is said is changed.
        alert: the address to which alarms of rules with the action ``alert`` are sent.
    """

    rules: Rules
    record: Path | None = None
    audit: Path | None = None
    shadow: bool = False
    alert: str = ""

    def of(self, lm: LanguageModel) -> Watching:
        """Everything opened, and tried on one token, so that nobody waits for kernels to be compiled.

        Raises:
            MonoscopeError: the rules do not belong to the model, or a file cannot be written.
        """
        with torch.inference_mode(), watch(lm, self.rules, follow=False):
            lm.model(input_ids=torch.tensor([[lm.tokeniser.padding]], device=lm.device))
        recorder = None if self.record is None else Recorder(self.record)
        audit = None if self.audit is None else Audit(self.audit)
        settings = {"alert": {"url": self.alert}} if self.alert else {}
        acting = Acting(self.rules, settings, shadow=self.shadow, audit=audit)
        return Watching(lm.model, sites_of(lm.model, lm.name), self.rules, acting, ends=(), recorder=recorder)


@dataclass(frozen=True)
class Served:
    """What ``service`` was told to serve.

    Args:
        lm: the model.
        name: what requests call it.
        run: gives the dictionary whose features are told, and their labels.
        recipes: what requests may be steered by, by name.
        watched: the rules that watch all sequences, what is written down, and whether they may change what is said.
        limits: of sequences that run and wait.
        longest: new tokens that one request may ask for.
    """

    lm: LanguageModel
    name: str
    run: Run | None = None
    recipes: Mapping[str, Recipe] | None = None
    watched: Watched | None = None
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
    watching = None if served.watched is None else served.watched.of(lm)
    engine = Engine(lm, recipes=served.recipes, features=tap, watching=watching, limits=served.limits)
    labels = None if run is None else Labels(run.catalogue)
    codes = None if run is None else Codes(lm, run.dictionary, run.plan.site)
    return Service(engine, served.name, labels, codes, served.longest)


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
