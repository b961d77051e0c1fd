"""Opening a recording: what it holds, block by block, also of a program that was killed."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float16

from monoscope import folder
from monoscope.dictionary import io
from monoscope.dictionary.identity import content_hash
from monoscope.errors import MonoscopeError
from monoscope.watch import blocks
from monoscope.watch.blocks import Block
from monoscope.watch.recorder import BLOCKS, HEAD, KIND, VERSION
from monoscope.watch.rules import Rules, Signal


class Recording:
    """A recording's folder.

    Attributes:
        facts: what ``recording.json`` says: the model, its fingerprint, the sites and signals that are recorded.
    """

    def __init__(self, path: str | Path) -> None:
        """Open it.

        Raises:
            MonoscopeError: the folder holds no recording, or one of a later version.
        """
        self.path = Path(path)
        self.facts: dict[str, Any] = folder.read_json(self.path / HEAD)
        if self.facts.get("kind") != KIND or self.facts.get("version") != VERSION:
            raise MonoscopeError(f"{self.path} holds no recording that this version reads", fix="name a recording")

    @property
    def complete(self) -> bool:
        """Whether the recording was closed, and not cut off."""
        return any(block.notes.get("complete") for block in self.blocks())

    def blocks(self) -> Iterator[Block]:
        """Every block that was written to its end, in order.

        Raises:
            MonoscopeError: a block is damaged and others follow it.
        """
        with (self.path / BLOCKS).open("rb") as file:
            if file.seek(0, 2) == 0:
                return
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                at = 0
                while (found := blocks.framed(data, at)) is not None:
                    body, at = found
                    yield blocks.unpacked(body)

    def columns(self, rules: Rules) -> Columns:
        """Where the values of the rules' signals are.

        Raises:
            MonoscopeError: the rules are of another model, or a signal was not recorded.
        """
        mine, theirs = self.facts.get("fingerprint"), rules.fingerprint
        if mine is not None and theirs is not None and mine != theirs:
            raise MonoscopeError(
                f"these rules were made for another model ({rules.model or 'unnamed'}) than was recorded "
                f"({self.facts.get('model') or 'unnamed'})",
                fix="name a recording of that model, or make the rules again",
            )
        return Columns([self._where(signal) for signal in rules.signals])

    def _where(self, signal: Signal) -> tuple[int | None, int]:
        """The codes and the feature, or None and the column of the signals."""
        wanted = _identity(signal)
        for i, stream in enumerate(self.facts["codes"]):
            if wanted["feature"] is not None and _matches(stream, {**wanted, "feature": None}):
                if not 0 <= wanted["feature"] < stream["n_features"]:
                    raise MonoscopeError(f"there is no feature {wanted['feature']}", where=f"signal {signal.name}")
                return i, wanted["feature"]
        for i, recorded in enumerate(self.facts["signals"]):
            if _matches(recorded, wanted):
                return None, i
        held = [f"all features at {stream['site']}" for stream in self.facts["codes"]]
        held += [recorded["name"] for recorded in self.facts["signals"]]
        raise MonoscopeError(
            f"{signal.name} was not recorded in {self.path}", fix=f"recorded: {', '.join(held)}; record again with it"
        )


class Columns:
    """Picks the values of some signals from blocks."""

    def __init__(self, where: list[tuple[int | None, int]]) -> None:
        self._where = where

    def values(self, block: Block) -> Float16[np.ndarray, "n n_signals"]:
        """The signals' values on the block's tokens, as they were recorded."""
        found = np.zeros((len(block), len(self._where)), np.float16)
        for i, (codes, column) in enumerate(self._where):
            found[:, i] = block.values[:, column] if codes is None else block.codes[codes].column(column)
        return found


def _identity(signal: Signal) -> dict[str, Any]:
    """What must agree for two signals to be the same; a site that is not given agrees with any."""
    sha256 = signal.of.sha256
    if sha256 is None and signal.of.dictionary is not None:
        sha256 = content_hash(io.load(signal.of.dictionary))
    elif sha256 is None:
        sha256 = folder.content_hash(Path(str(signal.of.vector)))
    return {
        "sha256": sha256, "feature": signal.of.feature, "site": signal.site, "before": signal.before,
        "bias": signal.bias,
    }  # fmt: skip


def _matches(recorded: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(value is None or recorded.get(name) == value for name, value in wanted.items())
