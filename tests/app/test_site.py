"""The pages as files: what is written, and what a browser makes of it from a plain host and from one with ranges."""

from __future__ import annotations

import json
import re
import shutil
import threading
import zlib
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_demo import DemoCatalogue
from starlette.testclient import TestClient
from test_pages import CONTRAST, Visit, until

from monoscope import folder
from monoscope.app import cli
from monoscope.app.static_site import export as exporting
from monoscope.app.static_site.export import export
from monoscope.app.static_site.pack import PackWriter
from monoscope.app.static_site.text import BLOCK
from monoscope.app.ui.server import create_app
from monoscope.errors import MonoscopeError

CALLS = [
    "/api/overview",
    "/api/best?limit=12",
    "/api/features?sort=id&offset=120&limit=30",
    *(f"/api/features/{i}" for i in (0, 77, 299)),
]
TABLES = {  # whole tables, by the column that orders them
    "/api/features?kind=context&limit=300": "label_f1_low",
    "/api/features?sort=label_f1&descending=false&min_f1=0.9&limit=300": "label_f1",
    "/api/features?sort=density&kind=token&min_f1=0.79&limit=300": "density",
    "/api/features?sort=loss_effect&min_density=0.001&max_density=0.01&limit=300": "loss_effect",
    "/api/features?sort=max&kind=none&limit=300": "max",
    "/api/features?sort=max&loss_effect=0.01..&limit=300": "max",
    "/api/features?sort=max&loss_effect=..0&limit=300": "max",
}


class Plain(SimpleHTTPRequestHandler):
    """Python's own server, which ignores Range."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Ranged(Plain):
    """A server that answers ranges, and keeps what was asked for."""

    asked: list[tuple[str, str | None]] = []  # noqa: RUF012

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.asked.append((self.path, asked))
        if asked is None:
            return super().do_GET()
        start, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", asked).groups())
        data = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {start}-{end}/{len(data)}")
        self.send_header("Content-Length", str(end - start + 1))
        self.end_headers()
        self.wfile.write(data[start : end + 1])
        return None


@pytest.fixture(scope="module")
def site(catalogue: DemoCatalogue, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In small shards, so that every boundary is met."""
    before = PackWriter.__init__.__defaults__
    PackWriter.__init__.__defaults__ = (1 << 15,)
    try:
        return export(catalogue, tmp_path_factory.mktemp("host") / "under" / "site")
    finally:
        PackWriter.__init__.__defaults__ = before


@pytest.fixture(scope="module", params=[Plain, Ranged], ids=["plain", "ranged"])
def host(request: pytest.FixtureRequest, site: Path) -> Iterator[tuple[str, type]]:
    """The address of the site, under a path, and what serves it."""
    handler = partial(request.param, directory=str(site.parents[1]))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/under/site/", request.param
    server.shutdown()
    server.server_close()


@pytest.fixture
def visit(browser: Any, host: tuple[str, type]) -> Iterator[Visit]:
    with Visit(browser, host[0], viewport={"width": 1280, "height": 800}) as found:
        yield found
        found.check()


def answer(page: Any, path: str) -> Any:
    """What the page's own data source says."""
    ask = "async (path) => (await (await import(new URL('static/files.js', document.baseURI))).reach(path)).json()"
    return page.evaluate(ask, path)


