"""The page of a served model in a real browser: it shows what it says, what it has in mind, and the alarms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from serve_live import TOKEN, Live

from pages_visit import Visit, fits_and_can_be_read, until

HOME = f"/?token={TOKEN}"
IDLE = "document.querySelector('.go') && !document.querySelector('.go').disabled"
TEXT = "import os\nimport "


@pytest.fixture
def visit(browser: Any, served: Live) -> Iterator[Visit]:
    with Visit(browser, served.address, viewport={"width": 1280, "height": 900}) as found:
        yield found
        found.check()


def asked(visit: Visit, text: str = TEXT, **fields: Any) -> Any:
    """The page, once it has answered."""
    page = visit.go(HOME)
    page.wait_for_selector(".ask textarea")
    page.fill(".ask textarea", text)
    for name, value in fields.items():
        select = name == "steer"
        (page.select_option if select else page.fill)(f"[name={name}]", str(value))
    page.click(".go")
    until(page, "document.querySelectorAll('.answer .tok:not(.given)').length > 0")
    until(page, IDLE)
    return page


def said(page: Any) -> str:
    """What stands in the answer's box, whitespace as it was sent."""
    parts: list[str] = page.evaluate(
        "[...document.querySelectorAll('.answer .tok:not(.given)')].map((t) => t.textContent)"
    )
    return "".join(parts).replace("↵\n", "\n").replace("·", " ")


def test_it_shows_what_the_server_says(visit: Visit, served: Live) -> None:
    page = asked(visit, most=20, temperature=0)
    wanted = served.client.completions.create(model="reference-a", prompt=TEXT, max_tokens=20, temperature=0)
    # the served model has a chat template, so the page asks it as a chat
    chat = served.client.chat.completions.create(
        model="reference-a", messages=[{"role": "user", "content": TEXT}], max_completion_tokens=20, temperature=0
    )
    assert said(page) == chat.choices[0].message.content != wanted.choices[0].text
    assert page.locator(".answer .tok:not(.given)").count() == 20
    assert "# user: import os" in page.inner_text(".answer pre")  # the prompt as the model reads it
    assert "20 tokens" in page.inner_text(".under") and page.inner_text("#model") == "reference-a"
    plain, steered = (said(asked(visit, most=20, seed=5, steer=name)) for name in ("", "one"))
    assert plain != steered


def test_tokens_are_coloured_by_their_features_and_these_have_their_labels(visit: Visit) -> None:
    page = asked(visit, most=20, seed=3)
    assert page.locator(".answer .tok.on").count() > 10
    assert "the token" in page.inner_text(".inspector .found >> nth=0")
    page.locator(".answer .tok:not(.given)").nth(4).click()
    assert page.inner_text(".inspector h2").startswith("On")
    number = page.inner_text(".inspector .found .facts >> nth=0").split()[0]
    before = page.locator(".answer .tok.on").count()
    page.click(".inspector .pinner >> nth=0")
    assert page.inner_text(".under .pin").startswith(f"Coloured by {number}")
    assert 0 < page.locator(".answer .tok.on").count() < before
    page.click(".under .pin button")
    assert page.locator(".answer .tok.on").count() == before
    page.locator(".answer .tok").nth(8).hover()
    page.wait_for_selector("#card:not([hidden])")


def test_alarms_show_where_they_are_raised(visit: Visit, served: Live) -> None:
    page = asked(visit, most=24, temperature=0)
    told = served.client.chat.completions.create(
        model="reference-a", messages=[{"role": "user", "content": TEXT}], max_completion_tokens=24, temperature=0,
        extra_body={"features_of_prompt": True},
    ).choices[0].monoscope  # fmt: skip
    tokens = [*told["prompt"], *told["tokens"]]
    events = [e for t in tokens for e in t.get("events", [])]
    shown = page.evaluate("[...document.querySelectorAll('.events li')].map((e) => e.className)")
    assert shown == [e["kind"] for e in reversed(events)] and len(shown) > 3
    page.click(".rules .button")
    assert page.locator(".answer .tok.alarm").count() == sum(bool(t["active"]) for t in tokens)
    for name in ("three", "five", "probe"):
        page.click(f".rule:has-text('{name}')")
        assert page.locator(".answer .tok.alarm").count() == sum(name in t["active"] for t in tokens)
        raised = page.locator(f".rule:has-text('{name}')").get_attribute("data-raised")
        assert raised == str(name in tokens[-1]["active"]).lower()


def test_stop_stops_and_the_slot_is_free(visit: Visit, served: Live) -> None:
    page = visit.go(HOME)
    page.wait_for_selector(".ask textarea")
    page.fill("[name=most]", "200")
    page.click(".go")
    until(page, "document.querySelectorAll('.answer .tok:not(.given)').length > 3")
    page.click("text=Stop")
    until(page, IDLE)
    assert "stopped" in page.inner_text(".under")
    assert page.locator(".answer .tok:not(.given)").count() < 200
    served.idle()


def test_problems_are_told_and_data_never_becomes_markup(visit: Visit) -> None:
    visit.expected_errors = True
    page = visit.go(HOME)
    page.wait_for_selector(".ask textarea")
    page.fill(".ask textarea", "x " * 400)
    page.click(".go")
    until(page, "!document.getElementById('notice').hidden")
    assert "shorten the prompt" in page.inner_text("#notice")
    page.fill(".ask textarea", "<img src=x onerror='window.hacked=1'>")
    page.fill("[name=most]", "4")
    page.click(".go")
    until(page, "document.querySelectorAll('.answer .tok').length > 4")
    until(page, IDLE)
    assert page.locator("main img").count() == 0 and page.evaluate("document.getElementById('notice').hidden")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_and_can_be_read(browser: Any, served: Live, scheme: str) -> None:
    ready = (
        "(() => { const go = document.querySelector('.go'); if (!go) return false;"
        " if (!window.went) { window.went = true; go.click(); return false; }"
        " return !go.disabled && document.querySelectorAll('.answer .tok').length > 20; })()"
    )
    fits_and_can_be_read(browser, served.address, HOME, scheme, ready)


def test_a_server_without_features_or_rules_shows_the_text(browser: Any, plain: Live) -> None:
    with Visit(browser, plain.address, viewport={"width": 1280, "height": 900}) as visit:
        page = asked(visit, most=12, temperature=0)
        found = plain.client.completions.create(model="reference-a", prompt=TEXT, max_tokens=12, temperature=0)
        assert said(page) == found.choices[0].text and "--run RUN" in page.inner_text(".inspector")
        assert page.locator(".rules").count() == 0
        visit.check()


def test_strangers_do_not_see_it(browser: Any, served: Live) -> None:
    context = browser.new_context()
    answer = context.new_page().goto(served.address + "/")
    assert answer.status == 401
    context.close()
