"""``monoscope doctor``: what is installed, what hardware is seen, and whether a run folder is whole."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from monoscope import folder
from monoscope.errors import MonoscopeError
from monoscope.models import reference

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
CPU_FLAGS = {"AMX bf16": "amx_bf16", "AVX-512 bf16": "avx512_bf16", "AVX-512": "avx512f", "AVX2": "avx2"}
_REQUIREMENT = re.compile(r"(?P<name>[A-Za-z0-9._-]+)[^;]*(?:;.*extra == ['\"](?P<extra>[^'\"]+)['\"])?")


@dataclass(frozen=True)
class Problem:
    """Something about a run folder that its owner should know.

    ``damage`` is False for what is merely unfinished; ``where`` is relative to the run.
    """

    where: str
    what: str
    fix: str
    damage: bool = True


def report() -> dict[str, Any]:
    """What is installed and seen: ``versions``, ``extras``, ``hardware``, ``models``, ``caches``, ``chromium``."""
    versions, extras = _versions()
    return {
        "versions": versions,
        "extras": extras,
        "hardware": hardware(),
        "models": _models(),
        "caches": _caches(),
        "chromium": next(filter(None, map(shutil.which, BROWSERS)), None),
    }


def check_run(run: str | Path) -> list[Problem]:
    """Check a run folder and every folder in it: all that their manifests list is there, with the hashes listed.

    Raises:
        MonoscopeError: there is no such folder, or it holds nothing of a run.
    """
    run = Path(run)
    if not run.is_dir():
        raise MonoscopeError(f"there is no run at {str(run)!r}", fix="name a folder that monoscope wrote")
    manifests = sorted(run.rglob(folder.MANIFEST))
    if not manifests and not (run / "plan.json").is_file():
        raise MonoscopeError(f"{str(run)!r} is no run: it holds no plan.json and no manifest.json")
    problems = [p for m in manifests for p in _check_sealed(run, m.parent)]
    problems += [*_check_plan(run), *_check_databases(run), *_unfinished(run)]
    return list({p.where: p for p in reversed(problems)}.values())[::-1]  # a file listed twice is reported once


def doctor(run: Path | None = None, /, *, json: bool = False) -> int:
    """Say what is installed and what hardware is seen; with a run folder, check that it is whole.

    Example: monoscope doctor monoscope-run

    Parameters
    ----------
    run
        A run folder to check.
    json
        Print JSON.

    Returns
    -------
    int
        The exit status: 2 when the run is damaged, else 0.
    """
    found, console = report(), Console()
    problems = None if run is None else check_run(run)
    if json:
        checked = None if problems is None else [asdict(p) for p in problems]
        console.print_json(data={**found, "run": None if run is None else {"path": str(run), "problems": checked}})
    else:
        _print_report(console, found)
        if problems is not None:
            _print_problems(console, str(run), problems)
    return 2 if any(p.damage for p in problems or ()) else 0


# --- what is installed and seen --------------------------------------------------------------------------------------


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _versions() -> tuple[dict[str, str | None], dict[str, dict[str, str | None]]]:
    """Versions of what Monoscope requires, and of each extra's packages; None for what is missing."""
    versions = {"python": platform.python_version(), "monoscope": _version("monoscope")}
    extras: dict[str, dict[str, str | None]] = {}
    for requirement in (metadata.requires("monoscope") or []) if versions["monoscope"] else []:
        parsed = _REQUIREMENT.match(requirement)
        if parsed and parsed["name"] != "monoscope":
            into = extras.setdefault(parsed["extra"], {}) if parsed["extra"] else versions
            into[parsed["name"]] = _version(parsed["name"])
    return versions, extras


def hardware() -> dict[str, Any]:
    """``system``, ``processor``, ``cores``, ``threads_of_torch``, ``instructions``, ``memory_gb``, ``cuda``, …"""
    import torch

    cpu = Path("/proc/cpuinfo")
    text = cpu.read_text() if cpu.is_file() else ""
    flags = re.search(r"^flags\s*:(.+)$", text, re.MULTILINE)
    name = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "system": platform.platform(),
        "processor": name[1] if name else platform.processor() or platform.machine(),
        "cores": cores,
        "threads_of_torch": torch.get_num_threads(),
        "instructions": [label for label, flag in CPU_FLAGS.items() if flags and flag in flags[1].split()],
        "memory_gb": _memory_gb(),
        "cuda": [
            {"name": torch.cuda.get_device_name(i), "memory_gb": round(torch.cuda.mem_get_info(i)[1] / 1e9, 1)}
            for i in range(torch.cuda.device_count())
        ],
        "mps": torch.backends.mps.is_available(),
    }


def _memory_gb() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1)
    except (ValueError, OSError, AttributeError):  # not every system can say
        return None


def _models() -> dict[str, bool]:
    """The reference models, and whether each is there with its weights and tokenizer."""

    def is_there(name: str) -> bool:
        try:
            found = reference.folder(name)
        except MonoscopeError:
            return False
        return all((found / file).is_file() for file in ("model.safetensors", "tokenizer.json"))

    return {name: is_there(name) for name in reference.NAMES}


