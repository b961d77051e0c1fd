"""What asking costs: an estimate before, a budget that is never exceeded, the truth after.

Before an attempt its greatest possible cost is set aside; afterwards what was really counted takes its place. An
attempt of which no one knows what it cost, because the answer was lost on the way, is charged all that was set aside.
So the sum of what was spent and of what is under way never passes the budget, however many attempts run at a time.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from monoscope.errors import MonoscopeError


@dataclass(frozen=True)
class Prices:
    """What a million tokens cost, in any currency: of prompts, and of answers."""

    prompt: float = 0.0
    answer: float = 0.0

    def of(self, prompt_tokens: int, answer_tokens: int) -> float:
        """The price of so many tokens."""
        return (prompt_tokens * self.prompt + answer_tokens * self.answer) / 1e6


@dataclass(frozen=True)
class Budget:
    """What may be spent: tokens of prompts and answers together, money, or both; None is no limit."""

    tokens: int | None = None
    cost: float | None = None

    def allows(self, prompt_tokens: int, answer_tokens: int, prices: Prices) -> bool:
        """Whether so many tokens are within it."""
        if self.tokens is not None and prompt_tokens + answer_tokens > self.tokens:
            return False
        return self.cost is None or prices.of(prompt_tokens, answer_tokens) <= self.cost


class OutOfBudget(Exception):
    """What is left does not cover the next attempt."""


@dataclass(frozen=True)
class Hold:
    """Tokens set aside for an attempt: the most that it can cost."""

    prompt_tokens: int
    answer_tokens: int


class Account:
    """Counts attempts and tokens; safe to use from many threads.

    ``requests`` is how many attempts reached the model, ``answers`` how many brought an answer with its cost,
    ``reused`` how many answers were in the cache and cost nothing. ``prompt_tokens`` and ``answer_tokens`` are what the
    model counted; ``lost_prompt_tokens`` and ``lost_answer_tokens`` are the most that the ``lost`` attempts, whose cost
    no one told, can have cost.
    """

    def __init__(self, budget: Budget | None = None, prices: Prices | None = None) -> None:
        """A new account.

        Raises:
            MonoscopeError: a number is negative, or money is limited and there are no prices.
        """
        self.budget, self.prices = budget or Budget(), prices or Prices()
        _check(self.budget, self.prices)
        self.requests = self.answers = self.reused = self.lost = 0
        self.prompt_tokens = self.answer_tokens = 0
        self.lost_prompt_tokens = self.lost_answer_tokens = 0
        self._holds: dict[int, Hold] = {}  # by identity: equal holds are different attempts
        self._change = threading.Condition()

    def hold(self, prompt_tokens: int, answer_tokens: int) -> Hold:
        """Set tokens aside; waits for attempts under way where only what they turn out to cost decides.

        Raises:
            OutOfBudget: there are not enough, whatever those under way turn out to cost.
        """
        wanted = Hold(prompt_tokens, answer_tokens)
        with self._change:
            while not self._fits(wanted):
                if not self._holds:
                    raise OutOfBudget
                self._change.wait()
            self._holds[id(wanted)] = wanted
        return wanted

    def settle(self, hold: Hold, cost: tuple[int, int] | None, *, sent: bool = True, answers: int = 0) -> None:
        """An attempt is over: what was set aside for it is free, and what it cost is spent.

        Args:
            hold: what was set aside.
            cost: (prompt tokens, answer tokens) as counted by the model; None where no one knows.
            sent: whether it reached the model.
            answers: how many answers it brought.
        """
        with self._change:
            del self._holds[id(hold)]
            self.requests += sent
            self.answers += answers
            if cost is None:
                self.lost += 1
                self.lost_prompt_tokens += hold.prompt_tokens
                self.lost_answer_tokens += hold.answer_tokens
            else:
                self.prompt_tokens += cost[0]
                self.answer_tokens += cost[1]
            self._change.notify_all()

    def reuse(self) -> None:
        """An answer came from the cache."""
        with self._change:
            self.reused += 1

    def _fits(self, wanted: Hold) -> bool:
        under_way = [*self._holds.values(), wanted]
        return self.budget.allows(
            self.prompt_tokens + self.lost_prompt_tokens + sum(h.prompt_tokens for h in under_way),
            self.answer_tokens + self.lost_answer_tokens + sum(h.answer_tokens for h in under_way),
            self.prices,
        )

    @property
    def cost(self) -> float:
        """What was spent, in the currency of the prices; lost attempts at the most they can have cost."""
        return self.prices.of(
            self.prompt_tokens + self.lost_prompt_tokens, self.answer_tokens + self.lost_answer_tokens
        )

    def to_json(self) -> dict[str, Any]:
        """As numbers; ``cost`` is null without prices."""
        names = (
            "requests", "answers", "reused", "lost", "prompt_tokens", "answer_tokens",
            "lost_prompt_tokens", "lost_answer_tokens",
        )  # fmt: skip
        told = {name: getattr(self, name) for name in names}
        return {**told, "cost": round(self.cost, 6) if self.prices != Prices() else None}


@dataclass(frozen=True)
class Estimate:
    """What asking some prompts would take, before anything is sent; ``cached`` ones are known and cost nothing.

    ``prompt_tokens`` is a guess from the text; answers have at most ``answer_tokens``. Attempts that have to be
    repeated are not in it. ``cost`` and ``most`` are None without prices: the price of the prompts alone, and with the
    longest answers.
    """

    prompts: int
    cached: int
    prompt_tokens: int
    answer_tokens: int
    cost: float | None
    most: float | None


def _check(budget: Budget, prices: Prices) -> None:
    limits = {"a budget of tokens": budget.tokens, "a budget": budget.cost}
    numbers = {**limits, "the price of prompts": prices.prompt, "the price of answers": prices.answer}
    for what, number in numbers.items():
        if number is not None and not number >= 0:
            raise MonoscopeError(f"{what} cannot be {number}", fix="give a number from 0")
    if budget.cost is not None and prices == Prices():
        raise MonoscopeError(
            "a budget of money needs prices", fix="say what a million tokens of prompts and of answers cost"
        )
