"""The pages in a real browser: what a person does, and what must never happen while they do it."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from app_demo import DemoCatalogue

from monoscope.app import report
from pages_visit import CONTRAST, TEXT, Visit, fits_and_can_be_read, until


def test_a_visit_finds_nothing_of_those_before_it(browser: Any, address: str) -> None:
    for _ in range(2):
        with Visit(browser, address) as visit:
            page = visit.go("/api/features")
            assert page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
            page.evaluate("localStorage.a = sessionStorage.a = document.cookie = 'a=1'")


def test_overview_shows_health_and_leads_to_features(visit: Visit) -> None:
    page = visit.go("/")
    page.wait_for_selector(".card")
    assert "300 directions" in page.inner_text("h1")
    assert page.locator(".metric").count() == 5
    assert page.locator(".metric").first.locator(".control").count() == 4
    assert page.locator(".histogram rect").count() > 10
    page.click(".card a >> nth=0")
    page.wait_for_selector(".kwic")
    assert "/feature/" in page.url


def test_search_in_another_way(visit: Visit, catalogue: DemoCatalogue) -> None:
    page = visit.go("/features?q=5")
    until(page, "document.querySelectorAll('select[name=by] option').length >= 6")
    assert page.locator("input[name=unlike]").is_hidden()
    page.select_option("select[name=by]", "feature")
    near = len(catalogue[5].neighbours)
    until(page, f"document.querySelector('.status').textContent.startsWith('{near} features')")
    assert "by=feature" in page.url and page.locator(".cell.id").first.inner_text() == str(
        catalogue[5].neighbours[0][0]
    )
    page.select_option("select[name=loss_effect]", "0.1..")
    kept = sum(catalogue.features["loss_effect"][i] >= 0.1 for i, _ in catalogue[5].neighbours)
    until(page, f"document.querySelector('.status').textContent.startsWith('{kept} feature')")
    page.reload()
    until(page, "document.querySelector('select[name=by]').value === 'feature'")
    until(page, f"document.querySelector('.status').textContent.startsWith('{kept} feature')")
    visit.expected_errors = True
    page.select_option("select[name=by]", "text")
    assert page.locator("input[name=unlike]").is_visible()
    until(page, "!document.getElementById('notice').hidden")  # the demo reads no text for a search, and says so
    assert "the demo cannot search by text" in page.inner_text("#notice")


def test_search_open_and_back(visit: Visit) -> None:
    page = visit.go("/")
    page.wait_for_selector(".card")
    page.keyboard.press("/")
    page.wait_for_selector("input[type=search]:focus")
    page.keyboard.type("docstring")
    until(page, "document.querySelector('.status').textContent.includes('docstring')")
    assert "q=docstring" in page.url
    until(page, "[...document.querySelectorAll('.cell.label')].every((c) => /docstring/.test(c.textContent))")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    chosen = page.inner_text("[role=row].active .label")
    page.keyboard.press("Enter")
    page.wait_for_selector(".kwic")
    assert page.inner_text("h1") == chosen
    assert page.inner_text(".pager .hint").startswith("2 of ")
    page.keyboard.press("j")
    until(page, "document.querySelector('.pager .hint')?.textContent.startsWith('3 of ')")
    page.keyboard.press("Escape")
    page.wait_for_selector("[role=row].active")
    assert "q=docstring" in page.url and page.locator("[role=row].active").get_attribute("aria-rowindex") == "3"
    page.go_back()
    page.wait_for_selector(".kwic")


def test_filters_and_orders_are_in_the_address(visit: Visit) -> None:
    page = visit.go("/features?kind=token&min_f1=0.8&sort=density")
    page.wait_for_selector(".cell.label")
    shares = [float(t.split()[0]) for t in page.locator(".cell.density").all_inner_texts()]
    assert shares == sorted(shares, reverse=True) and len(shares) > 5
    assert all(t.startswith("the token") for t in page.locator(".cell.label").all_inner_texts())
    page.click("[role=columnheader].density button")
    until(page, "document.querySelector('[role=columnheader].density').ariaSort === 'ascending'")
    assert "descending=false" in page.url
    page.select_option("select[name=kind]", "context")
    until(page, "/ token/.test(document.querySelector('.status').textContent) === false")
    page.reload()
    page.wait_for_selector(".cell.label")
    assert page.input_value("select[name=kind]") == "context"


def test_the_table_holds_only_what_is_in_sight(visit: Visit) -> None:
    page = visit.go("/features?sort=id&descending=false")
    page.wait_for_selector(".cell.label")
    assert page.locator(".spacer [role=row]").count() < 60
    page.focus(".viewport")
    page.keyboard.press("End")
    until(page, "document.querySelector('[role=row].active .id')?.textContent === '299'")
    assert page.locator(".spacer [role=row]").count() < 60
    page.evaluate("document.querySelector('.viewport').scrollTop = 0")
    until(page, "[...document.querySelectorAll('.cell.id')].some((c) => c.textContent === '0')")


def test_data_never_becomes_markup(visit: Visit) -> None:
    page = visit.go("/feature/0")
    page.wait_for_selector(".kwic")
    assert page.inner_text("h1") == "<img src=x onerror=alert(1)> in markup"
    page.click(".example button >> nth=0")
    page.wait_for_selector(".more .where")
    assert page.locator("main img, main script").count() == 0
    assert "<script>hostile</script>.txt" in page.inner_text(".where")
    assert "\u202e" not in page.inner_text("main")
    page = visit.go("/read?text=" + quote("<img src=x onerror='window.hacked=1'>"))
    page.wait_for_selector(".found")
    assert page.locator("main img").count() == 0


def test_the_theme_is_kept(visit: Visit) -> None:
    page = visit.go("/")
    colour = "getComputedStyle(document.documentElement).backgroundColor"
    light = page.evaluate(colour)
    page.keyboard.press("t")
    dark = page.evaluate(colour)
    assert light != dark
    page.reload()
    assert page.evaluate(colour) == dark
    page.click("#theme")
    assert page.evaluate(colour) == light
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(colour) == light  # a choice outlasts what the system prefers


def test_help_opens_and_closes(visit: Visit) -> None:
    page = visit.go("/")
    page.wait_for_selector(".card")
    page.keyboard.press("?")
    page.wait_for_selector("dialog[open]")
    assert "Search the features" in page.inner_text("dialog")
    page.keyboard.press("Escape")
    assert page.locator("dialog[open]").count() == 0


@pytest.mark.parametrize("path", ["/", "/features", "/feature/1", "/feature/299", f"/read?text={quote(TEXT)}"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_page_fits_360_pixels_and_can_be_read(browser: Any, address: str, path: str, scheme: str) -> None:
    ready = "!document.querySelector('.skeleton') && document.querySelector('main').children.length"
    fits_and_can_be_read(browser, address, path, scheme, ready)


def test_a_stopped_server_is_said(visit: Visit) -> None:
    visit.expected_errors = True
    page = visit.go("/read?text=x")
    page.wait_for_selector(".found")
    page.route("**/api/**", lambda route: route.abort())
    page.click("textarea")
    page.keyboard.type("y")
    page.wait_for_selector("#notice:not([hidden])")
    assert "does not answer" in page.inner_text("#notice") and "monoscope ui RUN" in page.inner_text("#notice")
    assert page.input_value("textarea") == "xy" or page.input_value("textarea") == "yx"
    page.click("nav a >> nth=0")
    page.wait_for_selector(".problem")
    page.unroute("**/api/**")
    page.click(".problem button")
    page.wait_for_selector(".card")


def test_what_was_typed_last_does_not_follow_to_the_next_page(visit: Visit) -> None:
    page = visit.go("/read")
    page.wait_for_selector("textarea")
    page.click("textarea")
    page.keyboard.type("def f(x)")
    page.click("nav a >> nth=1")
    page.keyboard.press("/")
    page.wait_for_selector("input[type=search]:focus")
    page.keyboard.type("comm")
    page.click("nav a >> nth=0")
    page.wait_for_selector(".card")
    page.wait_for_timeout(600)
    assert urlsplit(page.url).path == "/" and urlsplit(page.url).query == ""


def test_what_does_not_exist_is_said(visit: Visit) -> None:
    visit.expected_errors = True
    page = visit.go("/feature/300")
    page.wait_for_selector(".problem")
    assert "there is no feature 300" in page.inner_text(".problem")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_opens_from_disk(browser: Any, catalogue: DemoCatalogue, tmp_path: Path, scheme: str) -> None:
    path = report.write(catalogue, tmp_path / "report.html", {"seed": 0}, features=12)
    with Visit(browser, "", viewport={"width": 360, "height": 740}, color_scheme=scheme) as visit:
        page = visit.go(path.as_uri())
        assert page.locator(".entry").count() == 12
        colour = "getComputedStyle(document.documentElement).backgroundColor"
        before = page.evaluate(colour)
        page.click("#theme")
        assert page.evaluate(colour) != before
        assert page.evaluate(CONTRAST) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert visit.errors == [] and visit.requests == [path.as_uri()]
        assert page.evaluate("window.hacked") is None
