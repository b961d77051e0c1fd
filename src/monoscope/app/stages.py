"""The steps of a run, one function each. A step that is done is opened again, one that is half done goes on.

Each takes the run and gives what it made; together they are the order in which ``quickstart`` calls them.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int

from monoscope import folder, progress
from monoscope.app import given
from monoscope.app import report as reports
from monoscope.app.harvested import hand_over_text
from monoscope.app.plan import FIT, TEST, TRAIN, Plan, as_json
from monoscope.app.recalibrating import recalibrate
from monoscope.app.run import Run
from monoscope.catalogue.build import build
from monoscope.catalogue.records import Label
from monoscope.catalogue.store import Catalogue
from monoscope.concepts import ConceptBits, compile_bits
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary
from monoscope.evaluate.controls import Neurons, fit_linear_map, fit_pca
from monoscope.evaluate.evaluation import Evaluation
from monoscope.evaluate.reconstructor import Reconstructor
from monoscope.evaluate.right_l0 import verdicts
from monoscope.evaluate.run import evaluate
from monoscope.harvest import shards
from monoscope.harvest.shards import Shards
from monoscope.harvest.stream import Stream
from monoscope.interpret.explainers import concepts as concept_labels
from monoscope.models import LanguageModel
from monoscope.source import RowSource, batches
from monoscope.text import prepare
from monoscope.text.corpus import open_corpus
from monoscope.text.store import TokenStore
from monoscope.train import checkpoint, rows
from monoscope.train.fit import Recipe
from monoscope.train.logs import writers
from monoscope.train.loop import Keeping, train

ACTIVATIONS, TRAINING, CONTROLS, LABELS = "activations", "training", "controls", "labels.json"
SWEEP, LOG = "sweep", "log.jsonl"
CALIBRATED = 4 * rows.CALIBRATION  # tokens whose shuffled rows calibration takes its own from
PCA_ROWS, EVALUATED, EVALUATED_LOSS = 65_536, 250_000, 100_000
LIBRARIES = ("monoscope", "torch", "transformers", "tokenizers", "numpy", "numba")


def text(run: Run) -> TokenStore:
    """Read, split and tokenise the corpus."""
    if folder.is_sealed(run.path / "text"):
        return run.store
    budget, tokeniser = run.plan.tokens, run.lm.tokeniser
    with progress.bar("reading text", sum(budget.values())) as report:
        return prepare.prepare(
            open_corpus(run.plan.text), tokeniser, run.path / "text", budget, seed=run.plan.seed, progress=report
        )


def stream(run: Run, lm: LanguageModel) -> Stream:
    """The activations that dictionaries are trained on, as they would be harvested from ``lm``."""
    sites = [run.plan.site] if run.plan.target is None else [run.plan.site, run.plan.target]
    return Stream(lm, run.store, run.store.documents(TRAIN), sites, seed=run.plan.seed)


def calibration(run: Run, lm: LanguageModel) -> Stream:
    """Activations of texts that no dictionary is trained or judged on, for thresholds; rows of many windows mixed.

    Long documents give no more than others do, so that the L0 of other texts is what was wanted.
    """
    return Stream(
        lm, run.store, run.store.documents(FIT), [run.plan.site],
        n_rows=min(CALIBRATED, run.store.tokens_in(FIT)), of_each=rows.OF_EACH, seed=run.plan.seed,
    )  # fmt: skip


def activations(run: Run) -> Shards:
    """Harvest the site over the training split into shards."""
    if folder.is_sealed(run.path / ACTIVATIONS):
        return Shards(run.path / ACTIVATIONS)
    source = stream(run, run.lm)
    with progress.bar(f"harvesting {run.plan.site}", sum(source.counts)) as report:
        return shards.write(source, run.path / ACTIVATIONS, progress=report)


def fit(
    run: Run,
    source: RowSource,
    lm: LanguageModel,
    recipes: Mapping[str, Recipe],
    outs: Mapping[str, Path],
    title: str,
    log: Path,
    logs: Sequence[str] = (),
) -> None:
    """Train all ``recipes`` in one pass over the rows of the run's site, and save each in its place in ``outs``.

    They are trained where the model is. Every step's loss terms and L0 are JSON lines in ``log``, and wherever else
    ``logs`` says, beside it.

    When any of them is missing all are trained: an interrupted training goes on with those that it began with.
    """
    if all(folder.is_sealed(path) for path in outs.values()):
        return
    plan = run.plan
    calibrates = any(recipe.calibrates for recipe in recipes.values())
    data = rows.from_source(
        source, plan.site, plan.target, plan.batch_size, hold_back=calibrates,
        apart=calibration(run, lm) if calibrates else None, epochs=plan.epochs, seed=plan.seed,
    )  # fmt: skip
    provenance = {"model": lm.name, "fingerprint": lm.fingerprint, "site": plan.site, "text": plan.text}
    if plan.target is not None:
        provenance["target"] = plan.target
    trainees = {name: recipe.trainee(data, provenance, lm.device) for name, recipe in recipes.items()}
    settled = {"plan": as_json(plan), "trains": sorted(recipes), "model": lm.name}
    keeping = Keeping(run.path / TRAINING, plan=settled, log=log)
    with progress.bar(title, data.n_rows) as report:
        with writers(logs, log.parent) as told:
            made = train(data, trainees, keeping=keeping, report=report, logs=told)
    for name, path in outs.items():
        if not folder.is_sealed(path):
            io.save(made[name], path)
    if (run.path / TRAINING).exists():  # a short training was never saved
        shutil.rmtree(run.path / TRAINING)


def dictionaries(run: Run, source: RowSource | None = None, logs: Sequence[str] = ()) -> dict[str, Dictionary]:
    """Train the dictionary, and beside it, on the same batches, the control whose decoder stays random.

    ``source`` are the rows; by default the run's own shards, harvested first if need be. ``logs`` are names from the
    folder ``train/logs``.
    """
    outs = {"main": run.path / "dictionary", "frozen_decoder": run.path / CONTROLS / "frozen_decoder"}
    if not all(folder.is_sealed(path) for path in outs.values()):
        recipes = {"main": run.plan.recipe(), "frozen_decoder": run.plan.recipe(frozen=("w_dec",))}
        fit(run, source or activations(run), run.lm, recipes, outs, "training", run.path / LOG, logs)
    return trained(run)


def sweep(
    run: Run, points: Mapping[str, Plan], source: RowSource, logs: Sequence[str] = (), controls: bool = False
) -> dict[str, Dictionary]:
    """Train the dictionary of every point of a grid on the same batches, in one pass; each point's folder is a run's.

    They are ``OUT/sweep/NAME``, with the run's text, so that each can be evaluated and catalogued like any run. With
    ``controls`` each has its frozen-decoder control too, which doubles the work.

    What is finished stays as it is. A later pass over what was added has its log beside the first of that.
    """
    folders = {name: run.path / SWEEP / name for name in points}
    recipes = {name: plan.settle(folders[name]).recipe() for name, plan in points.items()}
    for path in folders.values():
        hand_over_text(run.path, path)
    outs = {name: path / "dictionary" for name, path in folders.items()}
    if controls:
        recipes |= {f"{name} (frozen)": points[name].recipe(frozen=("w_dec",)) for name in points}
        outs |= {f"{name} (frozen)": path / CONTROLS / "frozen_decoder" for name, path in folders.items()}
    if due := unfinished(run.path / TRAINING, outs):
        home = run.path if len(due) == len(outs) else due[next(iter(due))].parent
        wanted = {name: recipes[name] for name in due}
        fit(run, source, run.lm, wanted, due, f"training {len(due)} dictionaries", home / LOG, logs)
    return {name: io.load(outs[name]) for name in points}


def unfinished(training: Path, outs: Mapping[str, Path]) -> dict[str, Path]:
    """Those of ``outs`` that are to be trained: what is missing, with what an interrupted pass trains beside it."""
    missing = {name for name, path in outs.items() if not folder.is_sealed(path)}
    begun = set((checkpoint.facts_in(training) or {"plan": {"trains": ()}})["plan"]["trains"])
    if begun and begun <= outs.keys() - missing:  # stopped when all was saved, before its checkpoint was removed
        shutil.rmtree(training)
        begun = set()
    return {name: path for name, path in outs.items() if name in missing | begun} if missing else {}


def trained(run: Run) -> dict[str, Dictionary]:
    """The run's dictionary and, where it was trained, its frozen-decoder control."""
    made, controls = {"main": run.dictionary}, controls_of(run)
    return {**made, "frozen_decoder": io.load(controls["frozen_decoder"])} if "frozen_decoder" in controls else made


