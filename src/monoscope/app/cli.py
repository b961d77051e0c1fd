"""The command line: every file of ``verbs`` is a verb, with a function of the same name."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from cyclopts import App
from rich.console import Console

from monoscope import plugins
from monoscope.app import config_file, said_once, stopping, whole_numbers
from monoscope.errors import MonoscopeError

VERBS = "monoscope.app.verbs"
DONE, USER_ERROR, INTERRUPTED, UNREAD = 0, 2, 130, 141


def app(asked: str = "") -> App:
    """The application; a verb's module is imported when it is called.

    Where ``asked`` is a verb it has that one alone: no other's help is read only to run one.
    """
    made = App(
        name="monoscope",
        help="Reads a language model's mind: learns the features a transformer thinks in, and says what each means.",
        version=metadata.version("monoscope"),
        help_format="markdown",
        config=(config_file.fill, whole_numbers.check, said_once.check),
        suppress_keyboard_interrupt=False,  # ``main`` says what becomes of the work
    )
    verbs = plugins.names(VERBS)
    for verb in [asked] if asked in verbs else verbs:
        made.command(f"{VERBS}.{verb}:{verb}", name=verb, help=said(verb))
    return made


def said(verb: str) -> str:
    """What a verb says of itself, read without importing it: its function's docstring, its App's help, its module's."""
    found = importlib.util.find_spec(f"{VERBS}.{verb}")
    assert found is not None and found.origin is not None
    module = ast.parse(Path(found.origin).read_text(encoding="utf-8"))
    for node in module.body:
        if isinstance(node, ast.FunctionDef) and node.name == verb:
            return (ast.get_docstring(node) or "").split("\n\nParameters\n")[0]
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == verb and isinstance(node.value, ast.Call):
            return next(inspect.cleandoc(ast.literal_eval(k.value)) for k in node.value.keywords if k.arg == "help")
    return ast.get_docstring(module) or ""


def main(arguments: list[str] | None = None) -> Any:
    """Run one command and exit: 0 done, 2 the user's error, 130 interrupted or terminated, 141 unread (``| head``)."""
    errors = Console(stderr=True)
    try:
        try:
            given = sys.argv[1:] if arguments is None else arguments
            with stopping.terminable():
                app(*given[:1])(given)
        finally:
            sys.stdout.flush()  # at the interpreter's end it would be too late to be quiet
    except MonoscopeError as error:
        errors.print(f"[bold red]error:[/] {_escaped(error)}", highlight=False, soft_wrap=True)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        stopping.deafen()
        errors.print("\ninterrupted; what is written already stays, and a run goes on from there with the same command")
        sys.exit(INTERRUPTED)
    except (BrokenPipeError, SystemExit) as ended:
        if not isinstance(ended, BrokenPipeError) and not isinstance(ended.__context__, BrokenPipeError):
            raise  # of its own accord; Rich makes a closed pipe an exit too
        _discard_output()
        sys.exit(UNREAD)
    sys.exit(DONE)


def _discard_output() -> None:
    """What is still buffered for a closed pipe goes nowhere, so that the interpreter's end does not complain of it."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _escaped(error: MonoscopeError) -> str:
    from rich.markup import escape

    return escape(str(error))
