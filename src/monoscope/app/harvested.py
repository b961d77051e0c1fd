"""A harvest's folder: ``harvest.json`` (what was harvested), ``text`` and ``activations``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from monoscope import folder, progress
from monoscope.app.plan import FIT, TEST, TRAIN, default_text, held_out
from monoscope.app.plan import NAME as PLAN
from monoscope.errors import MonoscopeError
from monoscope.harvest import shards
from monoscope.harvest.shards import Shards
from monoscope.harvest.stream import Stream
from monoscope.models import LanguageModel
from monoscope.text import prepare
from monoscope.text.corpus import open_corpus
from monoscope.text.store import TokenStore
from monoscope.types import Site

NAME = "harvest.json"


def harvest(
    lm: LanguageModel, sites: list[str], text: str | None, tokens: int, out: Path, *, seed: int, stored: str
) -> Shards:
    """Prepare text and harvest ``sites`` of ``lm`` over its training split into ``out``; goes on where it stopped.

    Raises:
        MonoscopeError: a site the model lacks, unusable text, or a folder that holds another harvest.
    """
    facts: dict[str, Any] = {
        "model": lm.name,
        "fingerprint": lm.fingerprint,
        "sites": sites,
        "text": text or default_text(lm.name),
        "tokens": tokens,
        "seed": seed,
    }
    if tokens < 1:
        raise MonoscopeError(f"a harvest of {tokens:,} tokens", fix="ask for more with --tokens")
    shards.check_stored(stored)
    for site in sites:
        lm.width(site)
    if not is_harvest(out) and folder.contents(out):
        raise MonoscopeError(f"{out} holds files that are no harvest", fix="choose another folder with --out")
    if folder.is_sealed(out / "text") and folder.read_json(out / NAME) != facts:
        raise MonoscopeError(
            f"{out} holds a harvest of something else", fix="choose another folder, or remove this one"
        )
    folder.write_json(out / NAME, facts)
    if not folder.is_sealed(out / "text"):
        budget = {TRAIN: tokens, FIT: held_out(tokens), TEST: held_out(tokens)}
        with progress.bar("reading text", sum(budget.values())) as report:
            prepare.prepare(open_corpus(facts["text"]), lm.tokeniser, out / "text", budget, seed=seed, progress=report)
    store = TokenStore(out / "text")
    source = Stream(lm, store, store.documents(TRAIN), sites, seed=seed)
    with progress.bar(f"harvesting {', '.join(sites)}", sum(source.counts)) as report:
        return shards.write(source, out / "activations", stored=stored, progress=report)


def is_harvest(path: Path) -> bool:
    """Whether the folder is a harvest's."""
    return (path / NAME).is_file()


def refuse_run(path: Path) -> None:
    """Raise ``MonoscopeError`` for the folder of a run, from which there is nothing to train."""
    if (path / PLAN).is_file():
        raise MonoscopeError(
            f"{path} is a run, and a training reads a harvest or a model",
            fix="name the model, or the --out folder of a harvest",
        )


def facts(path: Path) -> dict[str, Any]:
    """What was harvested into a folder.

    Raises:
        MonoscopeError: the file that says so is damaged.
    """
    found = folder.read_json(path / NAME)
    if not isinstance(found, dict) or not {"model", "fingerprint", "sites", "text", "tokens"} <= found.keys():
        raise MonoscopeError(f"{NAME} is damaged", where=str(path), fix="remove the folder and make it again")
    return found


def reads(
    path: Path, lm: LanguageModel, *, site: str | None, target: str | None, text: str | None, tokens: int | None
) -> dict[str, Any]:
    """What a training on a harvest reads, and on what, by the names that ``plan.resolve`` takes.

    Raises:
        MonoscopeError: the harvest was stopped, is of another model, lacks a site, or is of another text or length.
    """
    found = facts(path)
    if not folder.is_sealed(path / "activations"):
        raise MonoscopeError(f"the harvest {path} is not finished", fix="run the same monoscope harvest again")
    if found["fingerprint"] != lm.fingerprint:
        raise MonoscopeError(
            f"{path} is a harvest of a {lm.name} with other weights", fix="harvest it again into another folder"
        )
    held = [str(Site.parse(one)) for one in found["sites"]]
    for asked in (site, target):
        if asked is not None and str(Site.parse(asked)) not in held:
            raise MonoscopeError(
                f"{path} holds no activations of {asked}",
                fix=f"choose one of {', '.join(held)}, or harvest that site too, into another folder",
            )
    for name, wanted in (("text", text), ("tokens", tokens)):
        if wanted not in (None, found[name]):
            raise MonoscopeError(
                f"{path} is of the {name} {found[name]}, not {wanted}",
                fix=f"leave out --{name}, or harvest into another folder",
            )
    return {"site": site or held[0], "target": target, "text": found["text"], "tokens": found["tokens"]}


def hand_over_text(harvest: Path, run: Path) -> None:
    """Give a run the harvest's text, by hard links where the disk allows; the manifest goes last."""
    if folder.is_sealed(run / "text"):
        return
    (run / "text").mkdir(parents=True, exist_ok=True)
    names = [p.name for p in (harvest / "text").iterdir() if p.name != folder.MANIFEST]
    for name in [*names, folder.MANIFEST]:
        source, destination = harvest / "text" / name, run / "text" / name
        destination.unlink(missing_ok=True)
        try:
            destination.hardlink_to(source)
        except OSError:
            shutil.copyfile(source, destination)
