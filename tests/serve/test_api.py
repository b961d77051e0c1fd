"""The protocol, as OpenAI's own client sees it."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import pytest
import torch
from serve_live import Live
from serve_world import FEATURES, dictionary, generated, reference

openai = pytest.importorskip("openai")

TEXT = "import os\nimport "


def framed(text: str = TEXT) -> list[int]:
    lm = reference()
    return [*lm.tokeniser.prefix, *lm.tokeniser.text(text).tokens.tolist()]


def say(live: Live, **asked: Any) -> Any:
    return live.client.completions.create(**{"model": "reference-a", "prompt": TEXT, "temperature": 0, **asked})


def chat(live: Live, **asked: Any) -> Any:
    given = {"model": "reference-a", "messages": [{"role": "user", "content": "say hello"}], "temperature": 0}
    return live.client.chat.completions.create(**{**given, "max_completion_tokens": 12, **asked})


def decoded(tokens: list[int]) -> str:
    found: str = reference().tokeniser.backend.decode(tokens)
    return found


def test_a_completion_is_what_generate_says(plain: Live) -> None:
    found = say(plain, max_tokens=20)
    new, _ = generated(reference(), framed(), 20)
    assert found.choices[0].text == decoded(new) and found.choices[0].finish_reason == "length"
    assert (found.object, found.model, found.id[:5]) == ("text_completion", "reference-a", "cmpl-")
    assert vars(found.usage)["prompt_tokens"] == len(framed()) and found.usage.completion_tokens == 20
    assert found.usage.total_tokens == len(framed()) + 20
    assert say(plain).usage.completion_tokens <= 16  # OpenAI's default
    assert not hasattr(found.choices[0], "monoscope")


def test_a_stream_adds_up_to_the_completion(plain: Live) -> None:
    whole = say(plain, max_tokens=30, n=2, temperature=1, seed=4, stop=["\n\n"])
    texts, ends, usage = ["", ""], dict[int, str](), None
    for chunk in say(plain, max_tokens=30, n=2, temperature=1, seed=4, stop="\n\n", stream=True,
                     stream_options={"include_usage": True}):  # fmt: skip
        for choice in chunk.choices:
            texts[choice.index] += choice.text
            if choice.finish_reason:
                assert choice.index not in ends
                ends[choice.index] = choice.finish_reason
        assert usage is None, "the counts come last"
        usage = chunk.usage
    assert texts == [c.text for c in whole.choices] and texts[0] != texts[1]
    assert ends == {c.index: c.finish_reason for c in whole.choices} and usage == whole.usage
    assert all(c.usage is None for c in say(plain, stream=True))


def test_several_prompts_and_tokens_as_prompts(plain: Live) -> None:
    other = "def area("
    found = say(plain, prompt=[TEXT, other], n=2, max_tokens=8)
    assert [c.index for c in found.choices] == [0, 1, 2, 3]
    assert found.choices[0].text == found.choices[1].text == say(plain, max_tokens=8).choices[0].text
    assert found.choices[2].text == say(plain, prompt=other, max_tokens=8).choices[0].text
    assert found.usage.prompt_tokens == len(framed()) + len(framed(other))  # each prompt counts once
    for tokens in (framed(other), [framed(other)]):
        assert say(plain, prompt=tokens, max_tokens=8).choices[0].text == found.choices[2].text


def test_stops_end_the_text_and_are_no_part_of_it(plain: Live) -> None:
    whole = say(plain, max_tokens=30).choices[0].text
    stop = whole[8:11]
    cut = say(plain, max_tokens=30, stop=["never", stop])
    assert cut.choices[0].text == whole[: whole.index(stop)] and cut.choices[0].finish_reason == "stop"


def test_a_text_ends_where_the_model_ends_it(plain: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    new, _ = generated(reference(), framed(), 20)
    monkeypatch.setattr(plain.engine, "_ends", frozenset({new[7]}))
    at = new.index(new[7])
    found = say(plain, max_tokens=20)
    assert found.choices[0].finish_reason == "stop" and found.choices[0].text == decoded(new[:at])
    assert found.usage.completion_tokens == at  # what ends it is none of it


def test_log_probabilities_of_completions(plain: Live) -> None:
    found = say(plain, max_tokens=10, logprobs=3).choices[0]
    _, logits = generated(reference(), framed(), 10)
    held = found.logprobs
    assert "".join(held.tokens) == found.text and held.text_offset[0] == 0
    assert held.text_offset == [found.text.index("".join(held.tokens[i:]), o) for i, o in enumerate(held.text_offset)]
    for i, row in enumerate(logits):
        wanted = torch.log_softmax(row, 0)
        assert held.token_logprobs[i] == pytest.approx(float(wanted.max()), abs=1e-4)
        assert len(held.top_logprobs[i]) == 3 and max(held.top_logprobs[i].values()) == held.token_logprobs[i]
    streamed = [c.choices[0].logprobs for c in say(plain, max_tokens=10, logprobs=3, stream=True)]
    assert [t for s in streamed for t in s.tokens] == held.tokens
    assert [o for s in streamed for o in s.text_offset] == held.text_offset


def test_chat_goes_through_the_template(served: Live) -> None:
    messages = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "say "}, {"type": "text", "text": "hello"}]},
    ]
    found = chat(served, messages=messages)
    prompt = "# system: be brief\n# user: say hello\n# assistant:"
    new, _ = generated(reference(), reference().tokeniser.text(prompt).tokens.tolist(), 12)
    assert found.choices[0].message.content == decoded(new) and found.choices[0].message.role == "assistant"
    assert found.object == "chat.completion" and found.choices[0].finish_reason in ("length", "stop")
    chunks = list(chat(served, messages=messages, stream=True))
    assert chunks[0].choices[0].delta.role == "assistant" and {c.object for c in chunks} == {"chat.completion.chunk"}
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == found.choices[0].message.content
    assert chunks[-1].choices[0].finish_reason == found.choices[0].finish_reason
    assert len({c.id for c in chunks}) == 1


def test_log_probabilities_of_chat(served: Live) -> None:
    found = chat(served, logprobs=True, top_logprobs=2).choices[0]
    assert b"".join(bytes(t.bytes) for t in found.logprobs.content).decode() == found.message.content
    assert all(len(t.top_logprobs) == 2 and t.logprob == t.top_logprobs[0].logprob for t in found.logprobs.content)
    streamed = [t for c in chat(served, logprobs=True, stream=True) for t in (c.choices[0].logprobs or Empty()).content]
    assert [t.token for t in streamed] == [t.token for t in found.logprobs.content] and streamed[0].top_logprobs == []


class Empty:
    content = ()


def test_the_helper_that_collects_streams_understands_ours(served: Live) -> None:
    asked = {"model": "reference-a", "messages": [{"role": "user", "content": "hi"}], "temperature": 0}
    whole = chat(served, **asked, max_completion_tokens=40).choices[0].message.content
    with served.client.chat.completions.stream(**asked, max_completion_tokens=40, stop=whole[9:12]) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.content == whole[: whole.index(whole[9:12])]
    assert final.choices[0].finish_reason == "stop"


def test_a_model_without_a_template_says_so(plain: Live) -> None:
    with pytest.raises(openai.BadRequestError) as error:
        chat(plain)
    assert error.value.code == "no_chat_template" and "/v1/completions" in error.value.message


def test_recipes_are_named_and_nothing_else_steers(served: Live) -> None:
    bare = say(served, max_tokens=16).choices[0].text
    one, two = (say(served, max_tokens=16, extra_body={"steer": name}).choices[0].text for name in ("one", "two"))
    assert len({bare, one, two}) == 3
    for name in ("three", "one.toml", "../../etc/passwd", "/tmp/recipe.toml", ""):
        with pytest.raises(openai.BadRequestError) as error:
            say(served, extra_body={"steer": name})
        assert error.value.param == "steer" and "valid: one, two" in error.value.message


def test_features_and_alarms_come_with_each_token(served: Live) -> None:
    found = say(served, max_tokens=12, extra_body={"features": 4, "features_of_prompt": True}).choices[0]
    read = found.monoscope["tokens"]
    assert "".join(t["text"] for t in read) == found.text and len(read) == 12
    assert "".join(t["text"] for t in found.monoscope["prompt"]) == TEXT
    assert [t["token"] for t in found.monoscope["prompt"]] == framed()
    for one in read:
        values = [f["value"] for f in one["features"]]
        assert len(values) == 4 and values == sorted(values, reverse=True)
        assert all(f["label"] == f"the token `{f['id']}`" for f in one["features"])
        assert set(one["signals"]) == {"three", "five", "probe"}
    events = [e for t in [*found.monoscope["prompt"], *read] for e in t.get("events", [])]
    assert events and {e["kind"] for e in events} == {"raised", "cleared"}
    raised: set[str] = set()
    for one in [*found.monoscope["prompt"], *read]:
        for event in one.get("events", []):
            (raised.add if event["kind"] == "raised" else raised.discard)(event["rule"])
        assert set(one["active"]) == raised
    chunks = say(served, max_tokens=12, stream=True, extra_body={"features": 4, "features_of_prompt": True})
    streamed = [c.choices[0].monoscope for c in chunks]
    assert [t for s in streamed for t in s["tokens"]] == read and streamed[0]["prompt"] == found.monoscope["prompt"]


def test_embeddings_are_pooled_codes(served: Live) -> None:
    texts = ["import os", "def area(radius):\n    return 3", "x"]
    found = served.client.embeddings.create(model="reference-a", input=texts)  # asks for base64, as it always does
    assert [e.index for e in found.data] == [0, 1, 2]
    assert found.usage.prompt_tokens == sum(len(reference().tokeniser.text(t).tokens) for t in texts)
    most = served.client.embeddings.create(
        model="reference-a", input=texts, encoding_format="float", extra_body={"pool": "max"}
    )
    for i, text in enumerate(texts):
        dense = codes(framed(text))
        assert len(found.data[i].embedding) == FEATURES
        np.testing.assert_allclose(found.data[i].embedding, dense.mean(0), rtol=1e-3, atol=1e-5)
        np.testing.assert_allclose(most.data[i].embedding, dense.max(0), rtol=1e-3, atol=1e-5)


def codes(tokens: list[int]) -> np.ndarray:
    from monoscope.types import TokenBlock

    lm, block = reference(), torch.tensor([tokens])
    found = lm.run(TokenBlock(block, torch.zeros_like(block), torch.zeros_like(block)), read=["mlp_act.0"])
    return dictionary().encode(found["mlp_act.0"][0]).to_dense()[len(lm.tokeniser.prefix) :].numpy()


def test_base64_is_little_endian_floats(served: Live) -> None:
    raw = served.client.embeddings.with_raw_response.create(
        model="reference-a", input="import os", encoding_format="base64"
    )
    sent = json.loads(raw.text)["data"][0]["embedding"]
    numbers = served.client.embeddings.create(model="reference-a", input="import os", encoding_format="float")
    np.testing.assert_allclose(np.frombuffer(base64.b64decode(sent), "<f4"), numbers.data[0].embedding, rtol=1e-5)


def test_models(served: Live, plain: Live) -> None:
    (model,) = served.client.models.list().data
    assert model.id == "reference-a" and model == served.client.models.retrieve("reference-a")
    assert model.monoscope == {
        "context": 256, "chat": True, "recipes": ["one", "two"], "rules": ["three", "five", "probe"],
        "features": FEATURES,
    }  # fmt: skip
    (model,) = plain.client.models.list().data
    assert model.monoscope == {"context": 256, "chat": False, "recipes": [], "rules": [], "features": 0}
    with pytest.raises(openai.NotFoundError):
        plain.client.models.retrieve("/etc/passwd")


@pytest.mark.parametrize(
    "asked, kind, what",
    [
        ({"model": "gpt-4"}, openai.NotFoundError, "not served here"),
        ({"model": "/etc/passwd"}, openai.NotFoundError, "not served here"),
        ({"max_tokens": 0}, openai.BadRequestError, "max_tokens"),
        ({"max_tokens": 101}, openai.BadRequestError, "at most 100 new tokens"),
        ({"prompt": "x " * 300}, openai.BadRequestError, "256"),
        ({"prompt": ["a", ""], "max_tokens": 1000}, openai.BadRequestError, "at most 100"),
        ({"prompt": [5000]}, openai.BadRequestError, "numbers from 0 to 4095"),
        ({"temperature": -1}, openai.BadRequestError, "temperature"),
        ({"temperature": 2.5}, openai.BadRequestError, "temperature"),
        ({"top_p": 0}, openai.BadRequestError, "top_p"),
        ({"n": 0}, openai.BadRequestError, "n: "),
        ({"n": 5}, openai.BadRequestError, "at most 4 choices"),
        ({"stop": ["a", "b", "c", "d", "e"]}, openai.BadRequestError, "stop"),
        ({"stop": [""]}, openai.BadRequestError, "stop"),
        ({"logprobs": 6}, openai.BadRequestError, "logprobs"),
        ({"presence_penalty": 0.5}, openai.BadRequestError, "presence_penalty"),
        ({"logit_bias": {"5": 1.0}}, openai.BadRequestError, "logit_bias"),
        ({"echo": True}, openai.BadRequestError, "echo"),
        ({"suffix": "end"}, openai.BadRequestError, "suffix"),
        ({"extra_body": {"steeer": "calm"}}, openai.BadRequestError, "steeer"),
        ({"extra_body": {"features": 3}}, openai.BadRequestError, "no dictionary"),
        ({"extra_body": {"chat_template": "{{ 1 }}"}}, openai.BadRequestError, "chat_template"),
        ({"prompt": [[1]] * 257}, openai.BadRequestError, "prompts"),
        ({"prompt": [[1]] * 9, "n": 1}, openai.RateLimitError, "wait"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_answered_is_refused_in_openais_words(
    plain: Live, asked: dict[str, Any], kind: type, what: str, stream: bool
) -> None:
    with pytest.raises(kind) as error:
        say(plain, **asked, stream=stream)
    body = error.value.body
    assert set(body) == {"message", "type", "param", "code"} and what in body["message"], body
    plain.idle()


def test_neutral_values_of_what_is_not_offered_pass(plain: Live) -> None:
    found = say(
        plain, presence_penalty=0, frequency_penalty=0, logit_bias={}, best_of=1, echo=False, suffix=None, user="me",
        stop=None, top_p=1,
    )  # fmt: skip
    assert found.choices[0].text


def test_strangers_are_refused(plain: Live) -> None:
    with openai.OpenAI(base_url=f"{plain.address}/v1", api_key="wrong", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as error:
            stranger.models.list()
    assert set(error.value.body) == {"message", "type", "param", "code"}


def test_embeddings_without_a_dictionary(plain: Live) -> None:
    with pytest.raises(openai.BadRequestError, match="no dictionary"):
        plain.client.embeddings.create(model="reference-a", input="x")
