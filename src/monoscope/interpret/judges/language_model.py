"""A language model as judge: it is given the words and some texts, and answers with numbers in JSON.

Texts are asked about ``TOGETHER`` at a time; a last, shorter group is asked about as well. An answer that is no JSON,
or has not one number for each text, is no answer to any of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from monoscope.interpret import judges
from monoscope.interpret.chat import Answer, ChatModel, Message, Prompt
from monoscope.interpret.judges import MOST, SET, Answers, Claim, Passage, Question

TOGETHER = 5  # texts in a prompt
TOKENS_TOGETHER = 20  # single tokens in a prompt
OPEN, CLOSE = "«", "»"
SYSTEM = (
    "You examine descriptions of single features inside a language model. A feature is active on some tokens of a text "
    "and silent on all others. You are given a description and must say where it applies. Judge by the description "
    "alone. Answer with JSON only."
)
_FOUND = re.compile(r"\{.*\}|\[.*\]", re.DOTALL)


class LanguageModelJudge(judges.Judge):
    """Asks a chat model."""

    def __init__(self, chat: ChatModel) -> None:
        self._chat = chat
        self.name = f"language model {chat.name}"

    def contains(self, questions: Sequence[Question]) -> Answers:
        """1 or 0 for each text."""
        task = "Does the text hold at least one token on which the feature is active? 1 for yes, 0 for no."
        return self._grouped(questions, TOGETHER, task, _plain)

    def marked(self, questions: Sequence[Question]) -> Answers:
        """1 or 0 for each text with marks."""
        task = (
            f"Some tokens of each text are marked {OPEN}like this{CLOSE}. Are the marked tokens those on which the "
            "feature is active? 1 if they fit the description, 0 if they do not."
        )
        return self._grouped(questions, TOGETHER, task, _with_marks)

    def promoted(self, questions: Sequence[Question]) -> Answers:
        """1 or 0 for each token."""
        task = (
            "Each text is one token. When the feature is active the model becomes more likely to write certain tokens "
            "next. Is this one of them, going by the description? 1 for yes, 0 for no."
        )
        return self._grouped(questions, TOKENS_TOGETHER, task, _plain)

    def levels(self, questions: Sequence[Question]) -> Answers:
        """0 to 9 for each token; every passage is a prompt."""
        asked = [(q.claim, p) for q in questions for p in q.passages]
        prompts = [_levels_prompt(claim, passage) for claim, passage in asked]
        said = [
            _numbers(answer, len(passage), MOST)
            for answer, (_, passage) in zip(self._chat.answer(prompts), asked, strict=True)
        ]
        return _regrouped(said, [len(q.passages) for q in questions])

    def odd(self, questions: Sequence[Question]) -> Answers:
        """Which of every ``SET`` texts is odd; every set is a prompt. No description is shown."""
        sets = [q.passages[i : i + SET] for q in questions for i in range(0, len(q.passages), SET)]
        said = [
            _numbers(answer, 1, SET, least=1) - 1 for answer in self._chat.answer([_odd_prompt(some) for some in sets])
        ]
        return _regrouped(said, [len(q.passages) // SET for q in questions])

    def _grouped(self, questions: Sequence[Question], size: int, task: str, text: Callable[[Passage], str]) -> Answers:
        groups = [(q.claim, q.passages[i : i + size]) for q in questions for i in range(0, len(q.passages), size)]
        prompts = [_prompt(f"{_described(claim)}\n\n{task}", [text(p) for p in some]) for claim, some in groups]
        said = [
            _numbers(answer, len(some), 1.0)
            for answer, (_, some) in zip(self._chat.answer(prompts), groups, strict=True)
        ]
        return _regrouped(said, [-(-len(q.passages) // size) for q in questions])


def _regrouped(said: Sequence[Float[np.ndarray, " n"]], counts: Sequence[int]) -> Answers:
    """The answers to each question, joined from ``counts`` prompts each."""
    out, first = [], 0
    for count in counts:
        out.append(np.concatenate(said[first : first + count]) if count else np.zeros(0))
        first += count
    return out


def _described(claim: Claim) -> str:
    verb = "raises the probability of" if claim.role == "promotes" else "is active on"
    return f"Description: the feature {verb}: {claim.words}"


def _prompt(task: str, texts: Sequence[str]) -> Prompt:
    shown = "\n".join(f"Text {i}: {json.dumps(text, ensure_ascii=False)}" for i, text in enumerate(texts, 1))
    asked = f"{task}\n\n{shown}\n\nAnswer with {len(texts)} numbers, one for each text: " + '{"answers": [...]}'
    return _of(asked, len(texts), 1)


def _levels_prompt(claim: Claim, passage: Passage) -> Prompt:
    tokens = json.dumps(list(passage.texts), ensure_ascii=False)
    asked = (
        f"{_described(claim)}\n\nHere is a text, cut into {len(passage)} tokens: {tokens}\n\nHow strongly is the "
        "feature active on each token? 0 is not at all, 9 is as strongly as it ever is. Most tokens are 0. Answer with "
        f'{len(passage)} numbers: {{"answers": [...]}}'
    )
    return _of(asked, len(passage), int(MOST))


def _odd_prompt(passages: Sequence[Passage]) -> Prompt:
    shown = "\n".join(f"Text {i}: {json.dumps(_with_marks(p), ensure_ascii=False)}" for i, p in enumerate(passages, 1))
    asked = (
        f"All but one of these texts have something in common, to be seen in the tokens marked {OPEN}like this{CLOSE} "
        f"and what is around them.\n\n{shown}\n\nWhich text does not belong? Answer with its number: "
        '{"answers": [...]}'
    )
    return _of(asked, 1, len(passages), least=1)


def _of(asked: str, count: int, most: int, least: int = 0) -> Prompt:
    number = {"type": "integer", "minimum": least, "maximum": most}
    answers = {"type": "array", "items": number, "minItems": count, "maxItems": count}
    schema: dict[str, Any] = {
        "type": "object", "properties": {"answers": answers}, "required": ["answers"], "additionalProperties": False,
    }  # fmt: skip
    return Prompt((Message("system", SYSTEM), Message("user", asked)), max_tokens=32 + 4 * count, schema=schema)


def _numbers(answer: Answer, count: int, most: float, least: float = 0.0) -> Float[np.ndarray, " n"]:
    """The numbers of an answer; NaN for all of them unless there are as many as were asked for, each in its range."""
    nothing = np.full(count, np.nan)
    found = None if answer.failure else _FOUND.search(answer.text)
    if found is None:
        return nothing
    try:
        said = json.loads(found[0])
    except (ValueError, RecursionError):
        return nothing
    said = said.get("answers") if isinstance(said, dict) else said
    if not isinstance(said, list) or len(said) != count:
        return nothing
    if any(isinstance(n, bool) or not isinstance(n, int | float) or not least <= n <= most for n in said):
        return nothing
    return np.array(said, dtype=np.float64)


def _plain(passage: Passage) -> str:
    return "".join(passage.texts)


def _with_marks(passage: Passage) -> str:
    marked = set(passage.marked)
    return "".join(f"{OPEN}{text}{CLOSE}" if i in marked else text for i, text in enumerate(passage.texts))
