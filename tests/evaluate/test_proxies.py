"""Proxies against strings worked out by hand, and against the definition by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monoscope.errors import MonoscopeError
from monoscope.evaluate import proxies
from monoscope.evaluate.proxies import Charset, Script, best_ending_here
from monoscope.types import TokenisedDocument

IMPOSSIBLE = math.log(1e-10)


def document(*pieces: bytes) -> TokenisedDocument:
    """A document of these tokens; a token's id is its index."""
    ends = np.cumsum([len(p) for p in pieces])
    starts = np.concatenate([[0], ends[:-1]])
    return TokenisedDocument("d", b"".join(pieces).decode(), np.arange(len(pieces)), starts, ends)


def test_base64_by_hand():
    unigram = np.log(np.array([1e-2, 1e-3, 0.1, 1e-4]))
    found = Charset("base64", *proxies.ALPHABETS["base64"], unigram)(document(b"aG", b"Vs", b" ", b"bG8"))
    first = -2 * math.log(64) - math.log(1e-2)  # -3.7: better left out
    second = -2 * math.log(64) - math.log(1e-3)
    assert found[0] == pytest.approx(first)
    assert found[1] == pytest.approx(second)
    assert found[2] == pytest.approx(IMPOSSIBLE - math.log(0.1))  # a space: alone
    assert found[3] == pytest.approx(-3 * math.log(64) - math.log(1e-4))


def test_dna_by_hand_needs_two_tokens():
    unigram = np.log(np.array([1e-3, 1e-3, 1e-3, 0.02]))
    found = Charset("dna", *proxies.ALPHABETS["dna"], unigram)(document(b"AC", b"T", b"xy", b"G"))
    ac, t = -2 * math.log(4) - math.log(1e-3), -math.log(4) - math.log(1e-3)
    assert found[0] == pytest.approx(IMPOSSIBLE)  # alone
    assert found[1] == pytest.approx(ac + t) and found[1] > 0
    assert found[2] == pytest.approx(2 * IMPOSSIBLE - math.log(1e-3))
    assert found[3] == pytest.approx(IMPOSSIBLE)  # nothing reaches back across "xy"


def test_a_long_string_does_not_outlive_its_end():
    pieces = [b"ACGT"] * 400 + [b"\n", b"b", b"ACGT", b"A"]
    unigram = np.full(len(pieces), math.log(1e-4))
    found = Charset("dna", *proxies.ALPHABETS["dna"], unigram)(document(*pieces))
    assert (found > 0).tolist() == [False] + [True] * 399 + [False, False, False, True]


@given(st.lists(st.floats(-30, 10), max_size=12), st.integers(1, 3))
@settings(max_examples=100, deadline=None)
def test_best_string_is_the_best_of_all_that_end_there(gains, least):
    found = best_ending_here(np.array(gains), least)
    for t in range(len(gains)):
        sums = [sum(gains[j : t + 1]) for j in range(t + 1) if t + 1 - j >= least]
        assert found[t] == pytest.approx(max(sums, default=IMPOSSIBLE), abs=1e-9)


def test_script_by_hand():
    """Tokens cut Cyrillic letters into bytes: whole letters decide, and begun letters by how they usually end."""
    share = 0.25
    script = Script("cyrillic", share, {b"\xd0": 0.75, b"\xc3": 0.0})
    found = script(document(b"\xd0", b"\xb6", "жж".encode(), b"\xc3", b"\xa9", b" \xd0", b"\xb6", b"a", "жa".encode()))
    yes, no, begun = math.log(1 / share), IMPOSSIBLE - math.log(share), math.log(0.75 / share)
    assert found == pytest.approx([begun, yes, yes, no, no, no, yes, no, no])


def test_fit_counts_shares_and_begun_letters():
    text = document(b"\xd0", b"\xb6", b"\xd0", b"\xbf", b"a", b"b", b"\xd4", b"\xb1")  # ж п a b Ա (Armenian)
    (script,) = proxies.fit(["cyrillic"], [text], 8)
    assert isinstance(script, Script)
    assert script.share == 0.5
    assert script.partial == {b"\xd0": 1.0, b"\xd4": 0.0}
    assert (script(text) > 0).tolist() == [True] * 4 + [False] * 4


def test_three_byte_letters_are_known_from_their_second_byte():
    letter, other = "ક".encode(), "ಅ".encode()  # Gujarati and Kannada: both begin with E0
    pieces = [bytes([b]) for b in letter + other]
    (script,) = proxies.fit(["gujarati"], [document(*pieces)], 6)
    assert script.partial == {b"\xe0": 0.5, letter[:2]: 1.0, other[:2]: 0.0}
    assert (script(document(*pieces)) > 0).tolist() == [False, True, True, False, False, False]


def test_unigram_is_counted():
    charset, _ = proxies.fit(["hex", "dna"], [document(b"a", b"b"), document(b"c")], 4)
    assert np.exp(charset.log_unigram) == pytest.approx(np.array([3, 2, 1, 1]) / 7)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(MonoscopeError, match="did you mean 'base64'"):
        proxies.fit(["base46"], [], 4)
    with pytest.raises(MonoscopeError, match="no token of the text is syriac"):
        proxies.fit(["syriac"], [document(b"a")], 4)
