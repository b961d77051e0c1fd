"""From the command line's flags to a model that can be asked."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from monoscope.errors import MonoscopeError
from monoscope.interpret.asking.account import Account, Budget, Prices
from monoscope.interpret.asking.asker import Asker
from monoscope.interpret.asking.cache import Cache
from monoscope.interpret.asking.retries import Retries
from monoscope.interpret.chat import Sender, openai_compatible, transformers_local

CACHE = "chat.jsonl"


@dataclass(frozen=True, kw_only=True)
class Asking:
    """Who is asked, how, and what it may cost.

    Parameters
    ----------
    url
        An OpenAI-compatible server, such as http://127.0.0.1:8000/v1. Nothing is sent anywhere else.
    model
        The model's name there.
    key_variable
        The environment variable that holds the key; by default OPENAI_API_KEY, if there is one.
    local
        Instead of a server: a model on this machine (packaged, a folder or a Hugging Face id).
    concurrency
        Requests under way at a time (8), or with --local prompts in a batch.
    timeout
        Seconds for a whole answer (120).
    retries
        Attempts after a failed one (4).
    budget_tokens
        Tokens of prompts and answers together that may be spent; never exceeded.
    budget_cost
        Money that may be spent; never exceeded.
    price_in
        What a million tokens of prompts cost.
    price_out
        What a million tokens of answers cost.
    """

    url: str | None = None
    model: str | None = None
    key_variable: str | None = None
    local: str | None = None
    concurrency: int | None = None
    timeout: float | None = None
    retries: int | None = None
    budget_tokens: int | None = None
    budget_cost: float | None = None
    price_in: float | None = None
    price_out: float | None = None

    def given(self) -> list[str]:
        """The flags that were given."""
        return [f"--{f.name.replace('_', '-')}" for f in fields(self) if getattr(self, f.name) is not None]

    def open(self, run: Path) -> Asker:
        """The model, with the run's cache and an account.

        Raises:
            MonoscopeError: no model is named, two are, a flag goes with the other kind alone, or the model cannot be
                reached for a reason that is known beforehand.
        """
        account = Account(
            Budget(self.budget_tokens, self.budget_cost), Prices(self.price_in or 0.0, self.price_out or 0.0)
        )
        retries = Retries() if self.retries is None else Retries(times=self.retries)
        if retries.times < 0:
            raise MonoscopeError("--retries cannot be below 0", fix="leave it out for the default")
        sender = self._sender()
        try:
            return Asker(sender, cache=Cache(run / CACHE), account=account, retries=retries)
        except MonoscopeError:
            sender.close()
            raise

    def _sender(self) -> Sender:
        if self.local is not None:
            self._refuse(
                "--local", url=self.url, model=self.model, key_variable=self.key_variable, timeout=self.timeout
            )
            more: dict[str, Any] = {} if self.concurrency is None else {"batch": self.concurrency}
            return transformers_local.reach(self.local, **more)
        if self.url is None or self.model is None:
            raise MonoscopeError(
                "no model is named to ask",
                fix="give --url and --model for a server, or --local for one on this machine",
            )
        options = {"timeout": self.timeout, "concurrency": self.concurrency}
        given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
        return openai_compatible.reach(self.model, url=self.url, key_variable=self.key_variable, **given)

    @staticmethod
    def _refuse(beside: str, **flags: object) -> None:
        wrong = next((name for name, value in flags.items() if value is not None), None)
        if wrong is not None:
            raise MonoscopeError(
                f"--{wrong.replace('_', '-')} is about a server and means nothing beside {beside}",
                fix="leave out one of the two",
            )


def spent_in_words(account: Account) -> str:
    """What was spent, for people."""
    told = account.to_json()
    line = (
        f"{told['requests']:,} requests, {told['reused']:,} answers known from before: "
        f"{told['prompt_tokens']:,} tokens of prompts and {told['answer_tokens']:,} of answers"
    )
    if told["lost"]:
        most = told["lost_prompt_tokens"] + told["lost_answer_tokens"]
        line += f", and at most {most:,} in {told['lost']:,} attempts of which no answer came"
    return line if told["cost"] is None else f"{line}; {told['cost']:.4f} spent"
