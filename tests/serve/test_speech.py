"""Text as it is sent: whole characters, no stop, and joined what decoding at once gives."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from serve_world import reference
from tokenizers import Tokenizer, decoders, models

from monoscope.serve.minds import spoken
from monoscope.serve.speech import BROKEN, Speech

tokens = st.lists(st.integers(1, 600), max_size=30)  # the first 256 of the vocabulary are single bytes


def decode(ids: list[int]) -> str:
    return reference().tokeniser.backend.decode(ids, skip_special_tokens=True)


def say(ids: list[int], stop: tuple[str, ...] = ()) -> tuple[list[str], bool]:
    speech, texts = Speech(decode, stop), list[str]()
    for token in ids:
        texts += speech.add(token)
        if speech.stopped:
            return texts, True
    return texts + speech.end(), speech.stopped


def encoded(text: str) -> list[int]:
    found: list[int] = reference().tokeniser.backend.encode(text, add_special_tokens=False).ids
    return found


@settings(max_examples=60)
@given(tokens)
def test_joined_pieces_are_the_text_and_every_token_has_one(ids: list[int]) -> None:
    texts, _ = say(ids)
    assert "".join(texts) == decode(ids) and len(texts) == len(ids)


@settings(max_examples=60)
@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_what_is_sent_of_valid_text_is_never_broken(text: str) -> None:
    ids, speech, sent = encoded(text), Speech(decode), ""
    for token in ids:
        sent += "".join(speech.add(token))
        assert text.startswith(sent) and (BROKEN in text or BROKEN not in sent)
    assert sent + "".join(speech.end()) == text


def test_a_character_belongs_to_the_token_that_completes_it() -> None:
    ids = encoded("a🦉b")
    assert len(ids) > 3
    texts, speech = [], Speech(decode)
    for token in ids:
        texts.append(speech.add(token))
    assert texts[0] == ["a"] and texts[-1] == ["b"] and texts[-2][-1] == "🦉"
    assert all(t == [] for t in texts[1:-2]) and set(texts[-2][:-1]) <= {""}


@settings(max_examples=80)
@given(st.text("ab\n", max_size=24), st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=3))
def test_the_stop_that_is_complete_first_cuts_the_text_and_nothing_of_it_is_sent(text: str, stops: list[str]) -> None:
    found = [(text.find(s) + len(s), text.find(s)) for s in stops if s in text]
    wanted = text[: min(found)[1]] if found else text
    speech, sent = Speech(decode, stops), ""
    for token in encoded(text):
        sent += "".join(speech.add(token))
        assert wanted.startswith(sent)
        if speech.stopped:
            break
    assert sent + "".join(speech.end()) == wanted and speech.stopped == bool(found)


def test_a_vocabulary_that_writes_spaces_only_between_words() -> None:
    vocabulary = {"▁I": 0, "▁am": 1, "▁here": 2, "<0xF0>": 3, "<0x9F>": 4, "<0xA6>": 5, "<0x89>": 6}
    made = Tokenizer(models.BPE(vocabulary, [], byte_fallback=True))
    made.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    assert spoken(made.decode, [0, 1, 2]) == ["I", " am", " here"]
    speech = Speech(made.decode, (), [0, 1])
    assert speech.add(2) == [" here"]
    assert [speech.add(t) for t in (3, 4, 5)] == [[], [], []] and speech.add(6) == ["", "", "", "🦉"]


def test_a_prompt_that_ends_within_a_character_is_completed() -> None:
    ids = encoded("é🦉")
    speech = Speech(decode, (), ids[:-1])
    assert "".join(speech.add(ids[-1])).endswith("🦉")
