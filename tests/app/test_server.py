from __future__ import annotations

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_demo import DemoCatalogue
from starlette.testclient import TestClient

from monoscope.app.ui import server
from monoscope.app.ui.guard import LONGEST_BODY, is_loopback
from monoscope.app.ui.server import create_app
from monoscope.errors import MonoscopeError


def error(response: Any) -> dict[str, str]:
    """The one shape of all errors."""
    found = response.json()["error"]
    assert set(found) == {"what", "fix"} and found["what"]
    return found


def test_overview(client: TestClient, catalogue: DemoCatalogue) -> None:
    found = client.get("/api/overview").json()
    density = catalogue.features["density"]
    assert (found["n_features"], found["alive"], found["dead"]) == (300, (density > 0).sum(), (density == 0).sum())
    assert found["n_tokens"] == int(catalogue.corpus.offsets[-1]) and found["n_documents"] == 11
    histogram = found["density_histogram"]
    assert sum(histogram["counts"]) == found["alive"] and len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert np.allclose(np.diff(np.log(histogram["edges"])), np.diff(np.log(histogram["edges"]))[0], rtol=1e-3)
    assert found["evaluation"]["metrics"]["fvu"]["value"] == 0.12
    f1, kind = catalogue.features["label_f1"], catalogue.features["label_kind"]
    assert found["labels"]["context"]["f1_80"] == sum(
        k == "context" and f >= 0.8 for k, f in zip(kind, f1, strict=True)
    )


def test_feature(client: TestClient, catalogue: DemoCatalogue) -> None:
    found = client.get("/api/features/5").json()
    values = catalogue._values[5]
    assert found["n_active"] == (values > 0).sum() == sum(found["histogram"]["counts"])
    assert found["quantiles"]["0.5"] == pytest.approx(np.median(values[values > 0]), rel=1e-4)
    top = found["groups"][0]["examples"][0]
    assert found["groups"][0]["name"] == "top" and top["value"] == pytest.approx(values.max(), rel=1e-4)
    shown = next(t for t in top["tokens"] if t["position"] == top["position"])
    assert shown["value"] == top["value"]
    text = catalogue.corpus.texts[top["document"]].decode()
    assert "".join(t["text"] for t in top["tokens"]) in text
    assert found["label"]["trust"] in ("strong", "fair", "weak") and "held" not in found["label"]["words"]


def test_what_is_computed_when_a_feature_is_looked_at(client: TestClient, reader: Any) -> None:
    assert client.get("/api/features/5/direction").json() == reader.direction(5)
    levels = client.get("/api/features/1/levels").json()
    assert levels["counts"] == [40, 20, 0, 9, 1] and levels["fraction"][2] is None and levels["low"][4] is None
    found = client.post("/api/effects", json={"feature": 1, "places": [[2, 0, 3], [3, 5, 6]]}).json()["effects"]
    assert [len(e) for e in found] == [3, 1] and found[0][0] is None
    told = client.get("/api/features/1").json()["explanations"]
    assert [e["verdict"] for e in told] == [
        "Better than every control by detection.",
        "Not tested. Read it as a guess.",
    ]


@pytest.mark.parametrize(
    "places",
    [
        None,
        [],
        "x",
        [[1, 2]],
        [[0, 1, 1]],
        [[0, 0, 2000]],
        [[0.5, 0, 1]],
        [[True, 0, 1]],
        [[-1, 0, 1]],
        [[0, 0, 1]] * 121,
    ],
)
def test_effects_on_nonsense_are_refused(client: TestClient, places: Any) -> None:
    response = client.post("/api/effects", json={"feature": 1, "places": places})
    assert response.status_code == 400
    error(response)


def test_a_dead_feature_has_a_page(client: TestClient) -> None:
    found = client.get("/api/features/299").json()
    assert found["label"] is None and found["n_active"] == 0 and found["loss_effect"] is None and found["groups"] == []


