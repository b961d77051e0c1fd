"""Proxies of *Towards Monosemanticity*: how much likelier a string is in a context than at large, computed, not judged.

A proxy gives each token the greatest log-likelihood ratio ``log P(s | context) / P(s)`` over the strings ``s`` of
whole tokens that end there. The token counts as in class where that is above 0.

*Charset* (base64, hex, DNA): ``P(s | context)`` gives each character of the set the same probability and every other
byte 1e-10; ``P(s)`` is the product of unigram probabilities. A token that holds another byte is judged alone, and no
string reaches back across it: the evidence of a long string would otherwise carry past its end. DNA and hex need
strings of at least two tokens, because single letters and digits are everywhere.

*Script*: by Bayes' rule the ratio is ``P(script | s) / P(script)``, where ``P(script | s)`` is 1 if all characters of
``s`` lie in the script's Unicode blocks and 1e-10 otherwise. Where ``s`` ends inside a character, the part of that
character which has been seen decides by how often text that begins so turns out to be of the script.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from jaxtyping import Bool, Float, Int

from monoscope.errors import MonoscopeError, unknown_name
from monoscope.types import TokenisedDocument

IMPOSSIBLE = 1e-10

Begun = Counter[tuple[str, bytes]]  # (script, first bytes of a character) → occurrences

ALPHABETS: dict[str, tuple[str, int]] = {  # name → characters, least number of tokens
    "base64": (string.ascii_letters + string.digits + "+/", 1),
    "hex": (string.digits + "abcdef", 2),
    "dna": ("ACGT", 2),
}
BLOCKS: dict[str, tuple[tuple[int, int], ...]] = {  # name → Unicode blocks, first and last code point
    "arabic": ((0x0600, 0x06FF), (0x0750, 0x077F)),
    "cherokee": ((0x13A0, 0x13FF), (0xAB70, 0xABBF)),
    "cyrillic": ((0x0400, 0x052F),),
    "gujarati": ((0x0A80, 0x0AFF),),
    "hebrew": ((0x0590, 0x05FF),),
    "syriac": ((0x0700, 0x074F), (0x0860, 0x086F)),
}


class Proxy(Protocol):
    """A named function from a document to one log-likelihood ratio per token."""

    @property
    def name(self) -> str:
        """The alphabet's or the script's name."""
        ...

    def __call__(self, document: TokenisedDocument) -> Float[np.ndarray, " n_tokens"]:
        """The ratio at every token, in nats."""
        ...


@dataclass(frozen=True)
class Charset:
    """The proxy for strings over an alphabet; ``log_unigram[token]`` is the token's log-probability at large."""

    name: str
    characters: str
    least_tokens: int
    log_unigram: Float[np.ndarray, " vocabulary"]

    def __call__(self, document: TokenisedDocument) -> Float[np.ndarray, " n_tokens"]:
        """The best ratio over strings that end at each token."""
        per_byte = np.full(256, np.log(IMPOSSIBLE))
        per_byte[list(self.characters.encode())] = -np.log(len(self.characters))
        data = np.frombuffer(document.text.encode(), np.uint8)
        likelihood = summed(per_byte[data], document)
        outside = summed((per_byte[data] == np.log(IMPOSSIBLE)).astype(float), document) > 0
        found: np.ndarray = likelihood - self.log_unigram[document.tokens]
        edges = np.flatnonzero(np.diff(np.concatenate([[1], outside, [1]])))  # where runs of the alphabet begin and end
        for first, last in edges.reshape(-1, 2):
            found[first:last] = best_ending_here(found[first:last], self.least_tokens)
        return found


def summed(of_bytes: Float[np.ndarray, " n_bytes"], document: TokenisedDocument) -> Float[np.ndarray, " n_tokens"]:
    """The sum over the bytes of each token."""
    before = np.concatenate([[0.0], np.cumsum(of_bytes)])
    found: np.ndarray = before[document.ends] - before[document.starts]
    return found


def best_ending_here(gain: Float[np.ndarray, " n"], least: int) -> Float[np.ndarray, " n"]:
    """For every position the greatest sum of a run of at least ``least`` gains that ends there.

    Where fewer tokens came before, the log-ratio of what is impossible.
    """
    total = np.concatenate([[0.0], np.cumsum(gain)])
    lowest = np.minimum.accumulate(total)
    found = np.full(len(gain), np.log(IMPOSSIBLE))
    if len(gain) >= least:
        found[least - 1 :] = total[least:] - lowest[: len(total) - least]
    return found


