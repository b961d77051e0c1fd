"""The map over HTTP: its state, its columns as numbers, one point in words, and what a search finds on it."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import FastAPI, Query
from starlette.responses import Response

from monoscope.app.atlas import Atlas
from monoscope.app.ui.answers import CompactJSON
from monoscope.errors import MonoscopeError


def add_map(app: FastAPI, atlas: Atlas | None) -> None:
    """Add the map; None: the dictionary is not at hand."""

    def present() -> Atlas:
        if atlas is None:
            raise MonoscopeError("these pages have no dictionary to make a map of", fix="serve them from a run")
        return atlas

    @app.get("/api/map")
    async def state() -> Response:
        return CompactJSON(await asyncio.to_thread(present().state))

    @app.get("/api/map/data")
    async def data() -> Response:
        return Response(await asyncio.to_thread(present().data), media_type="application/octet-stream")

    @app.get("/api/map/point/{index}")
    async def point(index: int) -> Response:
        return CompactJSON(present().point(index))

    @app.get("/api/map/search")
    async def search(q: Annotated[str, Query(min_length=1, max_length=400)]) -> Response:
        return CompactJSON({"points": await asyncio.to_thread(present().search, q.strip())})