def test_context_is_wider_and_says_where(client: TestClient) -> None:
    found = client.get("/api/context", params={"document": 2, "position": 40, "feature": 5, "before": 30, "after": 9})
    assert len(found.json()["tokens"]) == 40 and found.json()["name"] == "python/bisect.py"
    first = client.get("/api/context", params={"document": 2, "position": 1, "feature": 5, "before": 30, "after": 9})
    assert [t["position"] for t in first.json()["tokens"]] == list(range(11))


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/features/300", 404),
        ("/api/features/-1", 404),
        ("/api/features/99999999999999999999999", 404),
        ("/api/features/abc", 422),
        ("/api/features/300/direction", 404),
        ("/api/features/300/levels", 404),
        ("/api/features/299/levels", 400),
        ("/api/context?document=11&position=0&feature=0", 404),
        ("/api/context?document=0&position=99999999&feature=0", 404),
        ("/api/context?document=0&position=0&feature=300", 404),
        ("/api/context?document=0&position=0&feature=0&before=501", 422),
        ("/api/features?sort=evil", 400),
        ("/api/features?kind=evil", 400),
        ("/api/features?min_f1=nan", 422),
        ("/api/features?limit=501", 422),
        ("/api/features?offset=-1", 422),
        ("/api/features?min_density=0.5&max_density=0.1", 400),
        ("/api/features?q=" + "x" * 401, 422),
        ("/api/nothing", 404),
        ("/nothing", 404),
        ("/static/../server.py", 404),
        ("/static/%2e%2e/server.py", 404),
        ("/static/..%2fserver.py", 404),
        ("/static/%2e%2e%2f%2e%2e%2f%2e%2e%2fpyproject.toml", 404),
        ("/static//etc/passwd", 404),
        ("/static/", 404),
        ("/docs", 404),
        ("/openapi.json", 404),
    ],
)
def test_what_is_wrong_is_said(client: TestClient, path: str, status: int) -> None:
    response = client.get(path)
    assert response.status_code == status
    error(response)


@pytest.mark.parametrize(
    "path", ["/", "/features?q=x", "/feature/3", "/read?text=x", "/static/main.js", "/static/base.css"]
)
def test_pages_come_with_strict_headers(client: TestClient, path: str) -> None:
    response = client.get(path)
    assert response.status_code == 200
    assert response.headers["x-content-type-options"] == "nosniff"
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy


def test_static_files_ask_for_nothing_outside_and_never_parse_data() -> None:
    for path in sorted(server.STATIC.iterdir()):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", text), path
        if path.suffix == ".js":
            found = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function", text)
            assert found is None, path


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:8377", True),
        ("localhost:8377", True),
        ("LOCALHOST", True),
        ("[::1]:8377", True),
        ("127.8.9.1", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example:8377", False),
        ("localhost.evil.example", False),
        ("192.168.0.4", False),
        ("0.0.0.0", False),
        ("", False),
        ("[::1", False),
        ("127.1@evil.example", False),
    ],
)
def test_only_loopback_names_are_answered(client: TestClient, host: str, allowed: bool) -> None:
    assert is_loopback(host) is allowed
    response = client.get("/api/overview", headers={"host": host})
    assert response.status_code == (200 if allowed else 403)
    assert response.headers["x-content-type-options"] == "nosniff"


def test_annotations_are_kept_shown_and_filtered_by(client: TestClient) -> None:
    said = {"feature": 7, "label": "mine", "vote": 1, "note": "why", "bookmarked": True}
    kept = client.post("/api/annotations", json=said).json()
    assert {**kept, "changed": ""} == {**said, "changed": ""} and kept["changed"]
    assert client.get("/api/features/7").json()["annotation"] == kept
    assert kept in client.get("/api/annotations").json()["annotations"]
    found = client.get("/api/features?bookmarked=true").json()
    assert (
        [row["id"] for row in found["rows"]] == [7] and found["total"] == 1 and found["rows"][0]["annotation"] == kept
    )
    client.post("/api/annotations", json={"feature": 7})
    assert client.get("/api/features?bookmarked=true").json() == {"total": 0, "rows": []}


@pytest.mark.parametrize(
    "entry",
    [{}, {"feature": 300}, {"feature": "1"}, {"feature": 1, "vote": 2}, {"feature": 1, "note": "x" * 4001},
     {"feature": 1, "evil": 1}, {"feature": 1, "changed": "never"}, {"feature": 1, "label": None}],
)  # fmt: skip
def test_annotations_of_nonsense_are_refused(client: TestClient, entry: dict[str, Any]) -> None:
    response = client.post("/api/annotations", json=entry)
    assert response.status_code == 400
    error(response)


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_a_browser_that_says_it_is_elsewhere_cannot_post(client: TestClient, site: str) -> None:
    response = client.post("/api/annotations", json={"feature": 1, "label": "x"}, headers={"sec-fetch-site": site})
    assert response.status_code == 403
    null = client.post("/api/annotations", json={"feature": 1, "label": "x"}, headers={"origin": "null"})
    assert null.status_code == 403 and client.get("/api/features/1").json()["annotation"]["label"] == ""