@dataclass(frozen=True)
class Script:
    """The proxy for a script.

    ``share`` is the fraction of tokens that are of the script; ``partial`` maps the first bytes of a character to the
    fraction of the characters so begun that are of the script, counted at tokens that end inside a character.
    """

    name: str
    share: float
    partial: dict[bytes, float]

    def __call__(self, document: TokenisedDocument) -> Float[np.ndarray, " n_tokens"]:
        """The ratio of the shortest string of whole characters, or of what is seen of one, that ends at each token."""
        spans = Spans.of(document, BLOCKS[self.name])
        probability = np.where(spans.inside & ~spans.cut, 1.0, IMPOSSIBLE)
        unfinished = np.flatnonzero(spans.cut & spans.earlier_inside)
        for i, begun in zip(unfinished, spans.begun(document, unfinished), strict=True):
            probability[i] = max(self.partial.get(begun, 0.0), IMPOSSIBLE)
        ratio: np.ndarray = np.log(probability) - np.log(self.share)
        return ratio


@dataclass(frozen=True)
class Spans:
    """What each token covers: characters from the one that its first byte belongs to, to that of its last byte.

    ``earlier_inside``: all but the last lie in the blocks; ``last_inside``: the last does. ``cut``: the token ends
    inside its last character, which begins at byte ``last_starts``.
    """

    earlier_inside: Bool[np.ndarray, " n_tokens"]
    last_inside: Bool[np.ndarray, " n_tokens"]
    cut: Bool[np.ndarray, " n_tokens"]
    last_starts: Int[np.ndarray, " n_tokens"]

    @classmethod
    def of(cls, document: TokenisedDocument, blocks: tuple[tuple[int, int], ...]) -> Spans:
        """The spans of a document's tokens."""
        data = np.frombuffer(document.text.encode(), np.uint8)
        points = np.frombuffer(document.text.encode("utf-32-le"), np.uint32)
        inside = np.zeros(len(points), bool)
        for low, high in blocks:
            inside |= (points >= low) & (points <= high)
        begins = np.flatnonzero((data & 0xC0) != 0x80)
        character = np.cumsum((data & 0xC0) != 0x80) - 1
        ends = np.concatenate([begins[1:], [len(data)]])
        outside_before = np.concatenate([[0], np.cumsum(~inside)])
        final = np.maximum(document.ends - 1, document.starts)
        first, last = character[document.starts], character[final]
        earlier = outside_before[last] == outside_before[first]
        return cls(earlier, inside[last], document.ends < ends[last], begins[last])

    def begun(self, document: TokenisedDocument, tokens: Int[np.ndarray, " n"]) -> list[bytes]:
        """What is seen of the last character at the end of each of these tokens."""
        data = document.text.encode()
        ends = np.asarray(document.ends)[tokens]
        return [data[s:e] for s, e in zip(self.last_starts[tokens].tolist(), ends.tolist(), strict=True)]

    @property
    def inside(self) -> Bool[np.ndarray, " n_tokens"]:
        """All characters lie in the blocks."""
        return self.earlier_inside & self.last_inside


def fit(names: Iterable[str], documents: Iterable[TokenisedDocument], vocabulary: int) -> list[Proxy]:
    """Proxies whose unigram probabilities, shares and partial characters are counted on ``documents``.

    Raises:
        MonoscopeError: a name is neither an alphabet's nor a script's, or no token is of a script.
    """
    wanted = list(names)
    for name in wanted:
        if name not in ALPHABETS and name not in BLOCKS:
            raise unknown_name("proxy", name, [*ALPHABETS, *BLOCKS])
    scripts = [name for name in wanted if name in BLOCKS]
    counts = np.ones(vocabulary)  # one of each, so that an unseen token is improbable, not impossible
    of_script, begun, begun_inside = Counter[str](), Begun(), Begun()
    tokens = 0
    for document in documents:
        counts += np.bincount(document.tokens, minlength=vocabulary)
        tokens += len(document)
        for name in scripts:
            spans = Spans.of(document, BLOCKS[name])
            of_script[name] += int(spans.inside.sum())
            cut = np.flatnonzero(spans.cut)
            for data, inside in zip(spans.begun(document, cut), spans.last_inside[cut].tolist(), strict=True):
                begun[name, data] += 1
                begun_inside[name, data] += inside
    log_unigram = np.log(counts / counts.sum())
    return [
        Charset(name, *ALPHABETS[name], log_unigram)
        if name in ALPHABETS
        else _script(name, of_script[name], tokens, begun, begun_inside)
        for name in wanted
    ]


def _script(name: str, found: int, tokens: int, begun: Begun, begun_inside: Begun) -> Script:
    if found == 0:
        raise MonoscopeError(
            f"no token of the text is {name}", fix=f"add text in the {name} script, or leave that proxy out"
        )
    partial = {key[1]: begun_inside[key] / n for key, n in begun.items() if key[0] == name}
    return Script(name, found / tokens, partial)