def _caches() -> dict[str, dict[str, Any]]:
    """The folders that keep downloaded models and compiled kernels, and whether they can be written."""
    from huggingface_hub import constants

    kernels = os.environ.get("NUMBA_CACHE_DIR") or str(Path(__file__).parent.parent / "ops" / "__pycache__")
    places = {"models": constants.HF_HUB_CACHE, "kernels": kernels, "temporary": tempfile.gettempdir()}
    return {name: {"folder": path, "writable": _writable(Path(path))} for name, path in places.items()}


def _writable(path: Path) -> bool:
    """Whether the folder, or the nearest one above it that exists, may be written."""
    there = next(p for p in (path, *path.absolute().parents) if p.exists())
    return there.is_dir() and os.access(there, os.W_OK)


# --- a run -----------------------------------------------------------------------------------------------------------


def _name(run: Path, path: Path) -> str:
    return path.relative_to(run).as_posix()


def _again(run: Path, part: Path) -> str:
    """What to do about a damaged part of a run."""
    if part == run:
        return f"remove {folder.MANIFEST} and run the same command again: it goes on from what is whole"
    return f"remove {_name(run, part)}/ and run the same command again: it makes that part anew"


def _check_sealed(run: Path, part: Path) -> Iterator[Problem]:
    try:
        files = folder.manifest_of(part)["files"]
    except MonoscopeError as error:
        yield Problem(_name(run, part / folder.MANIFEST), error.what, _again(run, part))
        return
    differing = set(folder.verify(part))
    for name, facts in files.items():
        path = part / name
        if name not in differing:
            continue
        if not path.is_file():
            what = "is missing"
        elif path.stat().st_size != facts["bytes"]:
            what = f"is {path.stat().st_size:,} bytes long, not {facts['bytes']:,}"
        else:
            what = "has changed since it was written: its hash differs"
        yield Problem(_name(run, path), what, _again(run, path.parent if path.parent != run else part))


def _check_plan(run: Path) -> Iterator[Problem]:
    if (run / "plan.json").is_file():
        try:
            folder.read_json(run / "plan.json")
        except MonoscopeError as error:
            yield Problem("plan.json", error.what, "without its plan a run cannot go on: choose another folder")


def _check_databases(run: Path) -> Iterator[Problem]:
    for path in sorted(run.rglob("*.sqlite")):
        try:
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                answer = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            finally:
                connection.close()
        except sqlite3.Error as error:
            answer = str(error)
        if answer != "ok":
            fix = f"remove {_name(run, path)} and {folder.MANIFEST}, and run the same command again"
            yield Problem(_name(run, path), f"is damaged: {answer}", fix)


def _unfinished(run: Path) -> Iterator[Problem]:
    if not folder.is_sealed(run):
        what = f"has no {folder.MANIFEST}: it was stopped, or is not from quickstart, which alone writes one"
        fix = "if it was stopped, run the same command again: it goes on from what is done"
        yield Problem(".", what, fix, damage=False)
    for path in sorted(run.rglob("*.partial")):
        fix = "it may be removed once no command writes to the run"
        yield Problem(_name(run, path), "is a file that was not finished", fix, damage=False)


# --- printing --------------------------------------------------------------------------------------------------------


def _print_report(console: Console, found: dict[str, Any]) -> None:
    table = Table.grid(padding=(0, 3))
    for name, version in found["versions"].items():
        table.add_row(name, version or "[red]not installed[/]")
    for extra, packages in found["extras"].items():
        missing = [name for name, version in packages.items() if version is None]
        table.add_row(f"\\[{extra}]", "all there" if not missing else f"[dim]without {', '.join(missing)}[/]")
    seen = found["hardware"]
    table.add_row()
    table.add_row("processor", f"{seen['processor']}, {seen['cores']} cores, {seen['memory_gb']} GB")
    table.add_row("instructions", ", ".join(seen["instructions"]) or "none of " + ", ".join(CPU_FLAGS))
    cards = [f"{card['name']}, {card['memory_gb']} GB" for card in seen["cuda"]]
    table.add_row("accelerator", "; ".join(cards) or ("Apple MPS" if seen["mps"] else "none: the CPU does it"))
    table.add_row("system", seen["system"])
    table.add_row()
    for name, there in found["models"].items():
        table.add_row(name, "packaged" if there else "[dim]not packaged[/]")
    for name, cache in found["caches"].items():
        table.add_row(f"{name} cache", cache["folder"] + ("" if cache["writable"] else " [red]cannot be written[/]"))
    table.add_row("chromium", found["chromium"] or "[dim]none: browser tests are skipped[/]")
    console.print(table)


def _print_problems(console: Console, run: str, problems: list[Problem]) -> None:
    if not problems:
        console.print(f"\n[green]{run} is whole.[/]")
    for problem in problems:
        colour = "red" if problem.damage else "yellow"
        where = run if problem.where == "." else problem.where
        console.print(f"\n[{colour}]{where}[/] {problem.what}\n  → {problem.fix}", highlight=False)