def test_another_site_cannot_post(client: TestClient) -> None:
    foreign = client.post("/api/read", json={"text": "x"}, headers={"origin": "http://evil.example"})
    assert foreign.status_code == 403
    own = client.post("/api/read", json={"text": "x"}, headers={"origin": "http://127.0.0.1:8377"})
    assert own.status_code == 200


def test_reading(client: TestClient) -> None:
    text = "def é(x):\n\treturn '🐍'\n"
    tokens = client.post("/api/read", json={"text": text}).json()["tokens"]
    assert "".join(t["text"] for t in tokens) == text
    for token in tokens:
        assert text.encode()[token["start"] : token["end"]].decode() == token["text"]
        assert set(token) == {"text", "start", "end", "features"}
        values = [f["value"] for f in token["features"]]
        assert values == sorted(values, reverse=True)
        assert all(set(f) == {"id", "value", "label", "label_f1"} for f in token["features"])
    assert client.post("/api/read", json={"text": ""}).json() == {"tokens": []}
    few = client.post("/api/read", json={"text": text, "strongest": 2, "feature": 5}).json()["tokens"]
    for token, whole in zip(few, tokens, strict=True):
        ids = [f["id"] for f in whole["features"]]
        assert [f["id"] for f in token["features"]] == [i for k, i in enumerate(ids) if k < 2 or i == 5]


def test_what_the_pages_are_told_of_features(client: TestClient, catalogue: DemoCatalogue) -> None:
    found = client.post("/api/read", json={"text": "def f", "strongest": 3}).json()
    ids = {str(f["id"]) for t in found["tokens"] for f in t["features"]}
    assert found["evidence"].keys() == ids
    assert found["evidence"]["1"]["label_f1_low"] == pytest.approx(catalogue.features["label_f1_low"][1], rel=1e-5)


def test_two_texts_are_lined_up(client: TestClient, reader: Any) -> None:
    found = client.post("/api/contrast", json={"text": "def f(x) def", "other": "def f()"}).json()
    sides = [{f["id"] for t in reader(text)["tokens"] for f in t["features"]} for text in ("def f(x) def", "def f()")]
    ids = {name: [row["id"] for row in found[name]["features"]] for name in ("first", "second", "both")}
    assert set(ids["first"]) == sides[0] - sides[1] and set(ids["second"]) == sides[1] - sides[0]
    assert set(ids["both"]) == sides[0] & sides[1] and found["both"]["total"] == len(ids["both"])
    for name in ids:
        differences = [abs(row["difference"]) for row in found[name]["features"]]
        assert differences == sorted(differences, reverse=True)
        for row in found[name]["features"]:
            assert row["difference"] == pytest.approx((row["values"][1] or 0) - (row["values"][0] or 0))
    assert {str(i) for row in ids.values() for i in row} == found["evidence"].keys()
    empty = client.post("/api/contrast", json={"text": "", "other": ""}).json()
    assert [empty[name]["total"] for name in ids] == [0, 0, 0]


def test_a_continuation_comes_line_by_line(client: TestClient) -> None:
    asked = {"text": "def f", "count": 5, "strongest": 2, "temperature": 1.0, "seed": 3}
    lines = [json.loads(line) for line in client.post("/api/continue", json=asked).text.splitlines()]
    assert len(lines) == 5 and all(len(line["token"]["features"]) == 2 for line in lines)
    assert [json.loads(x) for x in client.post("/api/continue", json=asked).text.splitlines()] == lines


@pytest.mark.parametrize(
    "entry",
    [
        {"count": 0},
        {"count": 257},
        {"count": True},
        {"temperature": -1},
        {"temperature": "x"},
        {"seed": 1.5},
        {"text": 3},
    ],
)
def test_a_continuation_of_nonsense_is_refused(client: TestClient, entry: dict[str, Any]) -> None:
    response = client.post("/api/continue", json={"text": "x", **entry})
    assert response.status_code == 400
    error(response)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"text": 3}',
        b'{"txt": ""}',
        b'{"text": "", "strongest": "x"}',
        b"\xff\xfe",
        b"[" * 20_000,
    ],
)
def test_a_body_that_is_no_text_is_refused(client: TestClient, body: bytes) -> None:
    response = client.post("/api/read", content=body)
    assert response.status_code == 400
    error(response)


