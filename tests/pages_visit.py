"""What the tests of the pages share: a tab that remembers, waiting, and how contrast is measured."""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import urlsplit

TEXT = 'def area(radius):\n    """Return the area."""\n    return 3.14 * radius\n'
# The text of every element against what lies behind it, as WCAG 2 counts contrast; colours are painted to be read.
CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const paint = (layers) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const layer of layers) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const linear = (v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const luminance = (colour) => {
    const [r, g, b] = colour.map((v) => linear(v / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (e) => e ? [...behind(e.parentElement), getComputedStyle(e).backgroundColor] : [];
  const passed = '.ws, [hidden], .skip, .unseen, [disabled], pre[aria-hidden], option, noscript, svg';
  const bad = [];
  for (const e of document.querySelectorAll('body *')) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.getBoundingClientRect().width || e.closest(passed)) continue;
    const style = getComputedStyle(e);
    const under = behind(e);
    const [a, b] = [luminance(paint([...under, style.color])), luminance(paint(under))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < (parseFloat(style.fontSize) >= 24 ? 3 : 4.5)) {
      bad.push(`${e.tagName}.${e.className} "${e.textContent.slice(0, 30)}" ${ratio.toFixed(2)}`);
    }
  }
  return bad;
}"""


def until(page: Any, expression: str, seconds: float = 10) -> None:
    """Wait for an expression to hold; Playwright's own waiting needs ``eval``, which the pages' policy forbids."""
    deadline = time.monotonic() + seconds
    while not page.evaluate(f"!!({expression})"):
        assert time.monotonic() < deadline, expression
        time.sleep(0.01)


def point(page: Any, selector: str, shown: str, seconds: float = 30) -> None:
    """Move the mouse onto an element, as a person would again, until that which it shows is there.

    A page that grows above the element as it loads scrolls under the mouse, and scrolling puts tips away.
    """
    deadline = time.monotonic() + seconds
    while True:
        page.evaluate(f"document.querySelector('{selector}').scrollIntoView({{block: 'center'}})")
        page.mouse.move(1, 1)
        page.wait_for_timeout(100)
        page.hover(f"{selector} >> nth=0")
        page.wait_for_timeout(50)
        if page.locator(f"{shown}:not([hidden])").count():
            return
        assert time.monotonic() < deadline, f"{selector} shows no {shown}"


class Tab:
    """A page that finds nothing of those before it, as if its context were new: that would take Chromium a second."""

    def __init__(self, browser: Any, viewport: dict[str, int] | None = None, color_scheme: str = "light") -> None:
        self._shared = browser.contexts[0] if browser.contexts else browser.new_context()
        if not self._shared.pages:
            self._shared.new_page()  # stays open, and puts in order what others leave
        self.page = self._shared.new_page()
        self.page.set_viewport_size(viewport or {"width": 1280, "height": 720})
        self.page.emulate_media(color_scheme=color_scheme)
        self._origins: set[str] = set()
        self.page.on("framenavigated", lambda frame: self._origins.add("/".join(frame.url.split("/")[:3])))

    def close(self) -> None:
        """Close it, and forget its cookies and what it kept.

        The browser keeps files and compiled scripts, as a person's does: without them a visit takes half as long again.
        """
        self.page.close()
        self._shared.clear_cookies()
        keeper = self._shared.new_cdp_session(self._shared.pages[0])
        for origin in self._origins:
            keeper.send("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "local_storage,indexeddb"})
        keeper.detach()


class Visit:
    """A tab that remembers every console error and every request."""

    def __init__(self, browser: Any, address: str, **options: Any) -> None:
        self.address = address
        self.context = Tab(browser, **options)
        self.page = self.context.page
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.expected_errors = False
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda e: self.errors.append(str(e)))
        self.page.on("request", lambda r: self.requests.append(r.url))

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *failed: object) -> None:
        self.context.close()

    def go(self, path: str) -> Any:
        self.page.goto(self.address + path)
        return self.page

    def check(self) -> None:
        if not self.expected_errors:
            assert self.errors == []
        assert {urlsplit(url).netloc for url in self.requests} <= {urlsplit(self.address).netloc}
        assert self.page.evaluate("window.hacked") is None


def fits_and_can_be_read(browser: Any, address: str, path: str, scheme: str, ready: str) -> None:
    """At 360 pixels nothing sticks out, contrast is WCAG AA, everything that can be used has a name, nothing fails."""
    with Visit(browser, address, viewport={"width": 360, "height": 740}, color_scheme=scheme) as visit:
        page = visit.go(path)
        until(page, ready)
        page.wait_for_timeout(150)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert page.evaluate(CONTRAST) == []
        unnamed = "[...document.querySelectorAll('button, a, input, select, textarea')].filter((e) => "
        unnamed += "!(e.textContent.trim() || e.ariaLabel || e.labels?.length)).map((e) => e.outerHTML)"
        assert page.evaluate(unnamed) == []
        visit.check()
