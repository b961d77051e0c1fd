"""Answers in JSON without spaces; a NaN is a defect, never sent."""

from __future__ import annotations

import json
from typing import Any

from starlette.responses import JSONResponse

from monoscope.errors import MonoscopeError


def encoded(content: Any) -> bytes:
    """JSON as it is sent."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


class CompactJSON(JSONResponse):
    """An answer of the API."""

    def render(self, content: Any) -> bytes:
        """The bytes."""
        return encoded(content)


def no_model() -> MonoscopeError:
    """What is said where the model is asked for and not at hand."""
    return MonoscopeError(
        "this catalogue was opened without its model, so nothing new can be computed",
        fix="start the pages with `monoscope ui RUN --model MODEL`",
    )
