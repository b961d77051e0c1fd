"""The server of the pages: a JSON API over one catalogue, and static files. It binds to loopback."""

from __future__ import annotations

import asyncio
import math
import socket
import webbrowser
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from threading import Timer
from typing import Annotated, Any

import uvicorn
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from rich.console import Console
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from monoscope.app.atlas import Atlas
from monoscope.app.ranges import interval
from monoscope.app.ui import modules, payloads, table
from monoscope.app.ui.annotation_api import add_annotations
from monoscope.app.ui.answers import CompactJSON
from monoscope.app.ui.blind import Blind
from monoscope.app.ui.feature_api import MakeLevels, add_feature
from monoscope.app.ui.guard import Guard, refusal
from monoscope.app.ui.map_api import add_map
from monoscope.app.ui.rating_api import add_rating
from monoscope.app.ui.reading_api import ReadText, add_reading
from monoscope.catalogue.annotations import Annotations
from monoscope.catalogue.searches import ways
from monoscope.catalogue.searching import EVERYTHING, Filters
from monoscope.errors import MonoscopeError
from monoscope.interpret import specificity

STATIC = Path(__file__).parent / "static"
PAGES = ("/", "/features", "/feature/{feature}", "/read", "/rate", "/map")
FIRST_PORT = 8377
PORTS_TRIED = 50
CONNECTIONS = 1000  # at once; more are turned away
VERBATIM = ("promoted", "text")  # ways to search in which spaces at the ends count

SOON = 2.0  # seconds after the start; at once, the first page would wait for it
WARMING = "def warm(up):\n    return up\n"


def create_app(
    catalogue: Any,
    reader: Any | None,
    token: str | None = None,
    *,
    levels: MakeLevels = specificity.levels,
    annotations: Annotations | None = None,
    blind: Blind | None = None,
    atlas: Atlas | None = None,
) -> FastAPI:
    """The application over a catalogue.

    Args:
        catalogue: what ``monoscope.open_catalogue`` returns.
        reader: what knows the model, a ``Reader``; None when the model is not at hand, and what needs it says so.
        annotations: what people say of features, and where it is kept; None keeps none.
        blind: what people may rate without knowing what it is; None offers none.
        atlas: the map; None shows none.
        levels: how a label's specificity by level of activation is measured.
        token: when given, every request must carry it; see ``guard``.
    """
    app = FastAPI(
        title="Monoscope",
        lifespan=_warm(catalogue, reader, atlas),
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        default_response_class=CompactJSON,
    )
    _add_errors(app)
    _add_catalogue(app, catalogue, annotations)
    add_feature(app, catalogue, reader, levels, annotations)
    add_annotations(app, annotations)
    add_rating(app, blind)
    add_map(app, atlas)
    add_reading(app, catalogue, reader)
    _add_pages(app)
    app.add_middleware(Guard, token=token)
    return app


