"""Reading a text with a run's features."""

from __future__ import annotations

import sys
from pathlib import Path


def read(run: Path, text: str = "-", *, file: Path | None = None, json: bool = False, strongest: int = 3) -> None:
    """Print a text coloured by feature, with each token's strongest features in words.

    Example: `monoscope read monoscope-run "def f(x): return x"`

    Parameters
    ----------
    run
        The run's folder.
    text
        The text; - reads standard input.
    file
        A file to read instead.
    json
        Print JSON for programs.
    strongest
        Features shown per token.
    """
    from rich.console import Console

    from monoscope.app import terminal
    from monoscope.app.run import Run
    from monoscope.errors import MonoscopeError

    try:
        words = file.read_text(encoding="utf-8") if file else sys.stdin.read() if text == "-" else text
    except (OSError, UnicodeDecodeError) as error:
        raise MonoscopeError(
            f"the text cannot be read: {error}", where=str(file or "stdin"), fix="give UTF-8 text"
        ) from error
    reading = Run(run).reader.read(words)
    if json:
        sys.stdout.write(terminal.reading_json(reading) + "\n")
    else:
        terminal.print_reading(reading, Console(), strongest)
