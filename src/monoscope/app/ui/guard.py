"""What every request passes: loopback names only, a bounded body, a token where one is set, and strict headers.

The Host check stops DNS rebinding: a page of another site whose name is made to resolve to 127.0.0.1 still sends its
own name. The content security policy lets a page load what this server serves and nothing else.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from urllib.parse import parse_qs, urlencode

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "monoscope_token"
LONGEST_BODY = 32 * 1024  # bytes of a POST: some 10,000 tokens of text
PATIENCE = 30.0  # seconds that a body may stand still
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def refusal(status: int, what: str, fix: str) -> JSONResponse:
    """An error in the one shape that the pages and programs know: what was wrong, and what to do."""
    return JSONResponse({"error": {"what": what, "fix": fix}}, status_code=status)


def _name(host: str) -> str:
    """A Host header without its port."""
    if host.startswith("[") and "]" in host:
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def is_loopback(host: str) -> bool:
    """Whether a Host header, with or without a port, names this machine's loopback interface."""
    name = _name(host)
    if name == "localhost":
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


Refuse = Callable[[int, str, str], Response]


class _Refused(BaseException):
    """The body is refused. Not an ``Exception``: FastAPI takes any of those for a body that cannot be parsed."""

    def __init__(self, response: Response) -> None:
        self.response = response


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None = None,
        extra_host: str | None = None,
        longest_body: int = LONGEST_BODY,
        refuse: Refuse = refusal,
        patience: float = PATIENCE,
    ) -> None:
        """Guard an application.

        Args:
            app: the application.
            token: what every request must carry, if any.
            extra_host: one more name to answer to.
            longest_body: bytes that a request may hold.
            refuse: makes an error's response of its status, what is wrong and what to do.
            patience: seconds that may pass between two pieces of a body.
        """
        self.app, self.token, self.extra_host = app, token, extra_host
        self.longest_body, self.refuse, self.patience = longest_body, refuse, patience

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, refuse, or pass on one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        refused = self._refuse(scope)
        if refused is not None:
            await refused(scope, receive, send_guarded)
            return
        try:
            await self.app(scope, self._bounded(receive), send_guarded)
        except _Refused as refused_body:
            if not started:
                await refused_body.response(scope, receive, send_guarded)

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if not is_loopback(host) and (self.extra_host is None or _name(host) != self.extra_host.lower()):
            return self.refuse(
                403, "this server answers to loopback names only", "open it as http://127.0.0.1 or localhost"
            )
        origin = headers.get("origin")
        foreign = origin is not None and origin.partition("://")[2] != host
        foreign |= headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
        if scope["method"] != "GET" and foreign:
            return self.refuse(403, "the request comes from another site", "use the pages that this server serves")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self.longest_body:
            return self._too_long()
        return self._refuse_stranger(scope, headers) if self.token is not None else None

    def _refuse_stranger(self, scope: Scope, headers: Headers) -> Response | None:
        """Let in who carries the token; a page opened with ``?token=`` gets it as a cookie and a clean address."""
        assert self.token is not None
        try:
            cookie = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
        except CookieError:
            cookie = None
        given = [headers.get("authorization", "").removeprefix("Bearer "), cookie.value if cookie else ""]
        if any(_same(value, self.token) for value in given):
            return None
        query = parse_qs(scope["query_string"].decode("latin-1"))
        if scope["method"] == "GET" and _same(query.pop("token", [""])[0], self.token):
            rest = urlencode(query, doseq=True)
            response = RedirectResponse("/" + scope["path"].lstrip("/") + (f"?{rest}" if rest else ""), status_code=303)
            response.set_cookie(COOKIE, self.token, httponly=True, samesite="strict")
            return response
        return self.refuse(401, "this server asks for its token", "open the address that the terminal printed")

    def _too_long(self) -> Response:
        return self.refuse(
            413,
            f"the text is too long: at most {self.longest_body // 1024} KiB are read at once",
            "send a shorter piece",
        )

    def _bounded(self, receive: Receive) -> Receive:
        """A ``receive`` that counts what arrives, and does not wait for ever: a body may be other than it said."""
        seen, whole = 0, False

        async def bounded() -> Message:
            nonlocal seen, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(self.patience):
                    message = await receive()
            except TimeoutError:
                raise _Refused(self.refuse(408, "the rest of the request does not come", "send it at once")) from None
            seen += len(message.get("body", b""))
            whole = not message.get("more_body", False)
            if seen > self.longest_body:
                raise _Refused(self._too_long())
            return message

        return bounded


def _same(given: str, wanted: str) -> bool:
    return secrets.compare_digest(given.encode(), wanted.encode())