def controls_of(run: Run) -> dict[str, Path]:
    """The folders of the control dictionaries that were trained with a run, by name."""
    at = {"frozen_decoder": "frozen_decoder", "random_model": "random_model/dictionary"}
    paths = {name: run.path / CONTROLS / path for name, path in at.items()}
    return {name: path for name, path in paths.items() if folder.is_sealed(path)}


def harvest_of(path: Path) -> Shards:
    """The shards of a harvest's folder."""
    return Shards(path / ACTIVATIONS)


def adopt(run: Run, dictionary: Dictionary, say: Callable[[str], object]) -> dict[str, Dictionary]:
    """Take a dictionary trained elsewhere into the run; a threshold that was never set is set on the fit split.

    ``say`` is told in a sentence if that was so, and what else must be said of it.
    """
    if not folder.is_sealed(run.path / "dictionary"):
        for remark in given.remarks(dictionary, run.lm):
            say(remark)
        if not dictionary.calibrated:
            say(recalibrate(dictionary, calibration(run, run.lm), run.plan.text))
        io.save(dictionary, run.path / "dictionary")
    return {"main": io.load(run.path / "dictionary")}


def evaluation(run: Run, dictionaries: Mapping[str, Dictionary]) -> None:
    """Judge the dictionary beside its controls on the test split; writes ``evaluation.json``."""
    if run.evaluation is not None:
        return
    found = judge(run, run.lm, {**dictionaries, **untrained(run, dictionaries["main"])}, "evaluating")
    right_l0 = verdicts({"dictionary": found.metrics}, ["dictionary"])["dictionary"]
    folder.write_json(run.path / "evaluation.json", {**found.to_json(), "right_l0": right_l0.to_json()})