def close(found: Any, wanted: Any) -> bool:
    """Equal, numbers to four digits."""
    if isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(close(found[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(close, found, wanted))
    if isinstance(wanted, float):
        return bool(np.isclose(found, wanted, rtol=6e-4, atol=0))
    return (
        type(found) is type(wanted) and found == wanted
        if wanted is None or isinstance(wanted, str)
        else found == wanted
    )


def test_files_answer_what_the_server_answers(visit: Visit, catalogue: DemoCatalogue) -> None:
    client = TestClient(create_app(catalogue, None), base_url="http://127.0.0.1")  # no model, and no one's notes
    page = visit.go("")
    page.wait_for_selector(".card")
    for path in CALLS:
        assert close(answer(page, path), client.get(path).json()), path
    for path, column in TABLES.items():
        found, wanted = answer(page, path)["rows"], client.get(path).json()["rows"]
        # values that agree to six digits may change places
        assert [row[column] for row in found] == [row[column] for row in wanted], path
        assert {row["id"] for row in found} == {row["id"] for row in wanted}, path
    for feature in (0, 77):
        for group in client.get(f"/api/features/{feature}").json()["groups"]:
            for example in group["examples"][:2]:
                place = f"document={example['document']}&position={example['position']}"
                path = f"/api/context?{place}&feature={feature}&before=160&after=100"
                assert close(answer(page, path), client.get(path).json()), path


def test_records_come_by_range_where_the_host_can(visit: Visit, host: tuple[str, type], site: Path) -> None:
    Ranged.asked.clear()
    page = visit.go("?/feature/5")
    page.wait_for_selector(".kwic")
    shards = [(path, asked) for path, asked in Ranged.asked if re.search(r"/\d{4}\.bin", path)]
    if host[1] is Ranged:
        assert len(shards) == 1 and shards[0][1] is not None
        start, end = map(int, shards[0][1].removeprefix("bytes=").split("-"))
        data = (site / "data" / "features" / shards[0][0].split("/")[-1].partition("?")[0]).read_bytes()
        assert json.loads(zlib.decompress(data[start : end + 1]))["id"] == 5
    else:
        assert shards == []


def test_search_filter_sort_open_and_back(visit: Visit) -> None:
    page = visit.go("")
    page.wait_for_selector(".card")
    page.click("nav a >> nth=1")
    page.wait_for_selector(".cell.label")
    assert page.url.endswith("/under/site/?/features")
    page.fill("input[type=search]", "docstring")
    until(page, "document.querySelector('.status').textContent.includes('docstring')")
    assert page.url.endswith("?/features&q=docstring")
    labels = page.locator(".cell.label").all_inner_texts()
    assert len(labels) > 3 and all("docstring" in label for label in labels)
    page.fill("input[type=search]", "")
    page.select_option("select[name=kind]", "token")
    page.click("[role=columnheader].density button")
    until(page, "document.querySelector('[role=columnheader].density').ariaSort === 'descending'")
    until(page, "document.querySelectorAll('.cell.density').length > 5")
    shares = [float(t.split()[0]) for t in page.locator(".cell.density").all_inner_texts()]
    assert shares == sorted(shares, reverse=True) and len(shares) > 5
    wanted = page.inner_text(".cell.label >> nth=1")
    page.click(".cell.label a >> nth=1")
    page.wait_for_selector(".kwic")
    assert "/under/site/?/feature/" in page.url and page.inner_text("h1") == wanted
    page.keyboard.press("j")
    until(page, "document.querySelector('.pager .hint')?.textContent.startsWith('3 of ')")
    page.go_back()
    page.wait_for_selector("[role=row].active")
    assert "kind=token" in page.url
    page.go_forward()
    page.reload()
    page.wait_for_selector(".kwic")
    page.go_back()
    page.wait_for_selector(".cell.label")
    link = page.locator(".cell.label a").first
    assert link.get_attribute("href").startswith("?/feature/")


def test_more_text_of_an_example(visit: Visit) -> None:
    page = visit.go("?/feature/1")
    page.wait_for_selector(".kwic")
    page.click(".example button >> nth=0")
    page.wait_for_selector(".more .where")
    assert "python/" in page.inner_text(".more .where")
    assert page.locator(".more .passage .tok").count() > 100


def test_hostile_text_never_becomes_markup(visit: Visit) -> None:
    page = visit.go("?/feature/0")
    page.wait_for_selector(".kwic")
    assert page.inner_text("h1") == "<img src=x onerror=alert(1)> in markup"
    page.click(".example button >> nth=0")
    page.wait_for_selector(".more .where")
    assert page.locator("main img, main script").count() == 0
    assert "<script>hostile</script>.txt" in page.inner_text(".where")
    visit.go("?/features&q=%3Cimg%20src=x%20onerror=window.hacked=1%3E")
    page.wait_for_selector(".cell.label")
    assert page.locator("main img").count() == 0


def test_what_files_cannot_do_is_said(visit: Visit) -> None:
    page = visit.go("?/read")
    page.wait_for_selector(".problem")
    assert "cannot read new text" in page.inner_text(".problem") and "monoscope ui RUN" in page.inner_text(".problem")
    visit.go("?/feature/300")
    page.wait_for_selector(".problem")
    assert "there is no feature 300" in page.inner_text(".problem")
    visit.go("?/nowhere")
    page.wait_for_selector(".problem")
    assert "no such page" in page.inner_text(".problem")


def test_every_page_fits_360_pixels_and_can_be_read(browser: Any, host: tuple[str, type]) -> None:
    scheme = "dark" if host[1] is Plain else "light"
    with Visit(browser, host[0], viewport={"width": 360, "height": 740}, color_scheme=scheme) as visit:
        for place in ("", "?/features", "?/feature/1", "?/feature/299", "?/read"):
            page = visit.go(place)
            until(page, "!document.querySelector('.skeleton') && !document.querySelector('main > .none')")
            page.wait_for_timeout(150)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), place
            assert page.evaluate(CONTRAST) == [], place
        visit.check()


def test_a_damaged_or_missing_file_is_said(browser: Any, catalogue: DemoCatalogue, site: Path, tmp_path: Path) -> None:
    shutil.copytree(site, tmp_path / "site")
    shard = tmp_path / "site" / "data" / "features" / "0000.bin"
    shard.write_bytes(shard.read_bytes()[:-200] + bytes(200))
    (tmp_path / "site" / "data" / "table.bin").unlink()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Plain, directory=str(tmp_path / "site")))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with Visit(browser, f"http://127.0.0.1:{server.server_port}/") as visit:
        first_missing = json.loads((site / "data" / "site.json").read_text())["packs"]["features"]["firsts"][1]
        page = visit.go(f"?/feature/{first_missing - 1}")
        page.wait_for_selector(".problem")
        assert "0000.bin of this site is damaged" in page.inner_text(".problem")
        visit.go("?/features")
        page.wait_for_selector("#notice:not([hidden])")
        assert "table.bin is missing" in page.inner_text("#notice")
    server.shutdown()
    server.server_close()


