"""Errors as OpenAI's clients know them."""

from __future__ import annotations

from typing import Any

from starlette.responses import JSONResponse

from monoscope.errors import MonoscopeError

INVALID, STRANGE, BUSY, BROKEN = "invalid_request_error", "authentication_error", "rate_limit_error", "server_error"
TYPES = {401: STRANGE, 429: BUSY, 500: BROKEN, 503: BROKEN}


class Refused(Exception):
    """A request that is not answered: an HTTP status, what is wrong, and which parameter of the request is at fault."""

    def __init__(self, message: str, *, status: int = 400, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message, self.status, self.param, self.code = message, status, param, code

    @classmethod
    def because(cls, error: MonoscopeError, param: str | None = None) -> Refused:
        """The user's error, told to a client: what is wrong and what to do, without where on this machine."""
        return cls(f"{error.what}; {error.fix}" if error.fix else error.what, param=param)


def told(message: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The body of an error."""
    return {"error": {"message": message, "type": TYPES.get(status, INVALID), "param": param, "code": code}}


def response(error: Refused) -> JSONResponse:
    """The answer to a refused request."""
    return JSONResponse(told(error.message, error.status, error.param, error.code), status_code=error.status)


def refusal(status: int, what: str, fix: str) -> JSONResponse:
    """The same for the guard, which says what is wrong and what to do."""
    return JSONResponse(told(f"{what}; {fix}", status), status_code=status)
