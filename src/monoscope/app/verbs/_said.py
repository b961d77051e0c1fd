"""A line on the terminal, for verbs that say little."""

from __future__ import annotations


def say(words: str) -> None:
    """Print a line as it stands."""
    from rich.console import Console

    Console().print(words, markup=False, highlight=False, soft_wrap=True)
