"""Answers in JSON without spaces; a NaN is a defect, never sent."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse


def encoded(content: Any) -> bytes:
    """JSON as it is sent."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class CompactJSON(JSONResponse):
    """An answer of the API."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return encoded(content)