def test_too_long_a_text_is_413(client: TestClient) -> None:
    response = client.post("/api/read", json={"text": "x" * LONGEST_BODY})
    assert response.status_code == 413 and "KiB" in error(response)["what"]

    def pieces() -> Any:  # chunked: no length is announced
        yield b'{"text": "'
        for _ in range(10):
            yield b"x" * (LONGEST_BODY // 8)
        yield b'"}'

    assert client.post("/api/read", content=pieces()).status_code == 413
    assert client.post("/api/read", json={"text": "x" * (LONGEST_BODY - 100)}).status_code == 200


def test_without_a_model_reading_says_what_to_do(catalogue: DemoCatalogue) -> None:
    client = TestClient(create_app(catalogue, None), base_url="http://localhost")
    response = client.post("/api/read", json={"text": "x"})
    assert response.status_code == 400 and "--model" in error(response)["fix"]
    assert client.post("/api/continue", json={"text": "x"}).status_code == 400
    assert client.get("/api/features/1/direction").status_code == 400
    assert client.post("/api/annotations", json={"feature": 1}).status_code == 400
    assert client.get("/api/rating").status_code == client.get("/api/map").status_code == 400
    assert client.get("/api/features/1").json()["model_at_hand"] is False


def test_what_first_requests_take_the_longest_is_done_before_them(
    catalogue: DemoCatalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "SOON", 0)
    done, told = [], threading.Event()

    class Prepared:
        def prepare(self) -> None:
            done.append("map")
            told.set()

    app = create_app(catalogue, lambda text: done.append(text), atlas=Prepared())  # type: ignore[arg-type]
    with TestClient(app, base_url="http://localhost"):
        assert told.wait(10)
    assert len(done) == 2 and "def " in done[0] and done[1] == "map"


def test_a_token_is_asked_for_where_one_is_set(catalogue: DemoCatalogue, reader: Any) -> None:
    client = TestClient(create_app(catalogue, reader, token="sesame"), base_url="http://localhost")
    assert client.get("/api/overview").status_code == 401
    assert client.get("/?token=wrong").status_code == 401
    assert client.get("/api/overview", headers={"authorization": "Bearer sesame"}).status_code == 200
    entered = client.get("/features?q=a%20b&token=sesame", follow_redirects=False)
    assert entered.status_code == 303 and entered.headers["location"] == "/features?q=a+b"
    assert "HttpOnly" in entered.headers["set-cookie"] and "samesite=strict" in entered.headers["set-cookie"].lower()
    assert client.get("/api/overview").status_code == 200
    away = TestClient(create_app(catalogue, reader, token="sesame"), base_url="http://localhost")
    assert away.get("//evil.example?token=sesame", follow_redirects=False).headers.get("location", "/x")[:2] != "//"


def test_a_taken_port_is_passed_over() -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with contextlib.closing(server.free_socket("127.0.0.1", port)) as found:
            assert port < found.getsockname()[1] < port + server.PORTS_TRIED
    with pytest.raises(MonoscopeError, match=r"cannot listen on 203\.0\.113\.1"):
        server.free_socket("203.0.113.1", 8377)


def test_serving_prints_its_address_and_ends_with_ctrl_c() -> None:
    program = textwrap.dedent(
        f"""
        import sys
        sys.path.insert(0, {str(Path(__file__).parent)!r})
        from app_demo import DemoCatalogue
        from monoscope.app.ui.server import create_app, serve
        serve(create_app(DemoCatalogue(20), None), open_browser=False)
        """
    )
    running = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        assert running.stdout is not None
        line = next(line for line in running.stdout if "http://" in line)
        url = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert url is not None
        deadline = time.monotonic() + 10
        while True:
            try:
                with urllib.request.urlopen(f"{url[0]}api/overview", timeout=5) as response:
                    assert json.load(response)["n_features"] == 20
                break
            except ConnectionError:
                assert time.monotonic() < deadline
        running.send_signal(signal.SIGINT)
        out, err = running.communicate(timeout=10)
    finally:
        running.kill()
        running.communicate()
    assert running.returncode == 0 and err == "" and "stopped" in out
