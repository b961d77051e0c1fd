"""What is generated is what the model itself would generate, and what is read on it is what a pass over it reads."""

from __future__ import annotations

import pytest
import torch
from tiny_models import CONFIGS, CONTEXT, ENCODERS, VOCABULARY, language_model

from monoscope.errors import MonoscopeError
from monoscope.models.generation import generate
from monoscope.types import TokenBlock

decoders = pytest.mark.parametrize("family", [f for f in CONFIGS if f not in ENCODERS])
PROMPT = [3, 1, 4, 1, 5]


@decoders
def test_the_likeliest_tokens_are_those_of_transformers(family: str) -> None:
    lm = language_model(family)
    prefix = lm.tokeniser.prefix
    count = CONTEXT - len(prefix) - len(PROMPT)
    found = [w.token for w in generate(lm, PROMPT, count)]
    with torch.no_grad():
        ids = torch.tensor([[*prefix, *PROMPT]])
        whole = lm.model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=count, do_sample=False, pad_token_id=0,
            eos_token_id=lm.tokeniser.fast.eos_token_id,
        )  # fmt: skip
    wanted = whole[0, ids.shape[1] :].tolist()
    end = lm.tokeniser.fast.eos_token_id
    assert found == (wanted[: wanted.index(end)] if end in wanted else wanted)


@decoders
def test_what_is_read_is_what_a_pass_over_the_text_reads(family: str) -> None:
    lm = language_model(family)
    site, prefix = "resid_post.1", lm.tokeniser.prefix
    written = list(generate(lm, PROMPT, 3, temperature=1.0, seed=1, read=[site]))
    tokens = torch.tensor([[*prefix, *PROMPT, *(w.token for w in written)]])
    block = TokenBlock(tokens, torch.zeros_like(tokens), torch.zeros_like(tokens))
    whole = lm.run(block, read=[site])[site][0]
    for i, w in enumerate(written):
        torch.testing.assert_close(w.values[site], whole[len(prefix) + len(PROMPT) + i], rtol=1e-4, atol=1e-5)


def test_a_seed_says_what_is_drawn_and_a_long_text_is_read_from_its_end() -> None:
    lm = language_model("gpt2")
    long = [i % VOCABULARY for i in range(3 * CONTEXT)]
    draw = lambda text, seed: [w.token for w in generate(lm, text, 6, temperature=1.5, seed=seed)]  # noqa: E731
    assert draw(long, 1) == draw(long, 1) == draw(long[CONTEXT:], 1)
    assert len({tuple(draw(long, seed)) for seed in range(5)}) > 1


def test_drawing_follows_the_probabilities() -> None:
    lm = language_model("gpt2")
    drawn = [next(generate(lm, PROMPT, 1, temperature=0.2, seed=seed), None) for seed in range(300)]
    first = [lm.tokeniser.fast.eos_token_id if w is None else w.token for w in drawn]
    tokens = torch.tensor([[*lm.tokeniser.prefix, *PROMPT]])
    logits = lm.run(TokenBlock(tokens, tokens * 0, tokens * 0), read=["logits"])["logits"][0, -1]
    p = torch.softmax(logits.float() / 0.2, 0)
    likeliest = int(p.argmax())
    share = sum(t == likeliest for t in first) / len(first)
    assert abs(share - float(p[likeliest])) < 4 * float((p[likeliest] * (1 - p[likeliest]) / len(first)).sqrt()) + 1e-9


def test_tokens_may_be_a_tensors_and_nonsense_is_refused_before_anything_is_written() -> None:
    lm = language_model("gpt2")
    wanted = [w.token for w in generate(lm, PROMPT, 3)]
    assert [w.token for w in generate(lm, torch.tensor(PROMPT), 3)] == wanted
    for wrong in (None, "def", torch.tensor([PROMPT]), [0.5]):
        with pytest.raises(MonoscopeError, match="no list of tokens"):
            generate(lm, wrong, 3)
    for options, message in (
        ({"temperature": -1.0}, "a temperature of -1"),
        ({"temperature": float("nan")}, "a temperature of nan"),
        ({"seed": None}, "seed is None"),
        ({"count": 2.5}, "count is 2.5"),
        ({"count": -1}, "count is -1"),
    ):
        with pytest.raises(MonoscopeError, match=message):
            generate(lm, PROMPT, **{"count": 3, **options})


def test_a_model_that_predicts_no_next_token_is_refused() -> None:
    with pytest.raises(MonoscopeError, match="does not predict the next token"):
        generate(language_model(ENCODERS[0]), PROMPT, 3)
