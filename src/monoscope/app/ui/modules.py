"""The modules that a page imports, named in its head.

A browser that finds imports as it reads asks for as many rounds of files as they are deep; so it asks for all at once.
"""

from __future__ import annotations

import re
from pathlib import Path

ENTRY = re.compile(r'<script type="module" src="(?P<folder>[^"]*/)(?P<name>[\w.]+)">')
IMPORT = re.compile(r'^(?:import|export)\b[^;"]*"\./([\w.]+)"', re.MULTILINE)


def imported(static: Path, entry: str) -> list[str]:
    """The names of what a module imports, and of what that imports, each once, nearest first."""
    found = [entry]
    for name in found:  # it grows
        found += [other for other in IMPORT.findall((static / name).read_text("utf-8")) if other not in found]
    return list(dict.fromkeys(found[1:]))


def named(page: str, static: Path) -> str:
    """A page whose head names every module that its script will import, ``static`` being the folder they are in."""
    entry = ENTRY.search(page)
    assert entry is not None
    links = [f'<link rel="modulepreload" href="{entry["folder"]}{name}">\n' for name in imported(static, entry["name"])]
    return page[: entry.start()] + "".join(links) + page[entry.start() :]
