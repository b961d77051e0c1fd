"""Where else a training's log goes, a file each. ``log.jsonl`` is always written; these are imported when asked for.

A file holds ``NEEDS``, the module it cannot do without, and ``writer(folder)``, a context that gives a ``Tell``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path

from monoscope import plugins
from monoscope.errors import MonoscopeError

PACKAGE = "monoscope.train.logs"

Tell = Callable[[int, Mapping[str, Mapping[str, float]]], None]
"""Takes the tokens seen and, of each dictionary in training, its loss terms and L0.

A training that goes on tells again the steps after its checkpoint, with the same numbers; readers see each step once.
"""


def names() -> list[str]:
    """The names of all logs."""
    return plugins.names(PACKAGE)


def check(wanted: Sequence[str]) -> None:
    """See that every log can be written, before any work.

    Raises:
        MonoscopeError: there is no such log, or what it needs is not installed.
    """
    for name in wanted:
        needs = plugins.load(PACKAGE, name).NEEDS
        if find_spec(needs) is None:
            raise MonoscopeError(f"the log {name} needs {needs}", fix=f'pip install "monoscope[{name}]"')


@contextmanager
def writers(wanted: Sequence[str], folder: Path) -> Iterator[list[Tell]]:
    """Open the logs of these names, each in its own way for the run in ``folder``, and close them in the end."""
    check(wanted)
    with ExitStack() as stack:
        yield [stack.enter_context(plugins.load(PACKAGE, name).writer(folder)) for name in wanted]
