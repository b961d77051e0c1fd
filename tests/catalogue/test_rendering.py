import numpy as np
from catalogue_world import tokeniser
from hypothesis import given
from hypothesis import strategies as st

from monoscope.catalogue.rendering import show, shown
from monoscope.catalogue.vocabulary import Vocabulary

TEXT = "aé漢🙂z"


def spans(cuts: list[int]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(cuts[:-1]), np.array(cuts[1:])


def test_a_character_is_shown_on_the_token_that_completes_it() -> None:
    data = TEXT.encode()
    starts, ends = spans(list(range(len(data) + 1)))  # single bytes
    assert shown(data, starts, ends, 0, len(data)) == [
        "a", "\\xc3", "é", "\\xe6", "\\xbc", "漢", "\\xf0", "\\x9f", "\\x99", "🙂", "z",
    ]  # fmt: skip


def test_tokens_may_end_one_character_and_begin_another() -> None:
    data = TEXT.encode()
    starts, ends = spans([0, 2, 5, len(data)])  # a + half of é | rest of é + part of 漢 | the rest
    assert shown(data, starts, ends, 0, 3) == ["a\\xc3", "é\\xe6\\xbc", "漢🙂z"]


@given(st.text(st.sampled_from("ab é漢🙂"), min_size=1, max_size=12), st.data())
def test_an_excerpt_shows_what_the_whole_shows(text: str, data: st.DataObject) -> None:
    encoded = text.encode()
    cuts = sorted({0, len(encoded), *data.draw(st.lists(st.integers(0, len(encoded))))})
    starts, ends = spans(cuts)
    whole = shown(encoded, starts, ends, 0, len(starts))
    assert all(whole)
    first = data.draw(st.integers(0, len(starts)))
    last = data.draw(st.integers(first, len(starts)))
    assert shown(encoded, starts, ends, first, last) == whole[first:last]
    if encoded.isascii():
        assert "".join(whole) == text


def test_bytes_between_tokens_go_with_the_next() -> None:
    assert shown(b"two  words", np.array([0, 5]), np.array([3, 10]), 0, 2) == ["two", "  words"]
    assert shown("é".encode(), np.array([0, 0]), np.array([2, 2]), 0, 2) == ["é", "é"]  # byte fallback


@given(st.binary(max_size=12))
def test_any_bytes_can_be_shown(data: bytes) -> None:
    assert isinstance(show(data), str)


def test_whole_text_is_shown_as_it_is() -> None:
    assert show(TEXT.encode()) == TEXT
    assert show(b"ok\xff!") == "ok\\xff!"


def test_vocabulary_entries() -> None:
    vocabulary = Vocabulary(tokeniser())
    of = tokeniser().backend.token_to_id
    assert vocabulary[of("a")] == "a" and vocabulary[of("Ġ")] == " " and vocabulary[of("Ċ")] == "\n"
    assert vocabulary[of("Ã")] == "\\xc3"
    assert vocabulary[299] == "<299>"
