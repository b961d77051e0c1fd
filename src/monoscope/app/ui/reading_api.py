"""Reading over HTTP: a text's features, two texts compared, and what the model writes next as it writes it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response, StreamingResponse

from monoscope.app.ui import bodies, payloads
from monoscope.app.ui.answers import CompactJSON, encoded, no_model
from monoscope.app.ui.contrast import contrast
from monoscope.errors import MonoscopeError

LONGEST_CONTINUATION = 256
LAST_FEATURE, LAST_SEED = 2**31 - 1, 2**53 - 1
ReadText = Callable[[str], dict[str, Any]]  # a ``Reader``; what continues texts has its method ``continuation`` too


def add_reading(app: FastAPI, catalogue: Any, reader: Any) -> None:
    """Add what needs the model; ``reader`` None answers that it is not at hand."""

    def present() -> Any:
        if reader is None:
            raise no_model()
        return reader

    @app.post("/api/read")
    async def read(request: Request) -> Response:
        given = await bodies.body(request)
        text = bodies.text(given)
        strongest = bodies.whole(given, "strongest", None, 0, LAST_FEATURE)
        feature = bodies.whole(given, "feature", None, 0, LAST_FEATURE)
        found = await asyncio.to_thread(present(), text)
        if strongest is None:
            return CompactJSON(found)
        few = {"tokens": [_strongest(token, strongest, feature) for token in found["tokens"]]}
        return CompactJSON({**few, "evidence": payloads.brief(catalogue, _ids(few["tokens"]))})

    @app.post("/api/contrast")
    async def compare(request: Request) -> Response:
        given = await bodies.body(request)
        read, texts = present(), [bodies.text(given), bodies.text(given, "other")]
        readings = [await asyncio.to_thread(read, text) for text in texts]
        lists = contrast(*readings)
        ids = {row["id"] for found in lists.values() for row in found["features"]}
        return CompactJSON({**lists, "evidence": payloads.brief(catalogue, ids)})

    @app.post("/api/continue")
    async def continue_(request: Request) -> Response:
        given = await bodies.body(request)
        text = bodies.text(given)
        count = bodies.whole(given, "count", 40, 1, LONGEST_CONTINUATION)
        strongest = bodies.whole(given, "strongest", 16, 0, LAST_FEATURE)
        feature = bodies.whole(given, "feature", None, 0, LAST_FEATURE)
        temperature = bodies.number(given, "temperature", 0.0, 0.0, 10.0)
        seed = bodies.whole(given, "seed", 0, 0, LAST_SEED)
        written = present().continuation(text, count, temperature=temperature, seed=seed)
        shown = (_strongest(token, strongest, feature) for token in written)
        return StreamingResponse(_lines(shown, catalogue), media_type="application/x-ndjson")


def _lines(tokens: Iterator[dict[str, Any]], catalogue: Any) -> Iterator[bytes]:
    """A line of JSON for each token, and one for an error that ends them."""
    try:
        for token in tokens:
            yield encoded({"token": token, "evidence": payloads.brief(catalogue, _ids([token]))}) + b"\n"
    except MonoscopeError as error:
        yield json.dumps({"error": {"what": error.what, "fix": error.fix or ""}}).encode() + b"\n"


def _ids(tokens: list[dict[str, Any]]) -> set[int]:
    return {feature["id"] for token in tokens for feature in token["features"]}


def _strongest(token: dict[str, Any], strongest: int, feature: int | None) -> dict[str, Any]:
    """A token with its first ``strongest`` features, and ``feature`` where it is active.

    A dictionary may have a hundred features active on a token: all of them for a long text are many megabytes.
    """
    kept = [f for i, f in enumerate(token["features"]) if i < strongest or f["id"] == feature]
    return token | {"features": kept}
