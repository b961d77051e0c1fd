"""The map in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from pages_visit import Visit, fits_and_can_be_read, until

DRAWN = "document.querySelector('canvas.map')?.width > 0 && document.querySelector('.map-legend').children.length"
INKED = """(() => {
  const c = document.querySelector('canvas.map');
  return c.getContext('2d').getImageData(0, 0, c.width, c.height).data.filter((v, i) => i % 4 === 3 && v).length;
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_map_fits_360_pixels(browser: Any, address: str, scheme: str) -> None:
    fits_and_can_be_read(browser, address, "/map", scheme, DRAWN)


def test_pan_zoom_colour_search_and_open(visit: Visit) -> None:
    page = visit.go("/map")
    until(page, DRAWN)
    until(page, f"{INKED} > 1000")  # it is painted in the frame after the legend
    page.select_option("select[name=colour]", "f1")
    page.fill("input[type=search]", "docstring")
    until(page, "/for “docstring”/.test(document.querySelector('.status').textContent)")
    assert "q=docstring" in page.url or page.wait_for_url("**q=docstring**") is None
    page.focus("canvas.map")
    for key in ("+", "+", "ArrowLeft", "ArrowUp"):
        page.keyboard.press(key)
    until(page, "new URL(location).searchParams.get('z') === '1.96'")
    zoomed = page.url
    page.reload()
    until(page, DRAWN)
    page.wait_for_timeout(500)
    assert page.url == zoomed and page.input_value("select[name=colour]") == "f1"
    page.keyboard.press("0")
    box = page.locator("canvas.map").bounding_box()
    for step in range(200):  # along a line through the middle, until a point is met
        page.mouse.move(box["x"] + box["width"] * (0.3 + 0.002 * step), box["y"] + box["height"] / 2)
        if page.evaluate("document.querySelector('canvas.map').style.cursor === 'pointer'"):
            break
    page.wait_for_selector("#card:not([hidden])")
    number = page.inner_text("#card .eyebrow").removeprefix("#")
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector(".feature-head")
    assert page.url.endswith(f"/feature/{number}")
