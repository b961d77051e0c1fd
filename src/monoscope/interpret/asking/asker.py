"""A chat model that keeps, counts and repeats: what every question to a model goes through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from monoscope.interpret.asking import cache as caches
from monoscope.interpret.asking import pool
from monoscope.interpret.asking.account import Account, Estimate, OutOfBudget, Prices
from monoscope.interpret.asking.cache import Cache
from monoscope.interpret.asking.retries import Gate, Retries
from monoscope.interpret.chat import Answer, Prompt, Sender, Unanswered

NO_BUDGET = "the budget does not cover the next question"
_Known = tuple[str, Prompt]  # a prompt by its key


class Asker:
    """Asks through a sender; a ``ChatModel``.

    An answer is on disk before it is given out, so that whatever ends the process, it is not asked for again. A
    question that failed (after its retries, for want of budget, because the server lets no one in) is an ``Answer``
    with a ``failure``; ``stopped`` says why nothing more is sent, if so.
    """

    def __init__(
        self, sender: Sender, *, cache: Cache | None = None, account: Account | None = None,
        retries: Retries | None = None,
    ) -> None:  # fmt: skip
        """Wrap a sender; without a cache nothing is kept, without an account nothing is limited."""
        self.sender, self.cache = sender, cache
        self.account, self.retries = account or Account(), retries or Retries()
        self.stopped = ""
        self._gate = Gate()

    @property
    def name(self) -> str:
        """The model's name."""
        return self.sender.name

    def tokens(self, prompt: Prompt) -> int:
        """About how many tokens the prompt has."""
        return self.sender.tokens(prompt)

    def estimate(self, prompts: Iterable[Prompt]) -> Estimate:
        """What asking these would take; sends nothing, and holds no more than one of them at a time."""
        seen: set[str] = set()
        n = known = inputs = outputs = 0
        for prompt in prompts:
            key = caches.key(self.name, prompt)
            n += 1
            if key in seen or (self.cache is not None and key in self.cache):
                known += 1
                continue
            seen.add(key)
            inputs += self.tokens(prompt)
            outputs += prompt.max_tokens
        prices = self.account.prices
        cost, most = (None, None) if prices == Prices() else (prices.of(inputs, 0), prices.of(inputs, outputs))
        return Estimate(n, known, inputs, outputs, cost, most)

    def answer(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """An answer to every prompt, in order; equal prompts are asked once."""
        if not self.stopped:
            self._gate.stop.clear()  # it was set by an interrupt, which is over
        keys = [caches.key(self.name, prompt) for prompt in prompts]
        known: dict[str, Answer] = {}
        left: dict[str, Prompt] = {}
        for key, prompt in zip(keys, prompts, strict=True):
            found = self.cache.get(key) if self.cache is not None and key not in known else None
            if found is not None:
                known[key] = found
                self.account.reuse()
            elif key not in known:
                left[key] = prompt
        items = list(left.items())
        groups = [items[i : i + self.sender.at_once] for i in range(0, len(items), self.sender.at_once)]
        pool.run(lambda group: self._ask(group, known), groups, self.sender.workers, self._gate.stop)
        return [known[key] for key in keys]

    def close(self) -> None:
        """Let go of connections, and let other processes have the cache."""
        self.sender.close()
        if self.cache is not None:
            self.cache.close()

    def __enter__(self) -> Asker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _ask(self, group: Sequence[_Known], known: dict[str, Answer]) -> None:
        """Ask some prompts in one call, as often as it takes, and enter what came of it."""
        answers, told = self._attempts([prompt for _, prompt in group])
        for (key, _), answer in zip(group, answers, strict=True):
            if self.cache is not None and told:
                self.cache.add(key, self.name, answer)
            known[key] = answer

    def _attempts(self, prompts: Sequence[Prompt]) -> tuple[list[Answer], bool]:
        """The answers, or failures; and whether they say anything of these prompts that is worth keeping."""
        attempt = 0
        while True:
            if not self._gate.passed():
                return self._failures(prompts, self.stopped or "stopped before it was asked"), False
            try:
                return self._attempt(prompts), True
            except OutOfBudget:
                self._stop(NO_BUDGET)
            except Unanswered as no:
                if no.final:
                    self._stop(no.why)
                if no.at_once:
                    continue
                attempt += 1
                if not no.sent and attempt > self.retries.times:
                    self._stop(no.why)  # no one is there
                if not no.again or attempt > self.retries.times or not self._waited(attempt, no.wait):
                    return self._failures(prompts, no.why), True

    def _attempt(self, prompts: Sequence[Prompt]) -> list[Answer]:
        """One attempt, on the account."""
        most = sum(map(self.sender.most, prompts)), sum(prompt.max_tokens for prompt in prompts)
        hold = self.account.hold(*most)
        try:
            answers = self.sender.send(prompts)
        except Unanswered as no:
            self.account.settle(hold, no.cost, sent=no.sent)
            raise
        except BaseException:
            self.account.settle(hold, None)
            raise
        real = [answer for answer in answers if not answer.failure]
        counted = all(answer.prompt_tokens > 0 for answer in real)
        cost = sum(a.prompt_tokens for a in answers), sum(a.answer_tokens for a in answers)
        self.account.settle(hold, cost if counted else None, answers=len(real))
        return answers

    def _waited(self, attempt: int, asked: float | None) -> bool:
        """Wait before trying again; False where the server asks for more patience than there is, or all is to stop."""
        if asked is not None:
            if asked > self.retries.patience:
                return False
            self._gate.shut(asked)
        return not self._gate.stop.wait(self.retries.delay(attempt))

    def _stop(self, why: str) -> None:
        self.stopped = self.stopped or why
        self._gate.stop.set()

    @staticmethod
    def _failures(prompts: Sequence[Prompt], why: str) -> list[Answer]:
        return [Answer("", failure=why) for _ in prompts]


def answers_again(
    model_answer: Callable[[Sequence[Prompt]], list[Answer]],
    prompts: Sequence[Prompt],
    faulty: Callable[[Answer], str],
    times: int,
) -> list[tuple[Answer, list[str]]]:
    """Ask, and ask those again whose answer is of no use, at most ``times``: with another seed and some chance.

    Args:
        model_answer: ``answer`` of a chat model.
        prompts: what is asked.
        faulty: what is wrong with an answer; "" if nothing.
        times: further attempts.

    Returns:
        For every prompt the last answer, and what was wrong with each that was of no use.
    """
    done: list[tuple[Answer, list[str]]] = [(Answer("", failure="not asked"), []) for _ in prompts]
    left = list(range(len(prompts)))
    for attempt in range(1 + times):
        asked = [_varied(prompts[i], attempt) for i in left]
        for i, answer in zip(left, model_answer(asked), strict=True):
            wrong = faulty(answer)
            done[i] = (answer, [*done[i][1], *([wrong] if wrong else [])])
        # what was not answered at all has had its own retries
        left = [i for i in left if len(done[i][1]) == attempt + 1 and not done[i][0].failure]
        if not left:
            break
    return done


def _varied(prompt: Prompt, attempt: int) -> Prompt:
    return replace(prompt, seed=prompt.seed + attempt, temperature=0.7) if attempt else prompt
