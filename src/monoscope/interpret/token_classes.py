"""Classes of a vocabulary's tokens, and which of them a direction raises.

A class is a concept that a token's own bytes decide, or two of them. Half of the tokens choose: the class whose area
under the curve is most standard errors beyond chance (Mann and Whitney 1947), if those are ``LEAST_Z`` at least, which
some thousand classes do not reach by chance. A part of what a direction raises has as large an area, but less weight; a
class that holds more than it raises has a smaller area: so the class as it is wins. The other half judges: the area
under the curve again, that is, the chance that the direction adds more to a token of the class than to another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from monoscope.concepts import Analysed, Concept, every
from monoscope.evaluate.intervals import Estimate
from monoscope.interpret import wording
from monoscope.interpret.claims import AND, MOST_TOKENS
from monoscope.interpret.wording import Term
from monoscope.types import TokenisedDocument

LEAST = 6  # tokens of a class, and tokens outside it, in each half
LEAST_Z = 5.0
STANDS_OUT = 5.0  # standard deviations of the other tokens' effects, for a token to be named by itself
NONE = -1
_FOLLOWS = ("starting ", "ending ", "holding ", "beyond ", "in ")


@dataclass(frozen=True)
class Classes:
    """``members[token, c]``: whether a token is of class ``c``; ``chooses[token]``: which half it is in."""

    expressions: tuple[str, ...]
    words: tuple[str, ...]
    members: Bool[np.ndarray, "n_tokens n_classes"]
    chooses: Bool[np.ndarray, " n_tokens"]

    def __len__(self) -> int:
        return len(self.expressions)


def classes(spellings: Sequence[bytes], seed: int) -> Classes:
    """Every class of the tokens that has ``LEAST`` tokens, and leaves out as many, in either half; each once.

    Args:
        spellings: the tokens' bytes, whole characters each.
        seed: of the halves.
    """
    n = len(spellings)
    ends = np.cumsum([len(s) for s in spellings], dtype=np.int64)
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    document = Analysed(TokenisedDocument("tokens", b"".join(spellings).decode(), np.arange(n), starts, ends))
    chooses = np.random.default_rng((seed, n)).permutation(n) % 2 == 0
    own = [(c, c.find(document)) for c in every() if c.own]
    found: dict[bytes, tuple[list[Concept], Bool[np.ndarray, " n_tokens"]]] = {}
    pairs = (([a, b], of_a & of_b) for (a, of_a), (b, of_b) in combinations(own, 2))
    for literals, mask in [*(([c], mask) for c, mask in own), *pairs]:
        if all(LEAST <= mask[half].sum() <= half.sum() - LEAST for half in (chooses, ~chooses)):
            found.setdefault(np.packbits(mask).tobytes(), (literals, mask))
    said = [[Term(int(AND), literal) for literal in literals] for literals, _ in found.values()]
    return Classes(
        tuple(map(wording.in_writing, said)),
        tuple(_in_words([c.words for c in literals]) for literals, _ in found.values()),
        np.stack([mask for _, mask in found.values()], axis=1) if found else np.zeros((n, 0), bool),
        chooses,
    )


def _in_words(phrases: Sequence[str]) -> str:
    """What a token is, then what it begins with, holds or ends in."""
    first, *more = sorted(phrases, key=lambda phrase: phrase.startswith(_FOLLOWS))
    return "".join([first, *((" " if m.startswith(_FOLLOWS) else ", ") + m for m in more)])


def ranks(effects: Float[np.ndarray, "f n"]) -> Float32[np.ndarray, "f n"]:
    """The rank of every effect in its row, 1 the least."""
    out = np.empty(effects.shape, np.float32)
    places = np.broadcast_to(np.arange(1, effects.shape[1] + 1, dtype=np.float32), effects.shape)
    np.put_along_axis(out, effects.argsort(axis=1), places, axis=1)
    return out


def choose(effects: Float[np.ndarray, "f n_tokens"], among: Classes) -> Int[np.ndarray, " f"]:
    """The class that each direction raises, by the half that chooses; ``NONE`` where none is beyond chance."""
    if not len(among):
        return np.full(len(effects), NONE)
    ranked = ranks(effects[:, among.chooses])
    members = among.members[among.chooses].astype(np.float32)
    n, inside = len(members), members.sum(0).astype(np.float64)
    auc = ((ranked @ members) / inside - (inside + 1) / 2) / (n - inside)
    z = (auc - 0.5) / np.sqrt((n + 1) / (12 * inside * (n - inside)))
    return np.where(z.max(1) >= LEAST_Z, z.argmax(1), NONE)


def judge(ranked: Float32[np.ndarray, " n"], members: Bool[np.ndarray, " n"]) -> Estimate:
    """The area under the curve with its 95 % interval over tokens (DeLong, DeLong and Clarke-Pearson 1988).

    ``ranked`` are the ranks of the tokens that judge, no two alike. The interval is what resampling tokens of either
    kind comes to, in closed form.
    """
    parts = []
    for mine, sign in ((members, 0.0), (~members, 1.0)):
        own = np.empty(int(mine.sum()))
        own[ranked[mine].argsort()] = np.arange(1, len(own) + 1)
        below = (ranked[mine] - own) / (len(ranked) - len(own))  # of the other kind
        parts.append(np.abs(sign - below))
    value = float(parts[0].mean())
    reach = 1.959964 * float(np.sqrt(sum(part.var(ddof=1) / len(part) for part in parts)))
    return Estimate(value, max(0.0, value - reach), min(1.0, value + reach))


def outstanding(effects: Float[np.ndarray, " n_tokens"]) -> list[int]:
    """The tokens whose effects stand ``STANDS_OUT`` deviations above the others'; none if over ``MOST_TOKENS`` do."""
    order = np.argsort(-effects, kind="stable")
    top, others = order[:MOST_TOKENS], effects[order[MOST_TOKENS:]]
    if not len(others):
        return []
    least = others.mean() + STANDS_OUT * max(float(others.std()), float(np.finfo(np.float32).eps))
    found: list[int] = top[effects[top] > least].tolist()
    return found if others.max() <= least else []
