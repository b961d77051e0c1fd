"""The rating page in a real browser."""

from __future__ import annotations

from typing import Any

import pytest

from pages_visit import Visit, fits_and_can_be_read, until


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_rating_fits_360_pixels(browser: Any, address: str, scheme: str) -> None:
    fits_and_can_be_read(browser, address, "/rate", scheme, "document.querySelector('.rubric')")


def test_what_it_was_is_told_after_the_rating(visit: Visit) -> None:
    page = visit.go("/rate")
    page.wait_for_selector(".rubric")
    before = page.inner_text("main")
    assert "Without neurons: this run has no catalogue of it." in before
    page.fill("input[name=interpretation]", "something")
    for name, value in (("confidence", 2), ("activations", 5), ("logits", 0), ("specificity", 3)):
        page.check(f"input[name={name}][value='{value}']")
    assert "10 of 14" in page.inner_text(".rubric") and "It was" not in page.inner_text("main")
    first = page.inner_text(".kwic >> nth=0")
    page.click("text=Keep rating")
    page.wait_for_selector("text=It was")
    until(page, "document.querySelector('.ratings')")
    assert "10.0" in page.inner_text(".ratings")
    page.click("button:has-text('Next')")
    until(page, f"document.querySelector('.kwic').innerText !== {first!r} && !document.querySelector('input:checked')")