def untrained(run: Run, dictionary: Dictionary) -> dict[str, Reconstructor]:
    """The controls that need no training, at the L0 of a dictionary.

    Principal components and raw neurons; of a transcoder, which has neither of its own, the best linear map.
    """
    site, target = run.plan.site, run.plan.target
    width = run.lm.width(target or site)
    l0 = min(mean_l0(run, dictionary), width)
    source = first_rows(run)
    seen = (b.values for b in batches(source, min(4096, sum(source.counts)), stop=PCA_ROWS))
    if target is not None:
        return {"linear_map": fit_linear_map(((v[site].float(), v[target].float()) for v in seen), l0)}
    return {"pca": fit_pca((v[site].float() for v in seen), l0), "neurons": Neurons(width, l0)}


def judge(
    run: Run,
    lm: LanguageModel,
    judged: Mapping[str, Reconstructor],
    title: str,
    times: int = 1,
    documents: Int[np.ndarray, " n"] | None = None,
) -> Evaluation:
    """Evaluate some reconstructors on the test split of the run's text, or on ``documents`` of it.

    The loss is that of ``times`` as many tokens as usual.
    """
    documents = run.store.documents(TEST) if documents is None else documents
    held = int((run.store.token_offsets[documents + 1] - run.store.token_offsets[documents]).sum())
    loss_tokens = min(times * min(EVALUATED_LOSS, held // 5), held)
    wanted = min(max(EVALUATED, loss_tokens), held)
    with progress.bar(title, wanted) as report:
        return evaluate(
            lm, run.plan.site, judged, run.store, documents, target=run.plan.target,
            n_tokens=wanted, n_loss_tokens=loss_tokens, seed=run.plan.seed, progress=report,
        )  # fmt: skip


def first_rows(run: Run) -> RowSource:
    """Training rows: the shards while they are there, else the model once more."""
    return Shards(run.path / ACTIVATIONS) if folder.is_sealed(run.path / ACTIVATIONS) else stream(run, run.lm)


def mean_l0(run: Run, dictionary: Dictionary) -> int:
    """Active features per row on some training rows, rounded: at what L0 controls are compared."""
    sample = next(batches(first_rows(run), min(4096, sum(first_rows(run).counts))))
    code = dictionary.encode(sample.values[run.plan.site])
    return max(1, round(len(code.indices) / len(code)))


def catalogue(run: Run, dictionary: Dictionary) -> Catalogue:
    """Build the catalogue over the fit and test splits."""
    return build_catalogue(run.path, run, run.lm, dictionary, "cataloguing")


def build_catalogue(out: Path, run: Run, lm: LanguageModel, dictionary: Dictionary, title: str) -> Catalogue:
    """Build (or open) a catalogue of the run's text in ``out``."""
    with progress.bar(title, None, unit="steps") as report:
        tell = steps(report)
        return build(
            out,
            lm,
            run.plan.site,
            dictionary,
            run.store,
            splits=(FIT, TEST),
            target=run.plan.target,
            seed=run.plan.seed,
            progress=tell,
        )


def steps(report: progress.Report) -> Callable[[str, int, int], None]:
    """A report for work that says (step, done, total)."""
    last: dict[str, int] = {}

    def tell(step: str, done: int, total: int) -> None:
        report(done - last.get(step, 0), f"{step} {done:,} of {total:,}")
        last[step] = done

    return tell


def labels(run: Run, made: Catalogue) -> dict[str, Any]:
    """Label the features with tested concepts, and count what the same search finds on shuffled activations."""
    return label(run.path, run, made, "labelling")


def label(out: Path, run: Run, made: Catalogue, title: str) -> dict[str, Any]:
    """Label a catalogue of the run's text; writes the counts into ``labels.json`` in ``out`` and returns them."""
    if (out / LABELS).is_file():
        return folder.read_json(out / LABELS)
    bits = concept_bits(run, made)
    with progress.bar(title, 2 * len(made), unit="features") as report:
        found = concept_labels.explain(made, bits, seed=run.plan.seed, progress=report)
        control = concept_labels.shuffled(made, bits, seed=run.plan.seed, progress=report)
    made.write_labels(found)
    counted = {"concepts": len(bits.concepts), "labels": count(found), "shuffled": count(control)}
    folder.write_json(out / LABELS, counted)
    return counted


def concept_bits(run: Run, made: Catalogue) -> ConceptBits:
    """What every concept says of every catalogued token; asked once, since all catalogues of a run share their text."""
    if run.bits is None:
        with progress.bar("asking the concepts", len(made.rows)) as report:
            run.bits = compile_bits(made.rows, progress=report)
    return run.bits


def count(found: list[Label]) -> dict[str, dict[str, int]]:
    """Labels by kind and level of F1, as JSON."""
    return {
        kind: {str(level): n for level, n in levels.items()} for kind, levels in concept_labels.counts(found).items()
    }


def random_model(run: Run) -> None:
    """The random-weights control: the same steps on a model whose weights were shuffled within each matrix."""
    out, current = run.path / CONTROLS / "random_model", run.evaluation or {}
    if (out / LABELS).is_file() and "random_model" in current.get("controls", {}):
        return
    lm = run.lm.shuffled(run.plan.seed)
    # a dictionary from elsewhere need not say what its L0 is; penalties lead to half of the features at most
    k = run.plan.k if run.plan.dictionary is None else min(mean_l0(run, run.dictionary), run.plan.n_features // 2)
    recipes, outs = {"random_model": run.plan.recipe(k=k)}, {"random_model": out / "dictionary"}
    fit(run, stream(run, lm), lm, recipes, outs, "training (random model)", out / LOG)
    judged = None if "random_model" in current.get("controls", {}) else judge_random_model(run)
    if judged is not None:
        current["controls"]["random_model"] = judged.to_json()["metrics"]
        folder.write_json(run.path / "evaluation.json", current)
    made = build_catalogue(out, run, lm, io.load(out / "dictionary"), "cataloguing (random model)")
    label(out, run, made, "labelling (random model)")


def judge_random_model(run: Run, documents: Int[np.ndarray, " n"] | None = None) -> Evaluation | None:
    """Evaluate the dictionary of the random-weights control on that model; None where the run has none."""
    path = controls_of(run).get("random_model")
    if path is None:
        return None
    lm, judged = run.lm.shuffled(run.plan.seed), {"random_model": io.load(path)}
    # ablation harms a random model little, so its ratio needs more tokens for an interval as narrow
    return judge(run, lm, judged, "evaluating (random model)", times=4, documents=documents)


def report(run: Run, made: Catalogue) -> None:
    """Write ``report.html`` and, last of all, the manifest; the shards, which can be made again, are removed."""
    counted = folder.read_json(run.path / LABELS)
    facts = {
        **{k: v for k, v in asdict(run.plan).items() if k not in ("model", "site")},
        "tokens": run.store.manifest["tokens"],
        "shared lines (test)": round(prepare.leak(run.store, TEST, TRAIN, FIT), 4),
        "concepts": counted["concepts"],
        "labels on shuffled activations": counted["shuffled"],
        "seconds": run.timings,
    }
    reports.write(made, run.path / "report.html", facts)
    shutil.rmtree(run.path / ACTIVATIONS, ignore_errors=True)
    versions = {name: metadata.version(name) for name in LIBRARIES}
    machine = {"processor": platform.machine(), "threads": torch.get_num_threads(), "python": platform.python_version()}
    files = ["plan.json", "evaluation.json", LABELS, "report.html", "dictionary/manifest.json", "text/manifest.json"]
    folder.seal(
        run.path,
        "run",
        {"versions": versions, "machine": machine, "seed": run.plan.seed, "seconds": run.timings},
        files,
    )
