"""One contender's run in a process of its own, in the environment that the user's shell gave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monoscope.app.bench.contenders import OURS
from monoscope.app.bench.peers.contender.libraries import PACKAGES
from monoscope.errors import MonoscopeError
from monoscope.progress import Report, silent

PEERS = Path(__file__).parent / "peers"
CONTENDER = "import sys; sys.path.insert(0, sys.argv.pop(1)); import contender.__main__"
SET_BY_IMPORT = "GOMP_SPINCOUNT"  # by `import monoscope`, in this process; what is started sets it for itself, or not
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
TAIL = 1500  # characters of an error that are shown


class Failed(Exception):
    """A contender's run ended with an error; the message is the end of what it said."""


def environment(threads: int) -> dict[str, str]:
    """The variables as the shell gave them, and with ``threads`` the number of threads, the same for everyone."""
    made = dict(os.environ)
    if SET_BY_IMPORT not in started_with():
        made.pop(SET_BY_IMPORT, None)
    return made | (dict.fromkeys(THREADS, str(threads)) if threads else {})


def started_with() -> set[str]:
    """The names of the variables that this process was started with, where the system tells."""
    try:
        held = Path("/proc/self/environ").read_bytes()
    except OSError:
        return set()
    return {part.partition(b"=")[0].decode(errors="replace") for part in held.split(b"\0")}


def contend(
    contender: str, rows: Path, setting: dict[str, Any], peers: Path | None, *, report: Report = silent
) -> dict[str, Any]:
    """Train, time and judge one contender.

    Args:
        contender: ``library:kind``, or ``product``.
        rows: a ``.npy`` file.
        setting: see ``peers/contender/run.py``.
        peers: the Python that has the other libraries.
        report: told of every step.

    Raises:
        Failed: a peer's run ended with an error.
        MonoscopeError: ours cannot train that.
    """
    if peers is None or contender.partition(":")[0] in (OURS, "product"):
        return own("ours", contender, rows, setting, report=report)
    return run(theirs(peers, contender, str(rows), json.dumps(setting)), setting["threads"], report)


def theirs(peers: Path, *arguments: str) -> list[str]:
    """The command that runs ``contender`` under another Python, which sees nothing in the working folder."""
    return [str(peers), "-P", "-c", CONTENDER, str(PEERS), *arguments]


def own(module: str, name: str, rows: Path, setting: dict[str, Any], *, report: Report = silent) -> dict[str, Any]:
    """Run one of our own programs: ``module`` of this folder.

    Raises:
        MonoscopeError: it was asked for what cannot be done.
        RuntimeError: it ended with another error, which is a defect.
    """
    program = [sys.executable, "-m", f"monoscope.app.bench.{module}"]
    try:
        return run([*program, name, str(rows), json.dumps(setting)], setting["threads"], report)
    except Failed as error:
        raise RuntimeError(f"{name} failed: {error}") from error


def run(command: Sequence[str], threads: int = 0, report: Report = silent) -> dict[str, Any]:
    """Start a program that prints lines of JSON; its ``result``.

    Raises:
        Failed: it ended with an error, or without a result.
        MonoscopeError: it said that it cannot do what was asked for.
    """
    found: dict[str, Any] | None = None
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment(threads)
        ) as process:
            assert process.stdout is not None
            for line in process.stdout:
                told = parsed(line)
                if "refused" in told:
                    raise MonoscopeError(told["refused"])
                if "result" in told:
                    found = told["result"]
                elif "step" in told:
                    report(1)
        if process.returncode or found is None:
            said.seek(0)
            raise Failed(said.read()[-TAIL:].strip() or f"it ended with status {process.returncode} and no result")
    return found


def parsed(line: str) -> dict[str, Any]:
    """A line of JSON; nothing for whatever else a library prints."""
    try:
        told = json.loads(line)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def versions(peers: Path, contenders: Sequence[str]) -> dict[str, str]:
    """The versions of torch and of the libraries that ``contenders`` need.

    Raises:
        MonoscopeError: that Python cannot be run, or lacks one.
    """
    try:
        found = run(theirs(peers, "check"))
    except (OSError, Failed) as error:
        raise MonoscopeError(
            f"{peers} cannot be used: {error}", fix="name a Python (3.11 or newer) that has torch and the libraries"
        ) from error
    needed = sorted({name.partition(":")[0] for name in contenders} - {OURS})
    missing = [PACKAGES[library] for library in needed if not found.get(library)]
    if missing:
        raise MonoscopeError(
            f"{peers} lacks {', '.join(missing)}",
            fix=f"{peers} -m pip install {' '.join(missing)}; or leave them out with --only",
        )
    return {name: version for name, version in found.items() if version}
