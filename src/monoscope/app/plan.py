"""What a run will do, resolved once and written first: ``plan.json``. A run that is gone on with does the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from monoscope import folder, model_names
from monoscope.app import windows
from monoscope.dictionary.base import NOWHERE, Dictionary
from monoscope.errors import MonoscopeError
from monoscope.models import LanguageModel
from monoscope.models.reference import NAMES as REFERENCE_MODELS
from monoscope.ops import product
from monoscope.text.corpus import open_corpus
from monoscope.train.fit import Recipe, known_options
from monoscope.train.schedules import batch_of
from monoscope.types import Site

NAME, TIMINGS = "plan.json", "timings.json"
CONTROLS = ("basic", "full")
DEFAULT_MODEL = "reference-a"
TOKENS, FEATURES, K = 2_000_000, 4096, 32
ENOUGH = 250_000  # tokens each to find labels and to test them, of at most four times those of the training
TESTED = 2 / 5  # the largest share of a text that a run tests on: twice the training's tokens, beside as many to fit on
ROWS, STEPS, EPOCHS = 1_600_000, 400, 8  # a small budget is read several times, until a dictionary has settled
TRAIN, FIT, TEST = "dictionary", "fit", "test"


@dataclass(frozen=True)
class Plan:
    """A run's resolved configuration. ``tokens`` says how many are wanted of each split; ``seed`` fixes the rest."""

    model: str
    fingerprint: str
    site: str
    text: str
    tokens: dict[str, int]
    architecture: str
    n_features: int
    k: int
    batch_size: int
    seed: int
    precision: str
    dictionary: str | None = None  # where a dictionary trained elsewhere came from
    epochs: int = 1  # how often training reads its tokens
    target: str | None = None  # what a transcoder reconstructs, if not the site itself
    skip: bool = False  # a transcoder's linear map beside its features
    options: dict[str, Any] = field(default_factory=dict)  # the architecture's, its objective's, the learning rate's
    window: int | None = None  # tokens that text is read in, where a dictionary from elsewhere saw no more
    eos_first: bool = False  # that dictionary's windows began with the end-of-text token, for want of a BOS

    def recipe(self, *, k: int | None = None, frozen: tuple[str, ...] = ()) -> Recipe:
        """How the dictionary is trained, or one with another ``k``. 0 asks for no L0: a penalty then stays as it is.

        Raises:
            MonoscopeError: the architecture knows no such option, or cannot be told its L0.
        """
        k = self.k if k is None else k
        wanted = {"precision": self.precision} | ({"l0": k} if k else {})
        typed = {key: tuple(v) if isinstance(v, list) else v for key, v in self.options.items()}
        options: dict[str, Any] = {**known_options(self.architecture, wanted), **typed}
        return Recipe.of(
            self.architecture, self.n_features, k=k, skip=self.skip, seed=self.seed, frozen=frozen, **options
        )

    def settle(self, run: Path) -> Plan:
        """Write the plan; or, where the folder has one, check that it is this one and keep its precision and windows.

        Raises:
            MonoscopeError: the folder holds a run with another plan, or something else.
        """
        path = run / NAME
        if not path.exists():
            if folder.contents(run):
                raise MonoscopeError(
                    f"{run} holds files that are no run of Monoscope", fix="choose another folder with --out"
                )
            folder.write_json(path, asdict(self))
            return self
        kept = load(run)
        mine = replace(self, precision=kept.precision, window=kept.window, eos_first=kept.eos_first)
        differing = [f.name for f in fields(Plan) if getattr(kept, f.name) != getattr(mine, f.name)]
        if differing and not _begun(run):
            folder.write_json(path, asdict(self))
            return self
        if differing:
            raise MonoscopeError(
                f"{run} holds a run with another {', '.join(differing)}",
                fix="choose another folder with --out, or remove this one to begin anew",
            )
        return kept


def _begun(run: Path) -> bool:
    """Whether anything was made by the plan of a folder; a text that was never found is nothing."""
    return folder.is_sealed(run / "text") or bool({*folder.contents(run)} - {NAME, TIMINGS, "text"})


