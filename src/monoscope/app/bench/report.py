"""What a benchmark found: in words piece by piece, or as JSON at the end; and in a file, complete after every piece."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from monoscope import folder
from monoscope.app.bench import tables

Print = Callable[[Mapping[str, Any], Mapping[str, Any], Console], None]


class Report:
    """Args: whether JSON is printed, and the file, if any, that it is written to."""

    def __init__(
        self, machine: Mapping[str, Any], setting: Mapping[str, Any], *, as_json: bool, out: Path | None
    ) -> None:
        self.found: dict[str, Any] = {"machine": dict(machine), "setting": dict(setting), "found": []}
        self.as_json, self.out, self.console = as_json, out, Console()
        if not as_json:
            tables.print_header(machine, self.console)

    def add(self, piece: dict[str, Any], show: Print) -> None:
        """Print and keep one more piece."""
        self.found["found"].append(piece)
        if not self.as_json:
            show(piece, self.found["setting"], self.console)
        if self.out is not None:
            folder.write_json(self.out, self.found)

    def end(self) -> None:
        """Print the JSON, if that was asked for."""
        if self.as_json:
            sys.stdout.write(json.dumps(self.found, ensure_ascii=False, allow_nan=False) + "\n")
