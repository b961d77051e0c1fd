"""Any server that speaks OpenAI's ``/chat/completions``: hosted ones, vLLM, llama.cpp, Ollama, SGLang, LM Studio.

A request carries the prompt, ``max_tokens``, ``temperature``, ``seed`` and, for a schema, ``response_format``. A server
that refuses one of these by name is asked without it from then on (``max_completion_tokens`` in place of
``max_tokens``). The key comes from an environment variable; it goes into a header of requests to this one address and
nowhere else, and is struck out of whatever the server says.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from monoscope.errors import MonoscopeError
from monoscope.interpret.asking.retries import retry_after
from monoscope.interpret.chat import Answer, Prompt, Unanswered

KEY_VARIABLE = "OPENAI_API_KEY"
PATH = "/chat/completions"
TIMEOUT, CONNECT = 120.0, 10.0  # seconds
LARGEST = 16 << 20  # bytes of an answer; whatever is longer is none
OVERHEAD = 64  # tokens that a chat template may add to a prompt, and to each turn of it
BYTES_PER_TOKEN = 2.8  # of our questions; Mistral's Tekken was measured at 3.0 of one kind and 2.8 of the other
UNTELLING = (400, 422, 501)  # what servers answer to a parameter that they do not know
FINAL = (401, 402, 403, 404, 405)  # the key, the money, the rights or the address are wrong: for every request
AGAIN = (408, 409, 425, 429, 500, 502, 503, 504, 529)
OPTIONAL = ("response_format", "max_tokens", "temperature", "seed")


def reach(
    model: str,
    *,
    url: str,
    key_variable: str | None = None,
    timeout: float = TIMEOUT,
    concurrency: int = 8,
) -> Server:
    """Reach a model behind an address.

    Args:
        model: its name there.
        url: the address, with or without ``/chat/completions``; a query is kept.
        key_variable: the environment variable that holds the key. By default ``OPENAI_API_KEY``, if there is one.
        timeout: seconds for a whole answer.
        concurrency: requests under way at a time.

    Raises:
        MonoscopeError: the address is none, holds a password, or a named key is missing or would go unencrypted over a
            network; httpx2 is not installed; a number is out of range.
    """
    if timeout <= 0 or concurrency < 1:
        raise MonoscopeError("--timeout and --concurrency must be above 0", fix="leave them out for the defaults")
    target, local = _address(url)
    return Server(model, target, local, _key(key_variable, target, local), timeout, concurrency)


class Server:
    """One model of one server; a ``Sender`` of a prompt a call, safe to use from many threads."""

    at_once = 1

    def __init__(self, model: str, url: str, local: bool, key: str, timeout: float, workers: int) -> None:
        self.name, self.workers = model, workers
        self._url, self._key, self._timeout = url, key, timeout
        self._refused: set[str] = set()
        self._structured = False  # whether a request with response_format was ever answered
        try:
            import httpx2
        except ImportError as error:
            raise MonoscopeError(
                "asking a server needs httpx2", fix="install it: pip install 'monoscope[chat]'; or use --local"
            ) from error
        self._http = httpx2
        self._client = httpx2.Client(
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=httpx2.Timeout(timeout, connect=min(CONNECT, timeout)),
            limits=httpx2.Limits(max_connections=workers, max_keepalive_connections=workers),
            trust_env=not local,  # this machine is not reached through a proxy
            follow_redirects=False,  # a key goes to the address that was named
        )

    def tokens(self, prompt: Prompt) -> int:
        """A guess from the bytes: only the server knows its tokeniser."""
        return round(_bytes(prompt) / BYTES_PER_TOKEN) + 4 * len(prompt.messages)

    def most(self, prompt: Prompt) -> int:
        """No token is less than a byte; what a template and a schema may add is allowed for."""
        schema = len(json.dumps(prompt.schema, default=dict)) if prompt.schema else 0
        return _bytes(prompt) + schema + OVERHEAD * (1 + len(prompt.messages))

    def send(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """One request.

        Raises:
            Unanswered: no whole, proper answer came back.
        """
        (prompt,) = prompts
        body = self._body(prompt)
        status, headers, data = self._post(body)
        if status != 200:
            raise self._refusal(status, headers, data, body)
        answer = self._read(data)
        self._structured = self._structured or "response_format" in body
        return [answer]

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _body(self, prompt: Prompt) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.name,
            "messages": [{"role": m.role, "content": m.content} for m in prompt.messages],
            "max_tokens": prompt.max_tokens,
            "temperature": prompt.temperature,
            "seed": prompt.seed,
        }
        if prompt.schema is not None:
            form = {"name": "answer", "strict": True, "schema": json.loads(json.dumps(prompt.schema, default=dict))}
            body["response_format"] = {"type": "json_schema", "json_schema": form}
        for name in self._refused & body.keys():
            value = body.pop(name)
            if name == "max_tokens":
                body["max_completion_tokens"] = value
        return body

    def _post(self, body: dict[str, Any]) -> tuple[int, Any, bytes]:
        """Status, headers and body, within the timeout however slowly they drip."""
        http, ends = self._http, time.monotonic() + self._timeout
        try:
            with self._client.stream("POST", self._url, json=body) as response:
                data = b""
                for piece in response.iter_bytes():
                    data += piece
                    if time.monotonic() > ends:
                        raise Unanswered(f"no whole answer within {self._timeout:g} seconds", again=True, cost=None)
                    if len(data) > LARGEST:
                        raise Unanswered("the answer is too long to be one", cost=None)
                return response.status_code, response.headers, data
        except (http.ConnectError, http.ConnectTimeout, http.PoolTimeout) as error:
            raise Unanswered(f"no connection: {self._clean(str(error))}", again=True, sent=False) from error
        except http.TimeoutException as error:
            raise Unanswered(f"no answer within {self._timeout:g} seconds", again=True, cost=None) from error
        except (http.RequestError, http.StreamError) as error:
            why = f"the connection broke: {self._clean(str(error)) or type(error).__name__}"
            raise Unanswered(why, again=True, cost=None) from error

    def _refusal(self, status: int, headers: Any, data: bytes, body: dict[str, Any]) -> Unanswered:
        said = data.decode("utf-8", "replace")
        if status in UNTELLING:
            named = next((name for name in OPTIONAL if name in body and name in said), None)
            if named is None and "response_format" in body and not self._structured:
                named = "response_format"
            if named is not None:
                self._refused.add(named)
                return Unanswered(f"the server takes no {named}", at_once=True)
        why = f"the server answered {status}: {self._clean(_message(said))}"
        return Unanswered(
            why, again=status in AGAIN, final=status in FINAL, wait=retry_after(headers.get("retry-after"))
        )

    def _read(self, data: bytes) -> Answer:
        try:
            found = json.loads(data)
            choices = found["choices"]
            cost = _usage(found)
            if len(choices) != 1:
                raise Unanswered(f"{len(choices)} answers to one question", again=True, cost=cost)
            text = choices[0]["message"].get("content") or ""
            if not isinstance(text, str):
                raise TypeError("content is no text")
            truncated = choices[0].get("finish_reason") == "length"
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Unanswered(
                f"the server's answer is damaged: {self._clean(str(error))}", again=True, cost=None
            ) from error
        return Answer(self._strike(text), *(cost or (0, 0)), truncated)

    def _strike(self, text: str) -> str:
        """Without the key, should the server repeat it."""
        return text.replace(self._key, "[key]") if self._key else text

    def _clean(self, text: str) -> str:
        """What the server or the library said, fit for a message: without key, without address, not long."""
        parts = urlsplit(self._url)
        text = self._strike(text).replace(self._url, "[address]").replace(parts.query or self._url, "[query]")
        return " ".join(text.split())[:400]


def _usage(found: dict[str, Any]) -> tuple[int, int] | None:
    usage = found.get("usage") or {}
    asked, said = usage.get("prompt_tokens"), usage.get("completion_tokens")
    if not isinstance(asked, int) or not isinstance(said, int) or asked <= 0 or said < 0:
        return None
    return asked, said


def _bytes(prompt: Prompt) -> int:
    return sum(len(m.content.encode("utf-8", "surrogatepass")) for m in prompt.messages)


def _message(said: str) -> str:
    """The message in an error's JSON, or all of it."""
    try:
        found = json.loads(said)
        error = found.get("error", found)
        said = str(error.get("message", error)) if isinstance(error, dict) else str(error)
    except (ValueError, AttributeError):
        pass
    return said


