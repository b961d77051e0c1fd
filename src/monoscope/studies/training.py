"""While a model trains: chosen features and probes on fixed text, checkpoint after checkpoint.

``Recorder`` is a plain callable for any training loop, ``recorder(model, step)``; ``callback`` makes it one of
``transformers.Trainer``'s. Each call is a line of JSON: on what share of the text's tokens each signal is above 0
(``density``) and its mean value (``mean``), how well the dictionary still explains the site (``fvu``: a feature of a
dictionary that no longer fits says little), and how well a linear probe that is fitted anew reads a concept off the
site (``readable``, AUROC on the other half of the documents). ``changes`` says what appeared, grew, shrank or vanished.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from monoscope import folder
from monoscope.concepts import Expression
from monoscope.dictionary.base import Dictionary
from monoscope.errors import MonoscopeError
from monoscope.interpret import logistic
from monoscope.interpret.probing import auroc
from monoscope.models.language_model import LanguageModel
from monoscope.signals.features import Watched
from monoscope.signals.probe import Probe
from monoscope.text.tokenise import Tokeniser
from monoscope.types import PADDING, SEPARATOR, Document, Site, TokenBlock

SILENT = 1e-4  # a signal that is above 0 on a smaller share of the text does not count as there
FACTOR = 2.0  # a change of the mean by less is none
BATCH = 16  # windows that run at once


@dataclass(frozen=True)
class Change:
    """What became of a signal from the first to the last record: ``kind`` is appears, grows, shrinks, vanishes, stays.

    ``step`` is the first at which the signal was past half of the way (in density for what appears or vanishes, in
    mean else); the last step for what stays.
    """

    name: str
    kind: str
    step: int
    first: Mapping[str, float]
    last: Mapping[str, float]


class Recorder:
    """Records signals of one site on the first window of each text; the training is left as it is."""

    def __init__(
        self,
        path: str | Path,
        tokeniser: Tokeniser,
        texts: Sequence[Document],
        site: Site | str,
        *,
        dictionary: Dictionary | None = None,
        features: Sequence[int] = (),
        probes: Mapping[str, Probe] | None = None,
        concept: Expression | None = None,
    ) -> None:
        """Say what is recorded.

        Args:
            path: the file of JSON lines; what it holds of later steps than the first that is recorded is dropped.
            tokeniser: the model's.
            texts: fixed text, not of the training.
            site: where signals are read.
            dictionary: whose ``features`` are recorded; of this site.
            features: its features' numbers.
            probes: further signals by name.
            concept: for ``readable``.

        Raises:
            MonoscopeError: nothing is to be recorded, there is no text, or a feature is none.
        """
        if not (features or probes or concept):
            raise MonoscopeError("nothing is to be recorded", fix="give features, probes or a concept")
        if features and dictionary is None:
            raise MonoscopeError("features of which dictionary?", fix="give the dictionary too")
        if not texts:
            raise MonoscopeError("there is no text to record on", fix="give some documents")
        self.path, self.site = Path(path), Site.parse(site)
        self._tokeniser, self._documents = tokeniser, tokeniser.documents(texts)
        self._dictionary, self._probes = dictionary, dict(probes or {})
        self._watched = Watched(dictionary, features) if dictionary is not None and features else None
        self._masks = None if concept is None else [concept.mask(d) for d in self._documents]
        self._begun = False
        self._lm: LanguageModel | None = None

    def __call__(self, model: nn.Module, step: int) -> dict[str, Any]:
        """Record a model as it is after ``step`` steps; gives the line that was written."""
        if not self._begun:
            self._begin(step)
        line: dict[str, Any] = {"step": step, **self.measure(model)}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line

    def _begin(self, step: int) -> None:
        """A training that goes on from a checkpoint records the steps after it anew."""
        kept = [line for line in records(self.path) if line["step"] < step] if self.path.is_file() else []
        folder.write_bytes(self.path, "".join(json.dumps(line) + "\n" for line in kept).encode())
        self._begun = True

    def measure(self, model: nn.Module) -> dict[str, Any]:
        """What would be written of a model."""
        x, slots, holds = self._rows(model)
        signals: dict[str, Tensor] = {}
        if self._watched is not None:
            values = self._watched.values(x)
            signals |= {str(f): values[:, i] for i, f in enumerate(self._watched.features)}
        signals |= {name: probe.values(x) for name, probe in self._probes.items()}
        line: dict[str, Any] = {
            "signals": {
                name: {"density": float((value > 0).float().mean()), "mean": float(value.mean())}
                for name, value in signals.items()
            }
        }
        if self._dictionary is not None:
            left, spread = (x - self._dictionary(x)).double(), (x - x.mean(0)).double()
            line["fvu"] = float(left.square().sum() / spread.square().sum())
        if holds is not None:
            line["readable"] = _readable(x, slots, holds)
        return line

    def _rows(self, model: nn.Module) -> tuple[Float[Tensor, "n d"], Tensor, Bool[Tensor, " n"] | None]:
        """The site's rows on all tokens of the text, their documents' numbers, and where the concept holds."""
        lm, parts, slots, holds = self._wrapped(model), [], [], []
        room = lm.context - len(self._tokeniser.prefix) - len(self._tokeniser.suffix)
        with _evaluating(model), torch.no_grad():
            for first in range(0, len(self._documents), BATCH):
                numbers = range(first, min(first + BATCH, len(self._documents)))
                block = _block(self._tokeniser, [self._documents[i].tokens[:room] for i in numbers], first)
                parts.append(lm.run(block, read=[self.site])[str(self.site)][block.is_text].float().cpu())
                slots.append(block.documents[block.is_text])
                if self._masks is not None:
                    holds += [torch.from_numpy(self._masks[i][:room]) for i in numbers]
        return torch.cat(parts), torch.cat(slots), torch.cat(holds) if holds else None

    def _wrapped(self, model: nn.Module) -> LanguageModel:
        inner: Any = getattr(model, "module", model)  # what DistributedDataParallel wraps
        if self._lm is None or self._lm.model is not inner:
            self._lm = LanguageModel(inner, self._tokeniser, name=type(inner).__name__)
        return self._lm


def _block(tokeniser: Tokeniser, windows: Sequence[np.ndarray], first: int) -> TokenBlock:
    """Windows framed as the model expects, padded on the right."""
    before, after = len(tokeniser.prefix), len(tokeniser.suffix)
    width = max(map(len, windows)) + before + after
    tokens = torch.full((len(windows), width), tokeniser.padding)
    documents, positions = torch.full_like(tokens, PADDING), torch.zeros_like(tokens)
    for i, window in enumerate(windows):
        framed = [*tokeniser.prefix, *window.tolist(), *tokeniser.suffix]
        tokens[i, : len(framed)] = torch.tensor(framed)
        documents[i, : len(framed)] = SEPARATOR
        documents[i, before : before + len(window)] = first + i
        positions[i, before : before + len(window)] = torch.arange(len(window))
    return TokenBlock(tokens, documents, positions)


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while; every module gets back the mode that it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _readable(x: Float[Tensor, "n d"], slots: Tensor, holds: Bool[Tensor, " n"]) -> float | None:
    """The AUROC, on documents of odd number, of a linear probe fitted to those of even number; None where undefined."""
    fit = slots % 2 == 0
    if any(len(holds[side].unique()) < 2 for side in (fit, ~fit)):
        return None
    scores = logistic.fit(x[fit], holds[fit][:, None]).scores(x[~fit])[:, 0]
    judged = holds[~fit].numpy()
    return float(auroc(scores.numpy(), judged, np.ones((1, 1)), np.zeros(len(judged), np.int64))[0])


def due(step: int, every: int) -> bool:
    """Every so many steps, and at powers of two before that: much happens early."""
    return step % every == 0 or (step < every and step & (step - 1) == 0)


def callback(recorder: Recorder, every: int = 100) -> Any:
    """A ``transformers.TrainerCallback`` that records when training begins, when it is ``due``, and when it ends.

    >>> trainer.add_callback(callback(recorder, every=50))  # doctest: +SKIP
    """
    from transformers import TrainerCallback

    class Recording(TrainerCallback):
        last = -1

        def _record(self, state: Any, model: nn.Module) -> None:
            if state.global_step > self.last and state.is_world_process_zero:
                recorder(model, state.global_step)
                self.last = state.global_step

        def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **more: Any) -> None:
            self._record(state, model)

        def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **more: Any) -> None:
            if due(state.global_step, every):
                self._record(state, model)

        def on_train_end(self, args: Any, state: Any, control: Any, model: nn.Module, **more: Any) -> None:
            self._record(state, model)

    return Recording()


def records(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a recorder's file, a half-written last one left out.

    Raises:
        MonoscopeError: there is no such file.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines(keepends=True)
    except OSError as error:
        raise MonoscopeError(f"{path} cannot be read: {error.strerror}", fix="name a recorder's file") from error
    return [json.loads(line) for line in lines if line.endswith("}\n")]


def changes(lines: Sequence[Mapping[str, Any]]) -> list[Change]:
    """What became of every signal between the first and the last record, the largest changes of the mean first."""
    found = []
    for name in lines[0]["signals"] if lines else ():
        first, last = (lines[i]["signals"][name] for i in (0, -1))
        kind = _kind(first, last)
        what = "density" if kind in ("appears", "vanishes") else "mean"
        half = (first[what] + last[what]) / 2
        rising = last[what] > first[what]
        past = (line["step"] for line in lines if (line["signals"][name][what] >= half) == rising)
        found.append(Change(name, kind, lines[-1]["step"] if kind == "stays" else next(past), first, last))
    return sorted(found, key=lambda c: -abs(c.last["mean"] - c.first["mean"]))


def _kind(first: Mapping[str, float], last: Mapping[str, float]) -> str:
    was, is_ = first["density"] >= SILENT, last["density"] >= SILENT
    if was != is_:
        return "appears" if is_ else "vanishes"
    if last["mean"] > max(FACTOR * first["mean"], first["mean"] / FACTOR):
        return "grows"
    return "shrinks" if last["mean"] < min(first["mean"] / FACTOR, FACTOR * first["mean"]) else "stays"


def plot(lines: Sequence[Mapping[str, Any]], out: str | Path, names: Mapping[str, str] | None = None) -> None:
    """Densities over steps, and below them how well the dictionary fits and the concept is read; needs ``plots``.

    ``names`` are words for signals, by their names.

    Raises:
        MonoscopeError: matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise MonoscopeError("figures need matplotlib", fix="pip install 'monoscope[plots]'") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    steps = [max(1, line["step"]) for line in lines]
    beside = [name for name in ("fvu", "readable") if name in lines[0]]
    heights = [3, 1] if beside else [1]
    figure, axes = pyplot.subplots(len(heights), 1, figsize=(8, 5), sharex=True, height_ratios=heights, squeeze=False)
    for name in lines[0]["signals"]:
        values = [line["signals"][name]["density"] for line in lines]
        axes[0, 0].plot(steps, values, label=(names or {}).get(name, name))
    axes[0, 0].set(ylabel="share of tokens", xscale="log")
    axes[0, 0].legend(frameon=False, fontsize="small")
    for name in beside:
        axes[1, 0].plot(steps, [line[name] for line in lines], label=name, color="k" if name == "fvu" else "C3")
    if beside:
        axes[1, 0].set(ylabel=", ".join(beside))
        axes[1, 0].legend(frameon=False, fontsize="small")
    axes[-1, 0].set_xlabel("step")
    figure.savefig(out)
    pyplot.close(figure)
