"""How long the pages of a large run take in a browser, served by ``monoscope ui`` and exported as files.

    python benchmarks/bench_pages.py make DIR [--features 100000]     # 15 minutes of CPU, 2 GB: see large_run.py
    python benchmarks/bench_pages.py time DIR [--turns 5] [--only map] [--json FILE]

``time`` starts both servers and opens every kind of page in headless Chromium, in turns, each in a new browser context,
so that nothing is cached. The first visit after the servers began is told apart. Of a visit it reports

- first paint: the first contentful one (FCP), ms after the navigation began
- content: when what the page is for stands there (rows, examples, coloured tokens, points) and a frame was drawn, ms
- shift: the sum of all layout shifts until a second after that (CLS is at most this)
- main, server: ms of CPU of the page's main thread, of the server's process
- KB and requests until then

and of the map the time between frames while it is dragged and zoomed, with four events a frame, how often it was drawn
a frame, and the CPU of the main thread a frame, of which the page's own scripts take a part. Headless Chromium
rasterises and composites on the CPU, in other threads and processes; 16.7 ms between frames is the least there is. CPU
is what can be compared where other work runs beside: all other times grow with it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from monoscope import folder

TEXT = "def area(radius):\n    if radius < 0:\n        raise ValueError('negative')\n    return 3.14 * radius ** 2\n"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
SIZE = {"width": 1280, "height": 800}
AFTER = 1000  # ms in which a page may still shift
NUMBERS = ("first_paint", "content", "shift", "main", "server", "kb", "requests")
FRAMES = 90
PYTHON = [sys.executable, "-m"]

WATCH = """(() => {
  const seen = (window.seen = { shift: 0, content: null, painted: 0 });
  const put = CanvasRenderingContext2D.prototype.putImageData;
  CanvasRenderingContext2D.prototype.putImageData = function (...given) {
    seen.painted++;
    return put.apply(this, given);
  };
  new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) seen.shift += entry.value;
  }).observe({ type: "layout-shift", buffered: true });
  const look = () => {
    if (READY) requestAnimationFrame(() => (seen.content = performance.now()));
    else requestAnimationFrame(look);
  };
  look();
})()"""

TOLD = """() => ({
  ...window.seen,
  first_paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? null,
})"""

# Drags the map in a circle, or zooms in and out; four events a frame.
MOVE = """([name, frames]) => new Promise((done) => {
  const map = document.querySelector("canvas.map");
  const box = map.getBoundingClientRect();
  const [x, y] = [box.left + box.width / 2, box.top + box.height / 2];
  const at = (dx, dy) => ({ clientX: x + dx, clientY: y + dy, bubbles: true, cancelable: true });
  const pointer = (name, ...by) => map.dispatchEvent(new PointerEvent(name, { ...at(...by), pointerId: 1 }));
  map.setPointerCapture = () => {}; // there is no such pointer
  const pan = (t) => pointer("pointermove", 120 * Math.sin(t / 10), 80 * Math.cos(t / 10));
  const wheel = (deltaY) => map.dispatchEvent(new WheelEvent("wheel", { ...at(0, 0), deltaY }));
  const zoom = (t) => wheel(t < frames / 2 ? -14 : 14);
  const act = name === "pan" ? pan : zoom;
  const [between, before] = [[], seen.painted];
  if (name === "pan") pointer("pointerdown", 0, 0);
  let [i, last] = [0, null];
  const frame = (began) => {
    if (last !== null) between.push(began - last);
    last = began;
    if (i < frames) {
      for (let k = 0; k < 4; k++) act(i + k / 4);
      i++;
      return requestAnimationFrame(frame);
    }
    if (name === "pan") pointer("pointerup", 0, 0);
    return done({ between, draws: seen.painted - before });
  };
  requestAnimationFrame(frame);
})"""


class Kind(NamedTuple):
    """A kind of page: what answers it, its address, and what tells that its content is there."""

    server: str
    path: str
    ready: str


ROWS = "document.querySelectorAll('.spacer [data-ready]').length > 5"
KINDS = {
    "overview": Kind("ui", "/", "document.querySelector('.card')"),
    "table": Kind("ui", "/features", ROWS),
    "search": Kind("ui", "/features?q=docstring", ROWS),
    "feature": Kind("ui", "/feature/{feature}", "document.querySelector('.kwic')"),
    "reading": Kind("ui", "/read?text={text}", "document.querySelector('.sheet .tok.on')"),
    "map": Kind("ui", "/map", "seen.painted > 0"),
    "files: overview": Kind("files", "/", "document.querySelector('.card')"),
    "files: table": Kind("files", "/?/features", ROWS),
    "files: search": Kind("files", "/?/features&q=docstring", ROWS),
    "files: feature": Kind("files", "/?/feature/{feature}", "document.querySelector('.kwic')"),
}


class Server:
    """A server in a process of its own."""

    def __init__(self, command: list[str], port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"
        began = time.monotonic()
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while True:
            try:
                urllib.request.urlopen(self.address, timeout=5).close()
                break
            except OSError:
                assert self.process.poll() is None, f"{command} has ended"
                time.sleep(0.05)
        self.started = time.monotonic() - began

    @property
    def cpu(self) -> float:
        """Milliseconds of CPU so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return 1e3 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def servers(path: Path) -> Iterator[dict[str, Server]]:
    """Both, ended at the end."""
    ports = {"ui": _free(), "files": _free()}
    served = [*PYTHON, "monoscope", "ui", str(path / "run"), "--no-browser", "--port", str(ports["ui"])]
    files = [*PYTHON, "http.server", "--bind", "127.0.0.1", "--directory", str(path / "site"), str(ports["files"])]
    running = {}
    try:
        for name, command in (("ui", served), ("files", files)):
            running[name] = Server(command, ports[name])
        yield running
    finally:
        for server in running.values():
            server.process.terminate()
            server.process.wait()