def _address(url: str) -> tuple[str, bool]:
    """The address that requests go to, and whether it is on this machine.

    Raises:
        MonoscopeError: it is no address, or holds a name or a password.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise MonoscopeError("--url is no address", fix="write for example http://127.0.0.1:8000/v1")
    if parts.username is not None or parts.password is not None:
        raise MonoscopeError(
            "--url holds a name or password, which would be seen by others on this machine",
            fix="put the key into an environment variable and name that with --key-variable",
        )
    path = parts.path.rstrip("/")
    path = path if path.endswith(PATH) else path + PATH
    return urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")), _is_local(parts.hostname)


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _key(variable: str | None, url: str, local: bool) -> str:
    """The key, or "" where none was named and there is none, or it would travel for all to read."""
    key = os.environ.get(variable or KEY_VARIABLE, "").strip()
    if variable is not None and not key:
        raise MonoscopeError(
            "the environment variable that --key-variable names is not set",  # not said again: it may be the key itself
            fix="give the variable's name, not the key, and export it in this shell",
        )
    if key and not (key.isascii() and key.isprintable()):
        raise MonoscopeError("what the key's variable holds is no key", fix="a key is plain printable characters")
    if key and not local and url.startswith("http:"):
        if variable is None:
            return ""
        raise MonoscopeError(
            "the key would go over the network unencrypted", fix="use an https address, or leave --key-variable out"
        )
    return key
