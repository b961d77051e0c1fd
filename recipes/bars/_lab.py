"""What the bars share: harvested activations, dictionaries that are trained once, evaluations of them.

Everything lies in one folder and is made once: a stopped reproduction goes on, and two bars that need the same
dictionary train it once.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from monoscope import folder, progress
from monoscope.app import harvested
from monoscope.app.plan import TEST, default_site
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.evaluate.controls.neurons import Neurons
from monoscope.evaluate.evaluation import Evaluation
from monoscope.evaluate.reconstructor import Reconstructor
from monoscope.evaluate.run import evaluate
from monoscope.harvest.shards import Shards
from monoscope.models import LanguageModel, load_model
from monoscope.source import batches
from monoscope.text.store import TokenStore
from monoscope.train import presets, rows
from monoscope.train.fit import Recipe
from monoscope.train.loop import Data, Keeping, train

SETTINGS = "settings.json"
MEASURES = ("l0", "fvu", "loss_recovered", "density", "bars._rarest")
LOSS_SHARE = 5  # one in so many of the judged tokens is also predicted
SAMPLED = 4096  # rows that say at what L0 a control stands beside a dictionary

TM, APRIL = "towards-monosemanticity-2023", "april-2024"
BATCHES = {TM: 64, APRIL: 512}
"""Rows a step. Published batches of 4,096 and 8,192 rows would leave a million rows 244 and 122 steps."""

PATH = 3e-4 * 97_656
"""Rate times steps of the replication that bars 8 and 9 come from (its shorter run; the paper states no rate). Under
Adam it is how far a weight can go. A feature that is of no use is silenced by its bias, which must fall by some six
units to be silent on tens of thousands of rows: a training whose path is shorter than that lets nothing die."""

FASTEST = 1e-2  # the rate at most, where so few steps are left that the path would ask for more

RATE_APRIL = 2e-3
"""Monoscope's default. Published is 5e-5 over 200,000 steps; two thousand go nowhere at that."""

CANDIDATES = 8
"""Inputs that are looked at for each feature, when the 2023 recipe resamples. Published: 200 (819,200 for 4,096)."""


@dataclass(frozen=True)
class Settings:
    """What all bars of a folder share.

    Args:
        tokens: activations that every dictionary is trained on.
        judged: held-out tokens that it is judged on.
        features: the largest dictionary.
        seeds: how many, where a bar counts them.
        text: the corpus.
    """

    tokens: int = 1_000_000
    judged: int = 500_000
    features: int = 4096
    seeds: int = 1
    text: str = "held_out:python"

    def settle(self, out: Path) -> None:
        """Write them into ``out``, or check that they are those that it was begun with.

        Raises:
            MonoscopeError: it was begun with others.
        """
        path, mine = out / SETTINGS, asdict(self)
        if not path.exists():
            folder.write_json(path, mine)
            return
        kept = folder.read_json(path)
        differing = [name for name in mine if kept.get(name) != mine[name]]
        if differing:
            raise MonoscopeError(
                f"{out} holds a reproduction with another number of {', '.join(differing)}"
                if differing != ["text"]
                else f"{out} holds a reproduction on another text",
                fix="choose another folder with --out, or remove this one",
            )


