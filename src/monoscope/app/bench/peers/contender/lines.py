"""What a run tells whoever started it: lines of JSON."""

from __future__ import annotations

import json
import sys
from typing import Any, NoReturn


def say(**line: Any) -> None:
    """One line of JSON for whoever started this."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def refuse(why: str) -> NoReturn:
    """End, with words for whoever started this."""
    say(refused=why)
    sys.exit(1)
