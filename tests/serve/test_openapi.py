"""Whatever the OpenAPI document allows is answered as it says, and what it does not allow is refused as it says."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from serve_live import TOKEN, Live
from serve_world import VOCABULARY

from monoscope.serve import documented

POSTS = ["/v1/completions", "/v1/chat/completions", "/v1/embeddings"]
ANSWERS = {
    "/v1/completions": documented.Completion,
    "/v1/chat/completions": documented.ChatCompletion,
    "/v1/embeddings": documented.Embeddings,
}
fuzzed = settings(max_examples=16, deadline=None, suppress_health_check=list(HealthCheck))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
anything = st.recursive(
    scalars, lambda s: st.lists(s, max_size=3) | st.dictionaries(st.text(max_size=5), s, max_size=3), max_leaves=6
)


client = httpx2.Client(headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}, timeout=30)


@pytest.fixture(autouse=True, scope="module")
def closed() -> Iterator[None]:
    """One connection for all requests."""
    yield
    client.close()


def document(live: Live) -> Any:
    return client.get(f"{live.address}/openapi.json").json()


def values(schema: Any, whole: Any) -> st.SearchStrategy[Any]:
    """What a JSON schema allows, of the parts that FastAPI writes."""
    if "$ref" in schema:
        return values(whole["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]], whole)
    if "anyOf" in schema:
        return st.one_of([values(one, whole) for one in schema["anyOf"]])
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    return KINDS[schema["type"]](schema, whole) if "type" in schema else anything


def numbers(schema: Any, whole: Any) -> st.SearchStrategy[Any]:
    low, high = schema.get("minimum"), schema.get("maximum")
    low = low if low is not None else schema.get("exclusiveMinimum")
    high = high if high is not None else schema.get("exclusiveMaximum")
    if schema["type"] == "integer":
        high = high - 1 if "exclusiveMaximum" in schema else high
        return st.integers(low, min(high, 2**63 - 1) if high is not None else 10_000)
    return st.floats(low, high, exclude_min="exclusiveMinimum" in schema, allow_nan=False, allow_infinity=False)


def objects(schema: Any, whole: Any) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        return st.dictionaries(st.text(max_size=5), anything, max_size=schema.get("maxProperties", 2))
    required = schema.get("required", [])
    parts = {name: values(part, whole) for name, part in schema["properties"].items()}
    return st.fixed_dictionaries(
        {name: parts[name] for name in required}, optional={n: s for n, s in parts.items() if n not in required}
    )


KINDS: dict[str, Any] = {
    "integer": numbers,
    "number": numbers,
    "object": objects,
    "string": lambda s, w: st.text(min_size=s.get("minLength", 0), max_size=min(s.get("maxLength", 12), 12)),
    "boolean": lambda s, w: st.booleans(),
    "null": lambda s, w: st.none(),
    "array": lambda s, w: st.lists(
        values(s.get("items", {}), w), min_size=s.get("minItems", 0), max_size=min(s.get("maxItems", 3), 3)
    ),
}


def post(live: Live, path: str, body: Any) -> httpx2.Response:
    try:
        encoded = json.dumps(body).encode()
    except ValueError:
        assume(False)
    return client.post(live.address + path, content=encoded)


def check(live: Live, path: str, found: httpx2.Response, streamed: bool) -> None:
    """The status is one of the document's, and the body is what the document says of it."""
    assert found.status_code == 200 or 400 <= found.status_code < 500, found.text
    if found.status_code != 200:
        assert documented.ErrorBody.model_validate_json(found.text).error.message
    elif streamed:
        lines = found.text.split("\n\n")
        assert lines[-2:] == ["data: [DONE]", ""] and all(line.startswith("data: {") for line in lines[:-2])
        if path == "/v1/completions":
            for line in lines[:-2]:
                documented.Completion.model_validate_json(line[6:])
    else:
        TypeAdapter(ANSWERS[path]).validate_json(found.text)
    assert live.engine.alive


@pytest.mark.parametrize("path", POSTS)
def test_what_is_allowed_is_answered(served: Live, path: str) -> None:
    whole = document(served)
    schema = whole["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]

    @fuzzed
    @given(values(schema, whole), st.integers(1, 6))
    def run(body: Any, most: int) -> None:
        body["model"] = "reference-a"
        for name in ("steer",):
            body[name] = None if body.get(name) is None else ["one", "two"][len(body[name]) % 2]
            body.pop(name) if path == "/v1/embeddings" else None
        if path != "/v1/embeddings":
            body["n"] = None if body.get("n") is None else 1 + body["n"] % 3
            if path == "/v1/completions":
                body["max_tokens"] = most
            else:
                body["max_completion_tokens"], body["max_tokens"] = most, None
        for name in ("prompt", "input"):
            body |= {name: within(body[name])} if name in body else {}
        found = post(served, path, body)
        check(served, path, found, bool(body.get("stream")))
        empty = not all(body.get("prompt") or body.get("input") or [1])
        pointless = body.get("top_logprobs") and not body.get("logprobs")
        if found.status_code != 200:
            assert empty or pointless or "empty" in found.text or path == "/v1/chat/completions", (body, found.text)

    run()
    served.idle()


def within(given: Any) -> Any:
    """Tokens as ones of the vocabulary."""
    return (
        [within(g) for g in given]
        if isinstance(given, list)
        else given % VOCABULARY
        if isinstance(given, int)
        else given
    )


@pytest.mark.parametrize("path", POSTS)
def test_what_is_not_allowed_is_refused_and_nothing_breaks(served: Live, path: str) -> None:
    whole = document(served)
    schema = whole["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    names = list(whole["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]["properties"])

    @fuzzed
    @given(values(schema, whole), st.sampled_from([*names, "path", "chat_template"]), anything)
    def run(body: Any, name: str, value: Any) -> None:
        body |= {"model": "reference-a", name: value}
        body["n"], body["max_tokens"] = 1, 2
        found = post(served, path, body)
        check(served, path, found, bool(body.get("stream")))
        if name in ("path", "chat_template"):
            assert found.status_code == 400 and name in found.text

    run()
    served.idle()


@given(anything)
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_json_is_answered_in_the_documents_words(served: Live, body: Any) -> None:
    for path in POSTS:
        found = post(served, path, body)
        assert found.status_code == 400 and documented.ErrorBody.model_validate_json(found.text)


def test_the_document_names_every_route_and_its_errors(served: Live) -> None:
    paths = document(served)["paths"]
    assert set(paths) == {*POSTS, "/v1/models", "/v1/models/{name}", "/health", "/metrics"}
    for held in paths.values():
        for operation in held.values():
            assert {"200", "4XX", "5XX"} <= set(operation["responses"]) and "422" not in operation["responses"]
            error = operation["responses"]["4XX"]["content"]["application/json"]["schema"]
            assert error == {"$ref": "#/components/schemas/ErrorBody"}
    for path, model in (("/v1/models", documented.Models), ("/v1/models/reference-a", documented.Model)):
        found = httpx2.get(served.address + path, headers={"Authorization": f"Bearer {TOKEN}"})
        model.model_validate_json(found.text)
    found = httpx2.get(served.address + "/health", headers={"Authorization": f"Bearer {TOKEN}"})
    assert documented.Health.model_validate_json(found.text).status == "ok"
