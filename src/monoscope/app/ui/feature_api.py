"""One feature over HTTP: its record, and what is computed when its page is looked at."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import asdict
from functools import lru_cache
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from starlette.responses import Response

from monoscope.app.ui import bodies, payloads
from monoscope.app.ui.answers import CompactJSON, no_model
from monoscope.app.ui.findings import findings
from monoscope.catalogue.annotations import Annotations
from monoscope.errors import MonoscopeError
from monoscope.interpret.specificity import Levels

MOST_PLACES, LONGEST_PLACE = 120, 1001
MakeLevels = Callable[[Any, int], Levels]


def add_feature(app: FastAPI, catalogue: Any, reader: Any, levels: MakeLevels, annotations: Annotations | None) -> None:
    """Add what a feature's page asks for; ``reader`` None: the model is not at hand."""

    @app.get("/api/features/{feature}")
    async def record(feature: int) -> Response:
        found = payloads.record(catalogue, feature)
        said = None if annotations is None else asdict(annotations.get(feature))
        more = {"explanations": findings(catalogue, feature), "model_at_hand": reader is not None, "annotation": said}
        return CompactJSON({**found, **more})

    @app.get("/api/context")
    async def context(
        document: Annotated[int, Query(ge=0)],
        position: Annotated[int, Query(ge=0)],
        feature: Annotated[int, Query(ge=0)],
        before: Annotated[int, Query(ge=0, le=500)] = 100,
        after: Annotated[int, Query(ge=0, le=500)] = 60,
    ) -> Response:
        payloads.check_feature(catalogue, feature)
        store = catalogue.rows.store
        if document not in catalogue.rows.documents or position >= store.length(document):
            raise MonoscopeError(
                f"there is no token {position} in a catalogued document {document}", fix="follow an example's link"
            )
        tokens = payloads.excerpt(catalogue, document, position, feature, (before, after))
        return CompactJSON({"name": store.names[document], "length": store.length(document), "tokens": tokens})

    @app.get("/api/features/{feature}/direction")
    async def direction(feature: int) -> Response:
        payloads.check_feature(catalogue, feature)
        if reader is None:
            raise no_model()
        return CompactJSON(await asyncio.to_thread(reader.direction, feature))

    @app.post("/api/effects")
    async def effects(request: Request) -> Response:
        given = await bodies.body(request)
        feature = bodies.whole(given, "feature", 0, 0, len(catalogue) - 1)
        places = _places(given.get("places"))
        if reader is None:
            raise no_model()
        return CompactJSON({"effects": await asyncio.to_thread(reader.effects, feature, places)})

    @lru_cache(256)
    def measured(feature: int, concept: str) -> dict[str, Any]:
        return _told(levels(catalogue, feature))

    @app.get("/api/features/{feature}/levels")
    async def by_level(feature: int) -> Response:
        payloads.check_feature(catalogue, feature)
        concept = str(catalogue.features["label_concept"][feature])
        return CompactJSON(await asyncio.to_thread(measured, feature, concept))


def _places(given: Any) -> list[tuple[int, int, int]]:
    """Passages, as a list of [document, first token, token after the last]."""
    good = isinstance(given, list) and 0 < len(given) <= MOST_PLACES
    good = good and all(isinstance(p, list) and [type(x) for x in p] == [int, int, int] for p in given)
    if not good or any(min(p) < 0 or not 0 < p[2] - p[1] <= LONGEST_PLACE for p in given):
        raise MonoscopeError(
            f"the request names no passages: 1 to {MOST_PLACES}, of at most {LONGEST_PLACE} tokens each",
            fix='send {"feature": 0, "places": [[document, first, last]]}',
        )
    return [(document, first, last) for document, first, last in given]


def _told(found: Levels) -> dict[str, Any]:
    numbers = {
        name: [payloads.number(x) for x in getattr(found, name).tolist()]
        for name in ("edges", "fraction", "low", "high")
    }
    silent = None if math.isnan(found.silent) else payloads.number(found.silent)
    return {**numbers, "counts": found.counts.tolist(), "silent": silent, "documents": found.documents}