def batch_size(settings: Settings, preset: str) -> int:
    """Rows a step; fewer where there would be less than sixteen steps."""
    return min(BATCHES[preset], max(1, settings.tokens // 16))


def scaled(settings: Settings, preset: str, n_features: int, **changes: Any) -> Recipe:
    """A preset at a rate for short trainings, and with resampling that has time to happen.

    Rows are centred and scaled, weights begin and gradients are clipped as Monoscope does it unasked: what is asked
    here is what a penalty and resampling do.

    Published are resamplings at 2.5 to 10 % of a million steps: after 25,000 steps, in which features die. Here that
    would be too early, so they come at a quarter, half and three quarters, as in a replication of 97,656 steps.
    """
    own: dict[str, Any] = {"rate": RATE_APRIL, "loss_per": "number", "decoder_scale": 1.0, "encoder_scale": None}
    if preset == TM:
        steps = settings.tokens // batch_size(settings, TM)
        rate = min(FASTEST, PATH / steps)
        own = {"rate": rate, "resample_at": (0.25, 0.5, 0.75), "sample": CANDIDATES * n_features}
        own |= {"clip": 1.0, "centre": True, "scale": True}
    return presets.recipe(preset, n_features, **{**own, **changes})


class Model:
    """A reference model at its default site, with the text and the activations of one folder."""

    def __init__(self, name: str, path: Path, settings: Settings) -> None:
        self.path, self.settings = path, settings
        self.lm: LanguageModel = load_model(name)
        self.site = default_site(self.lm)

    @cached_property
    def source(self) -> Shards:
        """The training activations, harvested at the first call."""
        s = self.settings
        return harvested.harvest(self.lm, [self.site], s.text, s.tokens, self.path, seed=0, stored="bf16")

    @cached_property
    def store(self) -> TokenStore:
        """The text, whose split ``test`` no dictionary is trained on."""
        return TokenStore(self.source.path.parent / "text")

    def data(self, preset: str) -> Data:
        """The activations in the preset's batches, in the same order for every dictionary.

        Raises:
            MonoscopeError: the text gave fewer than are asked for; papers read none twice.
        """
        held, wanted = sum(self.source.counts), self.settings.tokens
        if held < wanted:
            raise MonoscopeError(
                f"the text gives {held:,} activations of {wanted:,}", fix="name more with --text, or ask for fewer"
            )
        batch = batch_size(self.settings, preset)
        return rows.from_source(self.source, self.site, None, batch, wanted, hold_back=False)

    def dictionaries(self, preset: str, recipes: Mapping[str, Recipe]) -> dict[str, Dictionary]:
        """The dictionaries of a preset's recipes; those that are missing are trained side by side in one pass."""
        places = {name: self.path / "dictionaries" / digest(recipe) for name, recipe in recipes.items()}
        missing = {name: recipe for name, recipe in recipes.items() if not folder.is_sealed(places[name])}
        if missing:
            data, group = self.data(preset), sorted(digest(recipe) for recipe in missing.values())
            place = self.path / "training" / "-".join(name[:6] for name in group)
            keeping = Keeping(place, plan={"trains": group})
            trainees = {name: recipe.trainee(data, self.provenance) for name, recipe in missing.items()}
            with progress.bar(f"training {len(missing)} dictionaries", data.n_rows) as report:
                made = train(data, trainees, keeping=keeping, report=report)
            for name, dictionary in made.items():
                io.save(dictionary, places[name])
            if place.exists():  # a short training ends before its first checkpoint
                shutil.rmtree(place)
        return {name: io.load(place) for name, place in places.items()}

    @property
    def provenance(self) -> dict[str, Any]:
        """Where a dictionary of this model belongs."""
        s = self.settings
        return {"model": self.lm.name, "fingerprint": self.lm.fingerprint, "site": self.site, "text": s.text}

    def neurons(self, dictionary: Dictionary) -> Neurons:
        """The raw neurons at the dictionary's L0."""
        size = min(SAMPLED, sum(self.source.counts))
        code = dictionary.encode(next(batches(self.source, size)).values[self.site])
        width = self.lm.width(self.site)
        return Neurons(width, min(width, max(1, round(len(code.indices) / len(code)))))

    def evaluation(self, judged: Mapping[str, Reconstructor]) -> Evaluation:
        """The first of ``judged``, and the others as its controls, on held-out text."""
        documents = self.store.documents(TEST)
        held = int((self.store.token_offsets[documents + 1] - self.store.token_offsets[documents]).sum())
        wanted = min(self.settings.judged, held)
        with progress.bar(f"evaluating {len(judged)}", wanted) as report:
            return evaluate(
                self.lm, self.site, judged, self.store, documents,
                n_tokens=wanted, n_loss_tokens=wanted // LOSS_SHARE, measures=MEASURES, progress=report,
            )  # fmt: skip


class Lab:
    """A folder in which bars are measured."""

    def __init__(self, out: Path, settings: Settings) -> None:
        settings.settle(out)
        self.out, self.settings = out, settings
        self._models: dict[str, Model] = {}

    def model(self, name: str) -> Model:
        """A packaged model, with what belongs to it."""
        if name not in self._models:
            self._models[name] = Model(name, self.out / name, self.settings)
        return self._models[name]


def digest(recipe: Recipe) -> str:
    """A name that no other recipe has."""
    return hashlib.sha256(json.dumps(asdict(recipe), sort_keys=True).encode()).hexdigest()[:16]
