"""Watching live: what is read, on which tokens, cached or not, padded or not, beside steering."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from watch_world import SITE, D, dictionary, model, saved, some_rules, tokens

import monoscope as ms
from monoscope.dictionary.base import architectures
from monoscope.errors import MonoscopeError
from monoscope.intervene.edit import Edit, Recipe
from monoscope.models import taps
from monoscope.models.sites import sites_of
from monoscope.ops import encode
from monoscope.signals.direction import Direction
from monoscope.types import Site
from monoscope.watch.monitor import Event, Monitor
from monoscope.watch.recording import Recording
from monoscope.watch.rules import Condition, Rule, Rules, Signal


def hooks(module: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in module.modules())


def at(site: str, given: Tensor) -> Tensor:
    """The site's activations."""
    seen: dict[str, Tensor] = {}
    ear = (site, sites_of(model(), "tiny").place(Site.parse(site)), lambda h: seen.update(h=h), False)
    with taps.listen(model(), [ear], lambda shape, inputs: None, lambda: None):
        model()(input_ids=given)
    return seen["h"]


def padded(texts: list[Tensor]) -> dict[str, Tensor]:
    """Texts as a batch, padded on the left."""
    width = max(map(len, texts))
    ids = torch.stack([torch.cat([torch.zeros(width - len(t), dtype=torch.long), t]) for t in texts])
    mask = torch.stack([torch.cat([torch.zeros(width - len(t)), torch.ones(len(t))]) for t in texts]).long()
    return {"input_ids": ids, "attention_mask": mask}


def generated(rules: Rules, batch: dict[str, Tensor], **options: Any) -> list[tuple[list[int], list[Event]]]:
    """What was watched of each sequence while the model goes on with it: its tokens and events."""
    with ms.watch(model(), rules) as watching:
        model().generate(**batch, do_sample=False, **{"max_new_tokens": 12, **options})
    return [(row.tokens, row.events) for row in watching.rows if row is not None]


def alike(some: list[tuple[list[int], list[Event]]], others: list[tuple[list[int], list[Event]]]) -> None:
    """The same tokens and the same events; their values, which are kept in fp16, as a model rounds in other shapes."""
    assert [text for text, _ in some] == [text for text, _ in others]
    mine, theirs = ([event for _, events in rows for event in events] for rows in (some, others))
    assert [replace(event, value=0.0) for event in mine] == [replace(event, value=0.0) for event in theirs]
    values = (torch.tensor([event.value for event in events], dtype=torch.float16) for events in (mine, theirs))
    torch.testing.assert_close(*values)


@pytest.mark.parametrize("name", architectures())
def test_values_are_what_a_whole_encode_gives(name: str, tmp_path: Path) -> None:
    made, given = some_rules(tmp_path, name), tokens()
    with ms.watch(model(), made) as watching:
        model()(input_ids=given)
        found = watching.values
    dense = dictionary(name).encode(at(SITE, given).reshape(-1, D)).to_dense().view(3, 10, -1)
    assert torch.equal(found[..., :2], dense[..., [3, 5]]) and (found[..., :2] > 0).any()
    other = dictionary("batch_topk", 1).encode(at("resid_post.1", given).reshape(-1, D)).to_dense().view(3, 10, -1)
    assert torch.equal(found[..., 2], other[..., 2])
    probe = at("resid_mid.1", given) @ torch.linspace(-1, 1, D) + 0.25
    torch.testing.assert_close(found[..., 3], probe)


def test_padding_has_no_values_and_does_not_count(tmp_path: Path) -> None:
    made, texts = some_rules(tmp_path), [tokens(1, n, n)[0] for n in (4, 7)]
    with ms.watch(model(), made) as watching:
        model()(**padded(texts))
        assert watching.values[0, :3].isnan().all() and not watching.values[0, 3:].isnan().any()
        assert [row.tokens for row in watching.rows] == [t.tolist() for t in texts]


@pytest.mark.parametrize("cached", [True, False])
def test_sequences_of_a_padded_batch_are_watched_as_if_each_were_alone(tmp_path: Path, cached: bool) -> None:
    made, texts = some_rules(tmp_path), [tokens(1, n, n)[0] for n in (3, 8, 5, 6)]
    alone = [generated(made, padded([text]), use_cache=cached)[0] for text in texts]
    alike(generated(made, padded(texts), use_cache=cached), alone)
    assert any(events for _, events in alone)


def test_a_cache_changes_no_alarm(tmp_path: Path) -> None:
    made, batch = some_rules(tmp_path), padded([tokens(1, n, n)[0] for n in (3, 8)])
    alike(generated(made, batch), generated(made, batch, use_cache=False))