def load(run: Path) -> Plan:
    """The plan of a run's folder.

    Raises:
        MonoscopeError: the folder is none of a run.
    """
    if not (run / NAME).is_file():
        raise MonoscopeError(
            f"{run} is not a run's folder: it has no {NAME}",
            fix="name the --out folder of a quickstart or a training",
        )
    try:
        return Plan(**folder.read_json(run / NAME))
    except TypeError as error:
        raise MonoscopeError(
            f"{NAME} is not of this version: {error}", where=str(run), fix="upgrade Monoscope"
        ) from error


def default_site(lm: LanguageModel) -> str:
    """The neurons of a one-layer model, as in *Towards Monosemanticity*; else the middle layer's residual stream."""
    layers = [s.layer for s in lm.sites() if s.kind == "resid_post" and s.layer is not None]
    if not layers:
        raise MonoscopeError(
            f"{lm.name} has no named sites", fix="name a module path with --site, such as encoder.layer.2:out"
        )
    return "mlp_act.0" if len(layers) == 1 else f"resid_post.{(len(layers) - 1) // 2}"


def default_text(model: str) -> str:
    """The Python source that a reference model never saw; for any other model, all of this machine's."""
    return "held_out:python" if model in REFERENCE_MODELS else "python_source"


def default_features(tokens: int) -> int:
    """As many features as that many tokens can teach: 4,096 from a million on, at least 1,024."""
    affordable = FEATURES * tokens // 1_000_000
    return max(FEATURES // 4, min(FEATURES, 1 << max(1, affordable).bit_length() - 1))


def default_k(architecture: str, options: Mapping[str, Any]) -> int:
    """32 features a token; 0, which asks for no L0, where the weight of a penalty was named: it stays as named."""
    return 0 if "penalty" in options and known_options(architecture, {"l0": K}) else K


def training(tokens: int, size: int | None = None) -> tuple[int, int]:
    """Batch size (unless given) and epochs for that many training tokens."""
    wanted = ROWS if size is None else STEPS * size
    epochs = max(1, min(EPOCHS, -(-wanted // tokens)))
    return batch_of(size, epochs * tokens), epochs


def held_out(tokens: int) -> int:
    """Tokens for finding labels, and as many for tests: half of the training's, and not too few of a small run's."""
    return max(tokens // 2, min(2 * tokens, ENOUGH))


def resolve(
    lm: LanguageModel,
    *,
    site: str | None,
    text: str | None,
    tokens: int | None,
    features: int | None,
    k: int | None,
    architecture: str,
    seed: int,
    dictionary: Dictionary | None = None,
    origin: str | None = None,
    target: str | None = None,
    skip: bool = False,
    batch_size: int | None = None,
    options: Mapping[str, Any] = MappingProxyType({}),
) -> Plan:
    """Fill in what was not said, and check that model, sites and dictionary belong together.

    Raises:
        MonoscopeError: the model lacks a site, or the dictionary belongs to another model, site, target or width.
    """
    if dictionary is not None:
        site = site or read(dictionary)
        target = target or written(dictionary)
        features, architecture = dictionary.n_features, dictionary.architecture
        k, skip = dictionary.options().get("k", 0), dictionary.w_skip is not None
        options = {**options, "row_norm": True} if dictionary.row_norm else options
    place = Site.parse(site or default_site(lm))
    target = None if target is None else str(Site.parse(target))
    width = lm.width(place)
    width_out = width if target is None else lm.width(target)
    if dictionary is not None:
        refuse_stranger(dictionary, lm, str(place))
        refuse_target(dictionary, lm, target or str(place))
    wanted = TOKENS if tokens is None else tokens
    if wanted < 1:
        raise MonoscopeError(f"a training on {wanted:,} tokens", fix="ask for at least one batch of them with --tokens")
    features = default_features(wanted) if features is None else features
    batch_size, epochs = training(wanted, batch_size)
    if wanted < batch_size:
        raise MonoscopeError(
            f"{wanted:,} tokens are fewer than one batch of {batch_size:,}",
            fix="ask for more tokens, or for smaller batches (train: --batch-size; a preset has its own size)",
        )
    open_corpus(text or default_text(lm.name))
    made = Plan(
        model=lm.name,
        fingerprint=lm.fingerprint,
        site=str(place),
        text=text or default_text(lm.name),
        tokens={TRAIN: wanted, FIT: held_out(wanted), TEST: held_out(wanted)},
        architecture=architecture,
        n_features=features,
        k=default_k(architecture, options) if k is None else k,
        batch_size=batch_size,
        seed=seed,
        precision=str(product.fastest(lm.device.type)).removeprefix("torch."),
        dictionary=origin,
        epochs=epochs if dictionary is None else 1,
        target=target,
        skip=skip,
        options=json.loads(json.dumps(dict(options))),
        window=None if dictionary is None else windows.length(dictionary, lm),
        eos_first=dictionary is not None and windows.eos_first(dictionary, lm),
    )
    if dictionary is None:
        made.recipe().untrained(width, width_out, wanted, transcodes=target is not None)  # refuses what cannot be
    return made


def written(dictionary: Dictionary) -> str | None:
    """Where a transcoder writes; None of a dictionary that writes what it reads.

    Raises:
        MonoscopeError: it is a transcoder that does not say where it writes.
    """
    told: str | None = dictionary.provenance.get("target")
    if told in NOWHERE:
        raise MonoscopeError("this transcoder does not say where it writes", fix="pass --target")
    return told


def read(dictionary: Dictionary) -> str:
    """The site that a dictionary says that it reads.

    Raises:
        MonoscopeError: it does not say; of a site that only has its width it would make nonsense.
    """
    known = dictionary.provenance
    if not known.get("site"):
        hook = f"; its file has {known['hook']}" if known.get("hook") else ""
        raise MonoscopeError(
            f"the dictionary does not say at which site of the model it was trained{hook}",
            fix="pass --site, such as resid_post.12",
        )
    return str(known["site"])


def refuse_stranger(dictionary: Dictionary, lm: LanguageModel, site: str) -> None:
    """Raise ``MonoscopeError`` when a dictionary does not belong to this model and site."""
    known = dictionary.provenance
    if known.get("fingerprint") not in (None, lm.fingerprint):
        raise MonoscopeError(
            f"the dictionary was trained on {known.get('model')}, whose weights differ from those of {lm.name}",
            fix=f"pass --model {known.get('model')}",
        )
    if known.get("fingerprint") is None and model_names.same(str(known.get("model", "")), lm.name) is False:
        raise MonoscopeError(
            f"the dictionary was trained on {known['model']}, not on {lm.name}", fix=f"pass --model {known['model']}"
        )
    if known.get("site") not in (None, site):
        raise MonoscopeError(
            f"the dictionary was trained at {known['site']}, not at {site}", fix=f"pass --site {known['site']}"
        )
    _refuse_width("reads", dictionary.d_in, lm, site)


def refuse_target(dictionary: Dictionary, lm: LanguageModel, target: str) -> None:
    """Raise ``MonoscopeError`` when a dictionary does not write there; an autoencoder writes where it reads."""
    known = dictionary.provenance
    wrote = known.get("target", known.get("site"))
    if wrote not in (None, target, *NOWHERE):
        raise MonoscopeError(
            f"the dictionary was trained to write {wrote}, not {target}",
            fix=f"pass --target {wrote}" if "target" in known else "it is no transcoder: leave out --target",
        )
    _refuse_width("writes", dictionary.d_out, lm, target)


def _refuse_width(verb: str, width: int, lm: LanguageModel, place: str) -> None:
    if width != lm.width(place):
        raise MonoscopeError(
            f"the dictionary {verb} {width} numbers a token; {lm.name} has {lm.width(place)} at {place}",
            fix="name the model and site that it was trained on",
        )


def as_json(plan: Plan) -> dict[str, Any]:
    """The plan as plain data."""
    return json.loads(json.dumps(asdict(plan)))
