"""The command line: every file of ``verbs`` is a verb, with a function of the same name."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import Any

from cyclopts import App
from rich.console import Console

from monoscope import plugins
from monoscope.app import config_file
from monoscope.errors import MonoscopeError

VERBS = "monoscope.app.verbs"
DONE, USER_ERROR, INTERRUPTED = 0, 2, 130


def app() -> App:
    """The application; a verb's module is imported when it is called."""
    made = App(
        name="monoscope",
        help="Reads a language model's mind: learns the features a transformer thinks in, and says what each means.",
        version=metadata.version("monoscope"),
        help_format="markdown",
        config=config_file.fill,
    )
    for verb in plugins.names(VERBS):
        made.command(f"{VERBS}.{verb}:{verb}", name=verb)
    return made


def main(arguments: list[str] | None = None) -> Any:
    """Run one command and exit: 0 done, 2 the user's error, 130 interrupted."""
    errors = Console(stderr=True)
    try:
        app()(arguments)
    except MonoscopeError as error:
        errors.print(f"[bold red]error:[/] {_escaped(error)}", highlight=False, soft_wrap=True)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        errors.print("\ninterrupted; what is finished is kept, and the same command goes on from there")
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(DONE)
    sys.exit(DONE)


def _escaped(error: MonoscopeError) -> str:
    from rich.markup import escape

    return escape(str(error))
