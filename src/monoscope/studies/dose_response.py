"""Dose and response: how much more often a steered model says what it should, and what that costs.

*Effect* is the share of new tokens on which a concept holds. *Damage* is measured three ways: how much less likely the
plain model finds what the steered one says (nats a token, beside what it thinks of its own), how much of it repeats
itself, and the KL divergence from the plain model's next-token distribution on held-out text. Every dose of the feature
stands beside random features at the same dose, the difference of means at the same length, and a prompt that shows the
model examples. All arms go on with the same prompts, and all intervals resample prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from monoscope.concepts import Expression
from monoscope.evaluate.intervals import Estimate, Sampled, sample
from monoscope.intervene.edit import Recipe
from monoscope.intervene.steering import steer
from monoscope.models.language_model import LanguageModel
from monoscope.studies.continuations import Sampling, go_on, repeated, surprise

Progress = Callable[[int], None]


@dataclass(frozen=True)
class Arm:
    """One way of making the model say it.

    Args:
        name: "plain", "feature", "random features", "difference of means" or "prompt".
        dose: of the feature's edit; None where there is none.
        recipes: what steers; several are several runs over the same prompts, counted together. None: unsteered.
        prefix: tokens before every prompt.
    """

    name: str
    dose: float | None = None
    recipes: tuple[Recipe | None, ...] = (None,)
    prefix: tuple[int, ...] = ()


@dataclass(frozen=True)
class Response:
    """What an arm did; estimates with 95 % intervals over prompts.

    ``effect`` is a share of new tokens, ``gain`` its paired difference to the plain arm, ``excess`` is in nats a token,
    ``repetition`` a share of runs of four tokens, ``kl`` in nats a token (None where nothing is steered).
    """

    name: str
    dose: float | None
    effect: Estimate
    gain: Estimate
    excess: Estimate
    repetition: Estimate
    kl: Estimate
    n_tokens: int


def respond(
    lm: LanguageModel,
    given: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    concept: Expression,
    arms: Sequence[Arm],
    sampling: Sampling,
    *,
    seed: int = 0,
    progress: Progress = lambda done: None,
) -> list[Response]:
    """Try all arms; the first must be the plain one.

    Args:
        lm: the model.
        given: prompts, as tokens.
        held_out: texts on which the divergence is measured, as tokens.
        concept: what counts as an effect.
        arms: what to try.
        sampling: how the model goes on.
        seed: of the resampled prompts.
        progress: told 1 after every run over the prompts.
    """
    tried = [_try(lm, given, held_out, concept, arm, sampling, progress) for arm in arms]
    drawn = [sample(counts, _values, seed) for counts in tried]
    plain = drawn[0]
    return [_response(arm, counts, found, plain) for arm, counts, found in zip(arms, tried, drawn, strict=True)]


def sweet_spot(responses: Sequence[Response], tolerance: float) -> Response | None:
    """The dose of the feature with the largest effect that costs at most ``tolerance`` nats a token for sure.

    Only doses whose gain is above 0 with certainty count; None when there is none.
    """
    good = [
        r for r in responses
        if r.name == "feature" and (r.gain.low or 0) > 0 and r.excess.high is not None and r.excess.high <= tolerance
    ]  # fmt: skip
    return max(good, key=lambda r: r.effect.value or 0, default=None)


def _try(
    lm: LanguageModel,
    given: Sequence[Sequence[int]],
    held_out: Sequence[Sequence[int]],
    concept: Expression,
    arm: Arm,
    sampling: Sampling,
    progress: Progress,
) -> dict[str, np.ndarray]:
    """Sums for each prompt; those of several recipes are added."""
    prompts = [[*arm.prefix, *prompt] for prompt in given]
    total: dict[str, np.ndarray] = {}
    for i, recipe in enumerate(arm.recipes):
        said = go_on(lm, prompts, replace(sampling, seed=sampling.seed + 10_007 * i), recipe)
        counts = repeated(said).numpy()
        found = {
            "hits": np.array([_hits(lm, concept, p, new) for p, new in zip(prompts, said, strict=True)]),
            "tokens": np.array([len(new) for new in said]),
            "surprise": surprise(lm, prompts, said).numpy(),
            "repeats": counts[:, 0],
            "runs": counts[:, 1],
            **_divergence(lm, held_out, recipe, len(given)),
        }
        total = {name: total.get(name, 0) + value for name, value in found.items()}
        progress(1)
    return {name: np.asarray(value, np.float64) for name, value in total.items()}


def _hits(lm: LanguageModel, concept: Expression, prompt: Sequence[int], new: Sequence[int]) -> float:
    """On how many new tokens the concept holds, in the text of prompt and continuation together.

    What was said is tokenised again: a model may say a word in other pieces than the tokeniser cuts it into.
    """
    before = lm.tokeniser.fast.decode(list(prompt), clean_up_tokenization_spaces=False)
    whole = lm.tokeniser.fast.decode([*prompt, *new], clean_up_tokenization_spaces=False)
    document = lm.tokeniser.text(whole)
    mask = concept.mask(document)
    is_new = document.starts >= len(before.encode())
    share = mask[is_new].mean() if is_new.any() else 0.0
    return float(share) * len(new)


def _divergence(
    lm: LanguageModel, held_out: Sequence[Sequence[int]], recipe: Recipe | None, n: int
) -> dict[str, np.ndarray]:
    """Sums of KL(plain ‖ steered) and of tokens, for as many groups of held-out texts as there are prompts."""
    kl, tokens = np.zeros(n), np.zeros(n)
    if recipe is None:
        return {"kl": kl, "kl_tokens": tokens}
    for i, text in enumerate(held_out):
        given = torch.tensor([[*lm.tokeniser.prefix, *text]], device=lm.device)
        with torch.no_grad():
            plain = lm.model(input_ids=given).logits[0].float().log_softmax(-1)
            with steer(lm, recipe):
                steered = lm.model(input_ids=given).logits[0].float().log_softmax(-1)
        kl[i % n] += float((plain.exp() * (plain - steered)).sum())
        tokens[i % n] += len(text)
    return {"kl": kl, "kl_tokens": tokens}


def _values(totals: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            "effect": totals["hits"] / totals["tokens"],
            "surprise": totals["surprise"] / totals["tokens"],
            "repetition": totals["repeats"] / totals["runs"],
            "kl": totals["kl"] / totals["kl_tokens"],
        }


def _response(
    arm: Arm, counts: Mapping[str, np.ndarray], found: Mapping[str, Sampled], plain: Mapping[str, Sampled]
) -> Response:
    return Response(
        arm.name,
        arm.dose,
        found["effect"].estimate(),
        found["effect"].minus(plain["effect"]),
        found["surprise"].minus(plain["surprise"]),
        found["repetition"].estimate(),
        found["kl"].estimate(),
        int(counts["tokens"].sum()),
    )
