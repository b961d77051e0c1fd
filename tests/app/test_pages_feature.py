"""A feature's page in a real browser: what it tells, and what is computed as one looks at it."""

from __future__ import annotations

from pages_visit import Visit, point, until


def test_a_feature_page_tells_all(visit: Visit) -> None:
    page = visit.go("/feature/1")
    page.wait_for_selector(".kwic")
    text = page.inner_text("main")
    for words in ("inside a docstring", "precision", "by tokens alone", "Promotes", "Suppresses", "Similar directions"):
        assert words in text
    assert page.locator(".group").count() == 5
    assert page.locator(".tok.target").count() >= 10
    before = page.locator(".example").first.inner_text()
    page.click(".example button >> nth=0")
    page.wait_for_selector(".more .where")
    assert "python/" in page.inner_text(".more .where")
    assert len(page.inner_text(".more .passage")) > len(before)
    point(page, ".passage .tok.target", "#tip")
    assert float(page.inner_text("#tip").split(" · ")[0]) > 0


def test_what_is_computed_on_demand_appears(visit: Visit) -> None:
    page = visit.go("/feature/1")
    page.wait_for_selector("svg.levels")
    assert page.locator("svg.levels rect:not(.room)").count() == 4  # one of five levels is empty
    point(page, "svg.levels g", "#tip")
    assert page.inner_text("#tip").startswith("holds on 20 % of 40 tokens")
    page.wait_for_selector("svg.logits")
    assert "neuron 0" in page.inner_text("aside") and "20.0 %" in page.inner_text("aside")
    assert page.locator(".quantiles dt").all_inner_texts() == ["10 %", "25 %", "50 %", "75 %", "90 %", "99 %", "99.9 %"]


def test_tokens_are_underlined_by_what_the_feature_does_to_them(visit: Visit) -> None:
    page = visit.go("/feature/1")
    page.wait_for_selector(".kwic")
    assert page.locator(".example .helped, .example .hindered").count() == 0
    page.click("text=Underline effects")
    page.wait_for_selector(".example .helped")
    assert page.locator(".example .hindered").count() > 0
    assert "loss without the feature +" in str(page.locator(".example .helped").first.get_attribute("data-tip"))
    page.keyboard.press("j")  # the next feature is underlined too
    page.wait_for_selector("h1:has-text('in a comment')")
    page.wait_for_selector(".example .helped")
    page.click("text=Underline effects")
    until(page, "!document.querySelector('.example .helped')")


def test_other_explanations_come_with_their_tests(visit: Visit) -> None:
    page = visit.go("/feature/1")
    page.wait_for_selector(".explanation")
    words = page.locator(".explanation").all_inner_texts()
    assert "<b>triple quotes</b>" in words[0] and "Better than every control by detection." in words[0]
    assert "too few passages" in words[0] and "Not tested. Read it as a guess." in words[1]
    page = visit.go("/feature/2")
    page.wait_for_selector(".kwic")
    assert page.locator(".explanation").count() == 0


def test_what_a_person_says_is_kept(visit: Visit) -> None:
    page = visit.go("/feature/9")
    page.wait_for_selector(".annotate")
    tested = page.inner_text("h1")
    page.keyboard.press("b")
    page.keyboard.press("+")
    page.wait_for_selector("text=★ Bookmarked")
    until(page, "document.querySelector('.annotate [title=\\'+\\']').ariaPressed === 'true'")
    page.keyboard.press("e")
    page.keyboard.type("my <b>words</b>")
    page.fill("textarea[name=note]", "because")
    page.click("text=Keep")
    until(page, "document.querySelector('h1').textContent === 'my <b>words</b>'")
    until(page, "document.querySelector('.annotate .hint').textContent === 'kept'")
    assert tested in page.inner_text(".own-title .note") and page.inner_text(".kept-note") == "because"
    page = visit.go("/features?bookmarked=true")
    page.wait_for_selector(".cell.label")
    assert page.locator(".cell.label").all_inner_texts() == ["★+✎ my <b>words</b>"]
    page = visit.go("/feature/9")
    page.wait_for_selector("text=★ Bookmarked")
    page.keyboard.press("b")
    page.wait_for_selector("text=☆ Bookmark")
    until(page, "document.querySelector('.annotate .hint').textContent === 'kept'")