def test_a_sequence_that_ended_is_watched_no_longer(tmp_path: Path) -> None:
    made, texts = some_rules(tmp_path), [tokens(1, n, n)[0] for n in (3, 8)]
    said = model().generate(**padded(texts), do_sample=False, max_new_tokens=12)[:, 8:]
    end = int(said[0, 4])
    assert end not in said[0, :4] and end not in said[1]
    before, model().generation_config.eos_token_id = model().generation_config.eos_token_id, end
    try:
        for cached in (True, False):
            alone = [generated(made, padded([text]), use_cache=cached)[0] for text in texts]
            alike(generated(made, padded(texts), use_cache=cached), alone)
            assert len(alone[0][0]) == 3 + 4 and len(alone[1][0]) == 8 + 11
    finally:
        model().generation_config.eos_token_id = before


def test_feeding_by_hand_gives_the_events_of_one_pass(tmp_path: Path) -> None:
    made, given = some_rules(tmp_path), tokens(2, 12)
    with ms.watch(model(), made) as watching:
        model()(input_ids=given)
        whole = [row.events for row in watching.rows]
        cache = None
        for piece in (given[:, :5], given[:, 5:6], given[:, 6:]):
            cache = model()(input_ids=piece, past_key_values=cache, use_cache=True).past_key_values
        pieces = [row.events for row in watching.rows]
        model()(input_ids=given[:, :7])
        model()(input_ids=given)
        longer = [row.events for row in watching.rows]
        assert [row.number for row in watching.rows] == [4, 5]
        model()(input_ids=given)  # the same again is no longer text, so it is another sequence
        assert [row.number for row in watching.rows] == [6, 7]
    assert whole == pieces == longer and any(whole)


def test_what_is_no_model_no_rules_and_no_folder_is_refused(tmp_path: Path) -> None:
    for arguments, message in (
        (("gpt2", some_rules(tmp_path)), "a str is no model"),
        ((model(), 3), "a int is no rules"),
        ((model(), {"rules": []}), "a dict is no rules"),
    ):
        with pytest.raises(MonoscopeError, match=message), ms.watch(*arguments):
            pass
    with pytest.raises(MonoscopeError, match="3 is no path"), ms.watch(model(), some_rules(tmp_path), record=3):
        pass


def test_a_sequence_that_is_cut_back_is_refused(tmp_path: Path) -> None:
    with ms.watch(model(), some_rules(tmp_path)) as watching:
        cache = model()(input_ids=tokens(), use_cache=True).past_key_values
        cache.crop(-2)
        with pytest.raises(MonoscopeError, match=r"goes on at place .*, but 10"):
            model()(input_ids=tokens(3, 2), past_key_values=cache)
        watching.restart()
        cache = model()(input_ids=tokens(), use_cache=True).past_key_values
        watching.restart()
        model()(input_ids=tokens(3, 2), past_key_values=cache)
        assert [row.first for row in watching.rows] == [10, 10, 10]


def test_without_following_there_are_values_alone(tmp_path: Path) -> None:
    made, given = some_rules(tmp_path), tokens()
    with ms.watch(model(), made, follow=False) as watching:
        model()(input_ids=given)
    with ms.watch(model(), made) as following:
        model()(input_ids=given)
    assert torch.equal(watching.values, following.values) and watching.rows == [] and watching.events == []
    assert [e for row, e in following.events if row == 1] == Monitor(made).step(following.values[1].numpy())


@pytest.mark.parametrize("first", ["steer", "watch"])
@pytest.mark.parametrize("site", [SITE, "resid_mid.0"])
def test_what_steering_wrote_is_read_whichever_began_first(first: str, site: str, tmp_path: Path) -> None:
    given = tokens()
    np.save(tmp_path / "v.npy", np.ones(D, np.float32))
    of = Direction(vector=str(tmp_path / "v.npy"))
    recipe = Recipe((Edit("add", of, 9.0, site=site),))
    rules = Rules((Signal("after", of, site), Signal("before", of, site, before=True)))
    plain = at(site, given).sum(-1)
    contexts = {"steer": lambda: ms.steer(model(), recipe), "watch": lambda: ms.watch(model(), rules)}
    second = "watch" if first == "steer" else "steer"
    with contexts[first]() as one, contexts[second]() as two:
        model()(input_ids=given)
        steered = at(site, given).sum(-1)
    values = (one if first == "watch" else two).values
    torch.testing.assert_close(values[..., 0], steered)
    torch.testing.assert_close(values[..., 1], plain)
    assert not torch.allclose(plain, steered)


def test_watching_changes_nothing_and_leaves_nothing_behind(tmp_path: Path) -> None:
    made, given, before = some_rules(tmp_path), tokens(), hooks(model())
    plain = model()(input_ids=given).logits
    with pytest.raises(ValueError, match="mine"), ms.watch(model(), made):
        assert torch.equal(model()(input_ids=given).logits, plain)
        raise ValueError("mine")
    assert hooks(model()) == before


