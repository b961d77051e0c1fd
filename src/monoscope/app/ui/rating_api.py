"""Blind rating over HTTP: what to rate next, a rating, and the report."""

from __future__ import annotations

import asyncio

from fastapi import FastAPI, Request
from starlette.responses import Response

from monoscope.app.ui import bodies
from monoscope.app.ui.answers import CompactJSON
from monoscope.app.ui.blind import Blind
from monoscope.errors import MonoscopeError

LAST = 2**31


def add_rating(app: FastAPI, blind: Blind | None) -> None:
    """Add blind rating; None: there is no folder to keep ratings in."""

    def present() -> Blind:
        if blind is None:
            raise MonoscopeError("these pages have no folder to keep ratings in", fix="serve them from a run")
        return blind

    @app.get("/api/rating")
    async def following() -> Response:
        return CompactJSON(await asyncio.to_thread(present().next))

    @app.post("/api/rating")
    async def rate(request: Request) -> Response:
        given = await bodies.body(request)
        item = bodies.whole(given, "item", -1, 0, LAST)
        scores = {name: value for name, value in given.items() if name != "item"}
        return CompactJSON(await asyncio.to_thread(present().rate, item, scores))

    @app.get("/api/rating/report")
    async def reported() -> Response:
        return CompactJSON(await asyncio.to_thread(present().report))