def visit(browser: Any, server: Server, kind: Kind, feature: int) -> tuple[dict[str, float], dict[str, Any] | None]:
    """What one visit took, and how the map moved, if it is one."""
    path = kind.path.format(feature=feature, text=urllib.parse.quote(TEXT))
    context = browser.new_context(viewport=SIZE)
    context.add_init_script(WATCH.replace("READY", kind.ready))
    page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
    cpu = server.cpu
    page.goto(server.address + path)
    deadline = time.monotonic() + 60
    while page.evaluate("window.seen.content") is None:
        assert time.monotonic() < deadline, f"{path} shows nothing after a minute"
        page.wait_for_timeout(20)
    found = {"main": _busy(session)[0], "server": server.cpu - cpu, "kb": sum(sizes) / 1e3, "requests": len(sizes)}
    page.wait_for_timeout(AFTER)
    told = page.evaluate(TOLD)
    found |= {name: told[name] for name in ("first_paint", "content", "shift")}
    moved = {name: _move(page, session, name) for name in ("pan", "zoom")} if "map" in kind.path else None
    context.close()
    return {name: round(float(found[name]), 4) for name in NUMBERS}, moved


def _busy(session: Any) -> np.ndarray:
    """CPU of the page's main thread so far, ms: in all, and what its scripts took of it."""
    metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
    return 1e3 * np.array([metrics["TaskDuration"], metrics["ScriptDuration"]])


def _move(page: Any, session: Any, name: str) -> dict[str, Any]:
    """Times between frames while the map moves, and the CPU of a frame."""
    before = _busy(session)
    found = page.evaluate(MOVE, [name, FRAMES])
    main, script = (_busy(session) - before) / FRAMES
    return {**found, "main": main, "script": script}


def measure(path: Path, turns: int, only: str) -> dict[str, Any]:
    """Every kind of page, ``turns`` times after a first one."""
    from playwright.sync_api import sync_playwright

    kinds = {name: kind for name, kind in KINDS.items() if only in name}
    visits: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    moves: list[dict[str, Any]] = []
    n = folder.read_json(path / "run" / "plan.json")["n_features"]
    features = np.random.default_rng(0).integers(n, size=turns + 1).tolist()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with servers(path) as running, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        for feature in features:
            for name, kind in kinds.items():
                seen, moved = visit(browser, running[kind.server], kind, feature)
                visits[name].append(seen)
                moves += [moved] if moved else []
        version = browser.version
        browser.close()
        started = {name: round(server.started, 2) for name, server in running.items()}
    return {
        "features": n,
        "turns": turns,
        "chromium": version,
        "start_s": started,
        "pages": {name: {"first": seen[0], **_spread(seen[1:])} for name, seen in visits.items()},
        "map": _frames(moves[1:]),
    }


def _spread(seen: list[dict[str, float]]) -> dict[str, list[float]]:
    """Median, least and most of each number."""
    return {
        name: [round(float(f([s[name] for s in seen])), 4) for f in (np.median, np.min, np.max)] for name in NUMBERS
    }


def _frames(moves: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Frames of all turns together; CPU as the median of the turns'."""
    out = {}
    for name in ("pan", "zoom") if moves else ():
        between = np.concatenate([m[name]["between"] for m in moves])
        numbers = {"median": np.median(between), "p95": np.percentile(between, 95), "worst": between.max()}
        numbers |= {f"{part}_cpu": np.median([m[name][part] for m in moves]) for part in ("main", "script")}
        numbers["draws"] = np.mean([m[name]["draws"] / FRAMES for m in moves])
        out[name] = {key: round(float(value), 2) for key, value in numbers.items()}
    return out


def show(found: dict[str, Any]) -> None:
    """Print the tables."""
    print(f"{found['features']:,} features, Chromium {found['chromium']}, servers ready after {found['start_s']} s")
    print(f"{'page':17}{'first visit':>12}" + "".join(f"{name:>20}" for name in NUMBERS))
    for name, row in found["pages"].items():
        cells = "".join(f"{m:>8.4g} ({a:.4g}–{b:.4g})".rjust(20) for m, a, b in (row[k] for k in NUMBERS))
        print(f"{name:17}{row['first']['content']:>12.0f}{cells}")
    for name, row in found["map"].items():
        print(f"map, {name}: ms a frame", row)


def main() -> None:
    """See the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("make", "time"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--features", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", default="", help="kinds of pages whose name holds this")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    if given.what == "make":
        from large_run import make

        from monoscope.app.static_site.export import export

        export(make(given.path / "run", given.features).catalogue, given.path / "site")
        return
    found = measure(given.path, given.turns, given.only)
    show(found)
    if given.json:
        folder.write_json(given.json, found)


if __name__ == "__main__":
    main()
