"""From what a request holds to the tokens that the model reads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monoscope.models.language_model import LanguageModel
from monoscope.serve.errors import Refused


class Prompts:
    """Frames texts and conversations for one model."""

    def __init__(self, lm: LanguageModel) -> None:
        """The model's tokeniser and chat template are used, and no other."""
        self._lm, self._fast = lm, lm.tokeniser.fast

    @property
    def chats(self) -> bool:
        """Whether the model has a form for conversations."""
        return self._fast.chat_template is not None

    def text(self, prompt: str | Sequence[int]) -> tuple[int, ...]:
        """A text behind what begins every window of the model; tokens are taken as they are."""
        if not isinstance(prompt, str):
            return tuple(prompt)
        return (*self._lm.tokeniser.prefix, *self.plain(prompt))

    def plain(self, text: str) -> list[int]:
        """A text's own tokens; one that spells a special token is text all the same."""
        ids: list[int] = self._lm.tokeniser.backend.encode(text, add_special_tokens=False).ids
        return ids

    def chat(self, turns: Sequence[dict[str, str]]) -> tuple[int, ...]:
        """A conversation in the model's own form, up to where the assistant speaks.

        Raises:
            Refused: the model has no such form, or the conversation does not fit it.
        """
        if not self.chats:
            raise Refused(
                "this model has no chat template, so it was not made for conversations; use /v1/completions",
                code="no_chat_template",
            )
        try:
            text = self._fast.apply_chat_template(list(turns), tokenize=False, add_generation_prompt=True)
        except Exception as error:  # templates raise what they like
            raise Refused(
                f"the model's chat template refuses the messages: {_line(error)}", param="messages"
            ) from error
        ids: Any = self._fast(text, add_special_tokens=False)["input_ids"]
        return tuple(ids)


def _line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:300]
