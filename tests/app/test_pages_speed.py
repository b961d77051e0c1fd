"""What makes pages quick and still, counted: files asked for, what moves while they load, how often a map is drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from monoscope.app.ui import modules
from pages_visit import TEXT, Visit, until

STILL = 0.01  # the sum of layout shifts: a hundredth of what is seen moved by all of its height, or all by a hundredth
SHIFTS = """window.shifts = 0;
new PerformanceObserver((list) => list.getEntries().forEach((entry) => (window.shifts += entry.value)))
  .observe({ type: 'layout-shift', buffered: true });"""
DRAWS = """window.draws = 0;
const put = CanvasRenderingContext2D.prototype.putImageData;
CanvasRenderingContext2D.prototype.putImageData = function (...given) {
  window.draws++;
  return put.apply(this, given);
};
"""
READY = {
    "/": "document.querySelector('.card')",
    "/features": "document.querySelectorAll('select[name=by] option').length > 5 && document.querySelector('.cell.id')",
    "/feature/7": "document.querySelector('.kwic')",
    f"/read?text={quote(TEXT)}": "document.querySelector('.sheet .tok.on')",
    "/map": "document.querySelector('.map-legend')?.children.length",
}


@pytest.fixture
def visit(browser: Any, address: str) -> Iterator[Visit]:
    with Visit(browser, address, viewport={"width": 1280, "height": 800}) as found:
        found.page.add_init_script(SHIFTS + DRAWS)
        yield found
        found.check()


@pytest.mark.parametrize("path", READY, ids=[urlsplit(path).path for path in READY])
def test_a_page_that_loads_moves_nothing(visit: Visit, path: str) -> None:
    page = visit.go(path)
    until(page, READY[path])
    page.wait_for_timeout(300)
    assert page.evaluate("shifts") <= STILL


def test_every_module_is_named_in_the_page_and_asked_for_once(visit: Visit, client: Any) -> None:
    page = visit.go("/")
    until(page, READY["/"])
    asked = sorted(url.rsplit("/", 1)[1] for url in visit.requests if url.endswith(".js"))
    named = re.findall(r'rel="modulepreload" href="/static/([\w.]+)"', client.get("/").text)
    assert sorted([*named, "main.js", "theme.js"]) == asked and len(set(asked)) == len(asked) > 20


def test_imports_are_followed_each_once(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text(
        'import { b } from "./b.js";\nimport "./c.js";\nconst text = "import \\"./no.js\\"";\n'
    )
    (tmp_path / "b.js").write_text('export * from "./d.js";\nimport {\n  a,\n  c,\n} from "./a.js";\n')
    (tmp_path / "c.js").write_text('import { d } from "./d.js";\n')
    (tmp_path / "d.js").write_text("// import nothing\nexport const d = 1;\n")
    assert modules.imported(tmp_path, "a.js") == ["b.js", "c.js", "d.js"]
    page = modules.named('<script type="module" src="here/a.js"></script>', tmp_path)
    assert page.count("modulepreload") == 3 and 'href="here/d.js">\n<script type="module" src="here/a.js">' in page


def test_the_map_is_drawn_once_a_frame_however_many_events_come(visit: Visit) -> None:
    page = visit.go("/map")
    until(page, READY["/map"])
    page.wait_for_timeout(300)
    assert page.evaluate("draws") == 1
    page.evaluate("window.draws = 0")
    page.evaluate("""() => new Promise((done) => {
      const map = document.querySelector('canvas.map');
      for (let i = 0; i < 20; i++) map.dispatchEvent(new WheelEvent('wheel', { deltaY: -5, cancelable: true }));
      requestAnimationFrame(() => requestAnimationFrame(done));
    })""")
    assert page.evaluate("draws") == 1
    page.set_viewport_size({"width": 900, "height": 700})
    until(page, "document.querySelector('canvas.map').width < 900 && draws > 1")


def test_a_search_in_files_takes_apart_only_texts_that_hold_the_word(visit: Visit) -> None:
    page = visit.go("/")
    found = page.evaluate("""async () => {
      const { Columns } = await import('/static/columns.js');
      const label = ['the cat', 'Catalogue of dogs', 'scattered', 'dogs'];
      const top_tokens = [["a"], ["b"], ["cat"], ["DOG"]];
      const rows = { id: [0, 1, 2, 3], label, label_f1: [null, 0.5, null, 1], top_tokens };
      const columns = new Columns({ rows, concepts: ['', '', '', ''] });
      const ids = columns.matches('cat');
      const apart = columns.spelled.map((texts) => Object.keys(texts).map(Number));
      return { ids, apart, both: columns.matches('dog cat') };
    }""")
    assert found["ids"] == [1, 0, 2]  # "scattered" holds the word but no word of it begins so: its token does
    assert found["apart"] == [[0, 1, 2], [], [2]]
    assert found["both"] == [1]
