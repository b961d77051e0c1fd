"""One sentence read out of an answer, whether the model was held to a schema or asked for it in words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from monoscope.interpret.chat import Answer

FIELD = "explanation"
LONGEST = 600  # characters; whoever says more has not understood the question
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {FIELD: {"type": "string"}},
    "required": [FIELD],
    "additionalProperties": False,
}
_LINE = re.compile(rf"^[\s*#>_-]*{FIELD}[\s*_]*:\s*(.+)$", re.IGNORECASE | re.MULTILINE)


def sentence(answer: Answer) -> str:
    """The explanation in an answer: of the first JSON object that has one, else of a line ``explanation: …``.

    "" where there is none: nothing, a failure, an answer that was cut off, one without end.
    """
    if answer.failure or answer.truncated:
        return ""
    found = _in_json(answer.text)
    if found is None:
        line = _LINE.search(answer.text)
        found = line[1] if line else ""
    words = " ".join(found.split()).strip("\"'`* ")
    return words if words.isprintable() and any(c.isalnum() for c in words) and len(words) <= LONGEST else ""


def wrong(answer: Answer) -> str:
    """Why an answer is no explanation; "" where it is one."""
    if answer.failure:
        return answer.failure
    if answer.truncated:
        return "truncated: the answer is longer than it may be"
    return "" if sentence(answer) else f"malformed: {' '.join(answer.text.split())[:120]!r}"


def _in_json(text: str) -> str | None:
    """The field of the first object in the text that has it as a string; None where there is no such object."""
    decoder = json.JSONDecoder(strict=False)
    at = text.find("{")
    while at >= 0:
        try:
            found, _ = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            found = None
        if isinstance(found, dict) and isinstance(found.get(FIELD), str):
            said: str = found[FIELD]
            return said
        at = text.find("{", at + 1)
    return None