def _warm(
    catalogue: Any, reader: ReadText | None, atlas: Atlas | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    """Do what first requests take the longest once the first page is likely there, before a person types or clicks."""

    def work() -> None:
        if reader is not None:
            reader(WARMING)
        payloads.brief(catalogue, [0])  # reads columns
        if atlas is not None:
            atlas.prepare()

    async def later() -> None:
        await asyncio.sleep(SOON)
        with suppress(Exception):  # told when the person asks
            await asyncio.to_thread(work)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(later())
        yield
        warming.cancel()

    return lifespan


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(MonoscopeError)
    async def user_error(request: Request, error: MonoscopeError) -> JSONResponse:
        status = 404 if error.what.startswith("there is no ") else 400
        return refusal(status, error.what, error.fix or "")

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"][1:]) or "the request"
        return refusal(422, f"{name}: {first['msg'].lower()}", "correct the address and try again")

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> JSONResponse:
        return refusal(error.status_code, str(error.detail).lower(), "check the address")


def _add_catalogue(app: FastAPI, catalogue: Any, annotations: Annotations | None) -> None:
    features = table.FeatureTable(catalogue)
    summary = payloads.overview(catalogue)

    @app.get("/api/overview")
    async def overview() -> Response:
        return CompactJSON(summary)

    @app.get("/api/best")
    async def best(limit: Annotated[int, Query(ge=1, le=100)] = 12) -> Response:
        return CompactJSON({"rows": payloads.best(catalogue, limit)})

    @app.get("/api/features")
    async def rows(
        q: Annotated[str, Query(max_length=400)] = "",
        by: str = "words",
        unlike: Annotated[str, Query(max_length=400)] = "",
        sort: str = "",
        descending: bool = True,
        kind: str = "",
        min_f1: Annotated[float, Query(ge=0, le=1)] = 0.0,
        min_density: Annotated[float, Query(ge=0, le=1)] = 0.0,
        max_density: Annotated[float, Query(ge=0, le=1)] = 1.0,
        loss_effect: str = "..",
        median: str = "..",
        max: str = "..",
        bookmarked: bool = False,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=0, le=table.LONGEST_WINDOW)] = 100,
    ) -> Response:
        filters = Filters(
            density=EVERYTHING if (min_density, max_density) == (0, 1) else (min_density, max_density),
            f1=(min_f1, math.inf) if min_f1 > 0 else EVERYTHING,
            kind=kind,
            loss_effect=interval("loss_effect", loss_effect),
            median=interval("median", median),
            max=interval("max", max),
        )
        asked = table.Query(q if by in VERBATIM else q.strip(), sort, descending, filters, by, unlike)
        ids = await asyncio.to_thread(features.ids, asked)  # reading a text or a label's meaning takes a while
        said = {a.feature: asdict(a) for a in annotations.all()} if annotations is not None else {}
        if bookmarked:
            ids = ids[[said.get(i, {}).get("bookmarked", False) for i in ids.tolist()]]
        window = ids[offset : offset + limit].tolist()
        return CompactJSON(
            {"total": len(ids), "rows": [{**payloads.row(catalogue, i), "annotation": said.get(i)} for i in window]}
        )

    @app.get("/api/ways")
    async def searched() -> Response:
        return CompactJSON({"ways": [way for way in ways() if way not in table.OF_FILES]})


def _add_pages(app: FastAPI) -> None:
    index = modules.named((STATIC / "index.html").read_text(encoding="utf-8"), STATIC)

    async def page() -> Response:
        return HTMLResponse(index, headers={"Cache-Control": "no-cache"})

    for path in PAGES:
        app.add_api_route(path, page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")


def free_socket(host: str, port: int) -> socket.socket:
    """A listening socket on the first free port from ``port`` upward; 0 lets the system choose.

    Raises:
        MonoscopeError: the address is not this machine's, or every port tried is taken.
    """
    error: OSError | None = None
    for candidate in range(port, port + (PORTS_TRIED if port else 1)):
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            return socket.create_server((host, candidate), family=family)
        except (OSError, OverflowError) as problem:
            error = problem if isinstance(problem, OSError) else OSError(str(problem))
    reason = (error.strerror or str(error)) if error else "no port was tried"
    raise MonoscopeError(
        f"cannot listen on {host}, ports {port} to {port + PORTS_TRIED - 1}: {reason}",
        fix="name another port with --port, or end the program that holds it",
    )


def serve(
    app: FastAPI,
    host: str = "127.0.0.1",
    port: int = FIRST_PORT,
    open_browser: bool = True,
    token: str | None = None,
    console: Console | None = None,
    api: str = "",
) -> None:
    """Serve until Ctrl-C: finds a free port from ``port`` upward and prints the address.

    ``api`` is the path of an OpenAI-compatible API, if there is one; how clients find it is printed too.

    Raises:
        MonoscopeError: no port is free, or ``host`` is not one of this machine's addresses.
    """
    listener = free_socket(host, port)
    shown = f"[{host}]" if ":" in host else host
    origin = f"http://{shown}:{listener.getsockname()[1]}"
    url = f"{origin}/" + (f"?token={token}" if token else "")
    console = console or Console()
    console.print(f"\n  Monoscope is at [bold link={url}]{url}[/]   [dim]Ctrl-C stops it[/]\n")
    if api:
        told = f"  For programs: OPENAI_BASE_URL={origin}{api} OPENAI_API_KEY={token or 'none'}\n"
        console.print(told, highlight=False, markup=False, soft_wrap=True)
    if open_browser:
        opener = Timer(0.4, webbrowser.open, [url])  # after the server has begun to answer
        opener.daemon = True
        opener.start()
    config = uvicorn.Config(
        app, log_level="error", access_log=False, server_header=False, timeout_graceful_shutdown=2,
        limit_concurrency=CONNECTIONS,
    )  # fmt: skip
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        pass  # uvicorn raises the signal again after it has shut down; the user asked for just that
    finally:
        listener.close()
    console.print("  Monoscope has stopped.")
