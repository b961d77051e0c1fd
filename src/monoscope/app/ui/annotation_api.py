"""Annotations over HTTP: read, written one at a time, and exported."""

from __future__ import annotations

from dataclasses import asdict

from fastapi import FastAPI, Request
from starlette.responses import Response

from monoscope.app.ui import bodies
from monoscope.app.ui.answers import CompactJSON
from monoscope.catalogue.annotations import Annotation, Annotations
from monoscope.errors import MonoscopeError

ENTRIES = frozenset({"feature", "label", "vote", "note", "bookmarked"})


def add_annotations(app: FastAPI, annotations: Annotations | None) -> None:
    """Add what people say of features; None: there is no folder to keep it in, and that is said when someone writes."""

    @app.get("/api/annotations")
    async def export() -> Response:
        return CompactJSON(annotations.to_json() if annotations is not None else {"annotations": []})

    @app.post("/api/annotations")
    async def put(request: Request) -> Response:
        given = await bodies.body(request)
        if annotations is None:
            raise MonoscopeError("these pages have no folder to keep annotations in", fix="serve them from a run")
        if not given.keys() <= ENTRIES or "feature" not in given:
            raise MonoscopeError(
                "the request is no annotation", fix='send {"feature": 0, "label", "vote", "note", "bookmarked"}'
            )
        return CompactJSON(asdict(annotations.put(Annotation(**given))))