def test_only_watched_features_are_encoded_where_they_do_not_compete(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = dictionary().encode(at(SITE, tokens()).reshape(-1, D)).to_dense()[:, 3]
    monkeypatch.setattr(type(dictionary()), "encode", lambda self, x: 1 / 0)
    with ms.watch(model(), Rules((Signal("x", Direction(saved(tmp_path / "d", dictionary()), 3)),))) as watching:
        model()(input_ids=tokens())
    assert torch.equal(watching.values.flatten(), wanted) and wanted.any()


def test_a_few_rows_wake_no_other_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_rescore_above", lambda *operands: 1 / 0)  # the parallel kernel
    with ms.watch(model(), some_rules(tmp_path, "batch_topk")) as watching:
        model()(input_ids=tokens())
    assert (watching.values > 0).any()


def test_a_pass_that_is_broken_off_ends_its_sequences(tmp_path: Path) -> None:
    made, given = some_rules(tmp_path), tokens()
    place = sites_of(model(), "tiny").place(Site.parse("resid_post.1"))
    with ms.watch(model(), made, record=tmp_path / "r") as watching:
        cache = model()(input_ids=given[:, :4], use_cache=True).past_key_values
        write = {"w": (place, lambda h: torch.full_like(h, torch.nan))}
        with pytest.raises(MonoscopeError, match="not finite"), taps.hold(model(), write, lambda shape, inputs: None):
            model()(input_ids=given[:, 4:5], past_key_values=cache)
        model()(input_ids=given)
        assert [(row.number, len(row.tokens)) for row in watching.rows] == [(3, 10), (4, 10), (5, 10)]
    (block,) = Recording(tmp_path / "r").blocks()
    assert block.sequences.tolist() == [n for n in range(3) for _ in range(4)] + [
        n for n in range(3, 6) for _ in range(10)
    ]
    assert block.notes["ended"] == [0, 1, 2, 3, 4, 5]


def test_overflow_is_an_error_where_it_arises(tmp_path: Path) -> None:
    made, given = some_rules(tmp_path), tokens()
    place = sites_of(model(), "tiny").place(Site.parse(SITE))
    write = {"w": (place, lambda h: torch.where(torch.arange(10)[:, None] == 4, torch.inf, h))}
    with ms.watch(model(), made), taps.hold(model(), write, lambda shape, inputs: None):
        with pytest.raises(MonoscopeError, match=r"not finite \(resid_post.0, while it is watched"):
            model()(input_ids=given)
    probe = Rules((replace(made.signals[3], site=SITE),), (Rule("r", Condition("probe", 0.0)),))
    with ms.watch(model(), probe), taps.hold(model(), write, lambda shape, inputs: None):
        with pytest.raises(MonoscopeError, match="probe is nan on token 4"):
            model()(input_ids=given)


@pytest.mark.parametrize("site", [SITE, "resid_mid.1"])
def test_where_rows_are_assigned_only_the_row_that_overflows_fails(site: str, tmp_path: Path) -> None:
    made, given = some_rules(tmp_path), tokens()
    huge = torch.linspace(-1, 1, D).sign() * 3e38  # finite, but not its product with the probe
    bad = torch.full((D,), torch.nan) if site == SITE else huge
    row, column = torch.arange(3)[:, None, None] == 1, torch.arange(10)[:, None] == 4
    write = {"w": (sites_of(model(), "tiny").place(Site.parse(site)), lambda h: torch.where(row & column, bad, h))}
    with ms.watch(model(), made, record=tmp_path / "plain") as plain:
        model()(input_ids=given)
    with ms.watch(model(), made, record=tmp_path / "r") as watching:
        watching.assign([None] * 3)
        with taps.hold(model(), write, lambda shape, inputs: None):
            model()(input_ids=given)
        assert list(watching.failed) == [1] and watching.values[1].isnan().all()
        assert re.search("token 4 are not finite|probe is -?(inf|nan) on token 4", str(watching.failed[1]))
        assert watching.rows[1].over and not watching.rows[1].events
        assert torch.equal(watching.values[[0, 2]], plain.values[[0, 2]])
        assert [watching.rows[i].events for i in (0, 2)] == [plain.rows[i].events for i in (0, 2)]
        watching.assign([watching.rows[0]])
        model()(input_ids=given[:1], position_ids=torch.arange(10, 20)[None], attention_mask=torch.ones(1, 20))
        assert not watching.failed and len(watching.rows[0].tokens) == 20
    (block,), (whole,) = Recording(tmp_path / "r").blocks(), Recording(tmp_path / "plain").blocks()
    kept = whole.sequences != 1
    assert np.array_equal(block.sequences[:20], whole.sequences[kept]) and set(block.sequences[20:]) == {0}
    assert np.array_equal(block.codes[0].column(3)[:20], whole.codes[0].column(3)[kept])
