"""The reading page in a real browser: typing, comparing, letting the model go on, and addresses that hold it all."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest

from pages_visit import TEXT, Visit, fits_and_can_be_read, until

SIZES = """() => {
  const [area, back] = [document.querySelector('textarea'), document.querySelector('.sheet pre')];
  return [area.clientWidth, back.clientWidth, area.scrollHeight <= area.clientHeight + 1];
}"""


def test_reading_as_one_types(visit: Visit) -> None:
    page = visit.go("/read")
    page.wait_for_selector("textarea")
    page.click("textarea")
    page.keyboard.type("def f(x)")
    until(page, "/ tokens in \\d+ ms/.test(document.querySelector('.under').textContent)")
    page.wait_for_selector(".inspector .found")
    assert page.input_value("textarea") == "def f(x)"
    assert page.locator(".sheet pre").inner_text().rstrip("\u200b\n ") == "def f(x)"
    page.keyboard.press("Home")
    until(page, "document.querySelector('.inspector h2').textContent === 'On def'")
    assert "the token 'def'" in page.inner_text(".inspector")
    page.keyboard.press("Alt+ArrowRight")
    until(page, "/f$/.test(document.querySelector('.inspector h2').textContent)")
    page.click(".found button >> nth=0")
    page.wait_for_selector(".pin")
    assert "feature=" in page.url
    until(page, "new URL(location).searchParams.get('text') === 'def f(x)'")
    page.reload()
    page.wait_for_selector(".pin")
    assert page.input_value("textarea") == "def f(x)"


def test_reading_answers_within_200_ms(visit: Visit) -> None:
    page = visit.go("/read?text=" + quote(TEXT))
    page.wait_for_selector(".found")
    page.click("textarea")
    times = []
    for _ in range(5):
        page.evaluate("document.querySelector('.under [role=status]').textContent = ''")  # before an answer can come
        page.keyboard.press("x")
        until(page, "document.querySelector('.under [role=status]').textContent")
        times.append(int(page.inner_text(".under [role=status]").split(" in ")[1].split()[0]))
    assert sorted(times)[2] < 200


def test_colours_lie_exactly_behind_the_text(visit: Visit) -> None:
    long = "".join(f"value_{i} = compute(value_{i - 1}, 'some text') + {i}\n" for i in range(40))
    page = visit.go("/read?text=" + quote(long[:1400]))
    page.wait_for_selector(".found")
    sizes = page.evaluate(SIZES)
    assert sizes[0] == sizes[1] and sizes[2]


def test_pointing_at_a_word_shows_its_features_with_evidence(visit: Visit) -> None:
    page = visit.go("/read?text=" + quote(TEXT))
    page.wait_for_selector(".sheet .tok.on")
    box = page.locator(".sheet .tok >> nth=0").bounding_box()
    page.mouse.move(box["x"] + 4, box["y"] + 4)
    page.wait_for_selector("#card:not([hidden])")
    assert "On def" in page.inner_text("#card") and " to " in page.inner_text("#card")
    page.hover(".found >> nth=0")
    until(page, "/recall/.test(document.querySelector('#card').textContent)")
    page.mouse.move(2, 2)
    until(page, "document.querySelector('#card').hidden")


def test_two_texts_side_by_side(visit: Visit) -> None:
    page = visit.go("/read?text=" + quote("def f(x)") + "&other=" + quote("def g()"))
    page.wait_for_selector(".contrast .found")
    lists = page.locator(".contrast .panel")
    assert [t.inner_text() for t in lists.locator("h2").all()] == [
        "Only in the first text",
        "Only in the second text",
        "In both, by difference",
    ]
    assert "the token 'x'" in lists.nth(0).inner_text() and "the token 'x'" not in lists.nth(1).inner_text()
    assert "the token 'def'" in lists.nth(2).inner_text()
    page.click(".contrast .pinner:has-text(\"'def'\")")
    until(page, "new URL(location).searchParams.get('feature')")
    until(page, "document.querySelectorAll('.sheet .tok.on').length === 2")  # the token def in either text
    page.fill("textarea >> nth=1", "def f(x)")
    until(page, "/^0 features/.test(document.querySelector('.contrast .note').textContent)")
    page.click("text=One text")
    until(page, "!new URL(location).searchParams.has('other')")
    assert page.locator("textarea").count() == 1


STOPPED_AT_THE_FIRST_TOKEN = """() => {
    const written = document.querySelector('.continuation');
    const stop = [...document.querySelectorAll('button')].find((button) => button.textContent === 'Stop');
    new MutationObserver(() => written.querySelector('.tok') && stop.click()).observe(written, { childList: true });
}"""


def test_the_model_goes_on_and_can_be_stopped(visit: Visit) -> None:
    page = visit.go("/read?text=" + quote("def f(x)"))
    page.wait_for_selector(".found")
    page.fill("input[name=count]", "12")
    page.click("text=Continue")
    until(page, "document.querySelector('.written .status').textContent === '12 tokens'")
    assert page.locator(".continuation .tok.on").count() > 5
    page.hover(".continuation .tok >> nth=1")
    page.wait_for_selector("#card:not([hidden])")
    greedy = page.inner_text(".continuation")
    page.select_option("select[name=mode]", "drawn")
    page.fill("input[name=seed]", "5")
    page.click("text=Continue")
    until(page, "new URL(location).searchParams.get('seed') === '5'")
    until(page, "document.querySelector('.written .status').textContent === '12 tokens'")
    drawn = page.inner_text(".continuation")
    assert drawn != greedy
    page.reload()  # the address holds the text and how it was continued
    until(page, "document.querySelector('.written .status').textContent === '12 tokens'")
    assert page.inner_text(".continuation") == drawn
    page.fill("input[name=count]", "256")
    page.evaluate(STOPPED_AT_THE_FIRST_TOKEN)  # from outside it may come after the last
    page.click("text=Continue")
    until(page, "/^(?!1 tokens)\\d+ tokens?, stopped$/.test(document.querySelector('.written .status').textContent)")


def test_a_long_text_is_not_put_into_the_address(visit: Visit) -> None:
    page = visit.go("/read")
    page.fill("textarea", "x = 1\n" * 700)
    page.wait_for_selector("text=too long for the address")
    assert "text=" not in page.url


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_comparing_and_continuing_fit_360_pixels(browser: Any, address: str, scheme: str) -> None:
    path = f"/read?text={quote(TEXT)}&other={quote('def f(x)')}&next=9"
    ready = (
        "document.querySelectorAll('.written .status:not(:empty)').length === 2 && document.querySelector('.contrast')"
    )
    fits_and_can_be_read(browser, address, path, scheme, ready)
