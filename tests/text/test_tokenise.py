"""Token offsets: what a token covers is what it says, in bytes, whatever the text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, models
from transformers import PreTrainedTokenizerFast

from monoscope.errors import MonoscopeError
from monoscope.text import tokenise
from monoscope.text.tokenise import Tokeniser
from monoscope.types import Document

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    [
        "",
        " ",
        "\n\n",
        "fox<|endoftext|>dog",
        "[SEP] fox [CLS]",
        "é" * 20,
        "🙂🙂",
        "e\u0301\u0301",
        "\ufb01\u0130",
        "\0\x7f",
    ]
)
relaxed = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


@relaxed
@given(text=TEXTS)
def test_byte_level_tokens_tile_the_document(bpe: Tokeniser, text: str) -> None:
    done = bpe.text(text)
    assert b"".join(done.token_bytes()) == text.encode()
    assert np.array_equal(done.starts[1:], done.ends[:-1])
    assert np.all(done.ends > done.starts)


@relaxed
@given(text=TEXTS)
def test_byte_level_tokens_cover_the_bytes_that_they_spell(bpe: Tokeniser, text: str) -> None:
    spelling = {index: token for token, index in bpe.backend.get_vocab().items()}
    alphabet = tokenise._byte_of()
    done = bpe.text(text)
    for index, covered in zip(done.tokens.tolist(), done.token_bytes(), strict=True):
        assert bytes(alphabet[c] for c in spelling[index]) == covered


@relaxed
@given(text=TEXTS)
def test_spans_are_ordered_and_inside_the_text(tokeniser: Tokeniser, text: str) -> None:
    done = tokeniser.text(text)
    assert len(done.tokens) == len(done.starts) == len(done.ends)
    assert np.all(done.starts <= done.ends)
    assert np.all(np.diff(done.starts) >= 0) and np.all(np.diff(done.ends) >= 0)
    assert len(done) == 0 or (done.starts[0] >= 0 and done.ends[-1] <= len(text.encode()))


@pytest.mark.parametrize("text", ["the fox", "Ü the FOX", "🙂 the 漢 fox", "café the\tfox  dog"])
def test_wordpiece_offsets_are_bytes_not_characters(wordpiece: Tokeniser, text: str) -> None:
    done = wordpiece.text(text)
    words = wordpiece.backend.decode_batch([[t] for t in done.tokens.tolist()])
    covered = dict(zip(words, done.token_bytes(), strict=True))
    for word in ("the", "fox"):
        if word in covered:
            assert covered[word].lower() == word.encode()
    joined = b"".join(done.token_bytes())
    assert joined.decode() == "".join(text.split())


def test_no_text_is_cut_short_or_padded(tokeniser: Tokeniser) -> None:
    long, short = tokeniser.documents([Document("long", "the fox " * 500), Document("short", "the")])
    assert long.ends[-1] >= len("the fox " * 500) - 1
    assert len(short) == len(tokeniser.text("the")) < 5


def test_text_that_spells_a_special_token_is_ordinary_text(bpe: Tokeniser) -> None:
    done = bpe.text("fox<|endoftext|>dog")
    assert bpe.prefix[0] not in done.tokens
    assert b"".join(done.token_bytes()) == b"fox<|endoftext|>dog"


def test_an_added_token_covers_its_utf8(bpe: Tokeniser) -> None:
    fast = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(bpe.backend.to_str()))
    fast.add_tokens([AddedToken("é¡", normalized=False)])
    done = Tokeniser(fast, "extended").text("fox é¡ dog")
    assert "é¡".encode() in done.token_bytes()
    assert b"".join(done.token_bytes()) == "fox é¡ dog".encode()


def test_many_documents_are_tokenised_as_one_by_one(tokeniser: Tokeniser) -> None:
    documents = [Document(str(i), "the fox é " * i) for i in range(20)]
    for together, document in zip(tokeniser.documents(documents), documents, strict=True):
        alone = tokeniser.text(document.text)
        assert (together.name, together.text) == (document.name, document.text)
        assert all(np.array_equal(getattr(together, f), getattr(alone, f)) for f in ("tokens", "starts", "ends"))


def test_frames(bpe: Tokeniser, wordpiece: Tokeniser) -> None:
    assert (bpe.prefix, bpe.suffix) == ([bpe.fast.bos_token_id], [])
    assert (wordpiece.prefix, wordpiece.suffix, wordpiece.padding) == ([2], [3], 0)


def test_a_missing_tokenizer_is_a_clear_error(tmp_path) -> None:
    with pytest.raises(MonoscopeError, match=r"tokenizer.json"):
        tokenise.load(tmp_path)


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(MonoscopeError, match="no fast tokenizer"):
        Tokeniser(object(), "slow")


def test_saved_and_loaded_is_the_same(bpe: Tokeniser, tmp_path) -> None:
    bpe.fast.save_pretrained(tmp_path)
    loaded = tokenise.load(tmp_path)
    assert np.array_equal(loaded.text("the fox é🙂").tokens, bpe.text("the fox é🙂").tokens)
    assert loaded.prefix == bpe.prefix


def test_a_vocabulary_without_pieces_still_has_offsets() -> None:
    backend = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    done = Tokeniser(PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="[UNK]"), "words").text("né")
    assert done.ends.tolist() == [3]