def test_the_page_keeps_to_itself(site: Path) -> None:
    page = (site / "index.html").read_text()
    assert not re.search(r'(href|src)="/', page) and "Content-Security-Policy" in page
    assert "unsafe" not in page and not re.search(r"https?://", page)
    assert folder.verify(site) == []
    listed = set(folder.manifest_of(site)["files"]) | {"manifest.json"}
    assert listed == {str(p.relative_to(site)) for p in site.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def small() -> DemoCatalogue:
    return DemoCatalogue(30)


def test_the_same_catalogue_gives_the_same_bytes(small: DemoCatalogue, tmp_path: Path) -> None:
    for name in ("a", "b"):
        export(small, tmp_path / name)
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*") if p.is_file())
    assert files == sorted(p.relative_to(tmp_path / "b") for p in (tmp_path / "b").rglob("*") if p.is_file())
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_only_its_own_folders_are_replaced(
    small: DemoCatalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    (tmp_path / "file").write_text("x")
    for name in ("mine", "file"):
        with pytest.raises(MonoscopeError, match="no static site that monoscope wrote"):
            export(small, tmp_path / name)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    (tmp_path / "site").mkdir()  # empty: nothing to lose
    export(small, tmp_path / "site")
    before = (tmp_path / "site" / "data" / "site.json").read_bytes()
    real = exporting.record

    def stopped(catalogue: Any, feature: int) -> Any:
        if feature == 20:
            raise KeyboardInterrupt
        return real(catalogue, feature)

    monkeypatch.setattr(exporting, "record", stopped)
    with pytest.raises(KeyboardInterrupt):
        export(small, tmp_path / "site")
    assert folder.verify(tmp_path / "site") == [] and (tmp_path / "site" / "data" / "site.json").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "mine", "site"]
    monkeypatch.undo()
    monkeypatch.setattr(exporting, "BEST", 1)
    export(small, tmp_path / "site")
    assert len(json.loads((tmp_path / "site" / "data" / "site.json").read_text())["best"]) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "mine", "site"]


def test_a_pack_holds_what_was_put_in(tmp_path: Path) -> None:
    pack = PackWriter(tmp_path / "pack", shard=300)
    values = [None if i % 5 == 3 else {"i": i, "text": "é" * (i % 40)} for i in range(50)]
    for value in values:
        pack.add(value)
    facts = pack.close()
    lengths = np.frombuffer(zlib.decompress((tmp_path / "pack" / "index.bin").read_bytes()), "<u4")
    assert facts["records"] == len(lengths) == 50 and len(facts["firsts"]) > 3
    for shard, first in enumerate(facts["firsts"]):
        last = [*facts["firsts"], 50][shard + 1]
        data = (tmp_path / "pack" / f"{shard:04d}.bin").read_bytes()
        assert len(data) == lengths[first:last].sum()
        for i in range(first, last):
            piece, data = data[: lengths[i]], data[lengths[i] :]
            assert (json.loads(zlib.decompress(piece)) if piece else None) == values[i]


def test_text_is_kept_only_around_examples(catalogue: DemoCatalogue, site: Path) -> None:
    lengths = np.frombuffer(zlib.decompress((site / "data" / "text" / "index.bin").read_bytes()), "<u4")
    assert len(lengths) == sum(-(-len(spans) // BLOCK) for spans in catalogue.corpus.spans)


def test_the_verb_needs_a_finished_catalogue(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(["catalogue", str(tmp_path), "--html", str(tmp_path / "site")])
    assert exit_.value.code == 2 and "no finished catalogue" in capsys.readouterr().err
