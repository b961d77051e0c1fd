"""Rows for training: arrays and streams read alike, epochs, what is held back, units, refusals."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import D, planted

from monoscope import source
from monoscope.dictionary.base import architecture, architectures
from monoscope.errors import MonoscopeError
from monoscope.train import loop, rows, trainee
from monoscope.train.calibrate import calibrate
from monoscope.train.fit import Recipe, fit
from monoscope.train.loop import train
from monoscope.train.objectives import batch_topk


def test_blocks_and_arrays_are_read_alike():
    x, _ = planted(4000)
    whole = fit(iter(x.split(700)), 32, "topk", k=4, n_tokens=4000, batch_size=500, show_progress=False)
    assert whole.provenance["n_tokens"] == 4000
    with pytest.raises(MonoscopeError, match="ended after 4,000 rows of 5,000"):
        fit(iter(x.split(700)), 32, "topk", k=4, n_tokens=5000, batch_size=500, show_progress=False)
    with pytest.raises(MonoscopeError, match="pass n_tokens"):
        fit(iter(x.split(700)), 32, "topk", k=4, show_progress=False)


def test_whole_numbers_may_be_written_as_floats_and_nonsense_is_refused_in_words():
    x = planted(400)[0]
    told = {"n_features": 16, "n_tokens": 400, "batch_size": 100, "seed": 3, "k": 4}
    one, other = (fit(x, **numbers) for numbers in (told, {name: float(n) for name, n in told.items()}))
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    for wrong in (
        {"seed": None}, {"seed": 2**70}, {"seed": 0.5}, {"rate": "3e-3"}, {"warmup": None}, {"n_features": 16.5},
        {"n_tokens": "400"}, {"architecture": None},
    ):  # fmt: skip
        with pytest.raises(MonoscopeError):
            fit(x, **{**told, **wrong})


@pytest.mark.parametrize("turned", [lambda x: x[::-1], lambda x: x[:, ::-1], lambda x: x.astype(">f4")])
def test_arrays_that_torch_cannot_read_as_they_lie_are_read_all_the_same(turned):
    x = planted(400)[0].numpy()
    plain = np.ascontiguousarray(turned(x)).astype(np.float32)
    told = {"n_features": 16, "k": 4, "batch_size": 100}
    one, other = fit(turned(x), **told), fit(plain, **told)
    assert torch.equal(one.w_dec, other.w_dec)
    assert torch.equal(one.encode(turned(x)).values, other.encode(plain).values)


@pytest.mark.parametrize("name", architectures())
def test_every_architecture_learns_from_blocks_at_its_own_settings(name: str):
    x, _ = planted(2000)
    made = fit(iter(x.split(700)), 16, name, k=4, n_tokens=1000, batch_size=250, show_progress=False)
    assert type(made) is architecture(name) and made.provenance["n_tokens"] == 1000


def test_a_pursuit_is_trained_with_the_ends_that_it_then_has():
    x, _ = planted(2000)
    settings = {"k": 4, "batch_size": 250, "show_progress": False}
    made = fit(x, 16, "matching_pursuit", enough=0.5, once=True, **settings)
    assert made.once and made.enough > 0 and made.enough != 0.5  # the training's units became those of the rows
    assert len(made.encode(x).indices) < len(fit(x, 16, "matching_pursuit", **settings).encode(x).indices)


def test_unusable_rows_are_refused():
    x, _ = planted(8000)
    with pytest.raises(MonoscopeError, match="shape"):
        fit(x[0], 32, show_progress=False)
    with pytest.raises(MonoscopeError, match="alike"):
        fit(torch.ones(8000, 4), 8, k=2, show_progress=False)
    holed = x.clone().index_fill_(0, torch.tensor([5]), torch.nan)
    with pytest.raises(MonoscopeError, match="row 5 of x is not finite"):
        fit(holed, 32, k=4, batch_size=500, show_progress=False)
    with pytest.raises(MonoscopeError, match="row 5 of target is not finite"):
        fit(x, 32, k=4, batch_size=500, target=holed, show_progress=False)
    with pytest.raises(MonoscopeError, match="rows of one number"):
        fit(x[:, :1], 32, k=4, batch_size=500, show_progress=False)


@pytest.mark.parametrize("name", ["l1", "gated", "p_anneal", "jumprelu", "l1_2023"])
def test_a_penalty_is_led_to_no_more_than_half_of_the_features(name):
    with pytest.raises(MonoscopeError, match="an L0 of 5 with 8 features: a penalty leads to at most half"):
        Recipe.of(name, 8, k=5)
    assert Recipe.of(name, 8, k=4).options["l0"] == 4


def test_more_tokens_than_rows_are_epochs_that_never_touch_what_was_held_back():
    x = torch.randn(1000, 4)
    data = rows.from_arrays(x, None, 100, 2500, 0, hold_back=True)
    held = {tuple(row) for row in data.held_out().tolist()}
    assert len(held) == 50
    seen = [tuple(row) for batch, _ in data.batches(0) for row in batch.tolist()]
    assert len(seen) == 2500
    first, second = seen[:950], seen[950:1900]
    assert set(first) == set(second) and first != second
    assert not held & set(seen)
    again = [tuple(row) for batch, _ in data.batches(1300) for row in batch.tolist()]
    assert again == seen[1300:]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_an_array_is_left_as_it_is_by_a_training_that_writes_over_its_batches(dtype):
    x = planted(2000)[0].to(dtype)
    before, y = x.clone(), x.flip(1).contiguous()
    data = rows.from_arrays(x, y, 500, 4000, 0, hold_back=True)
    assert data.own
    for batch, target in data.batches(0):
        batch.zero_()
        target.zero_()
    assert torch.equal(x, before) and torch.equal(y, before.flip(1))
    fit(x, 16, "topk", k=2, batch_size=2000, n_tokens=4000, show_progress=False)
    assert torch.equal(x, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int32])
def test_rows_are_normalised_in_place_only_where_that_is_allowed(dtype):
    raw = (8 * torch.randn(64, 4, generator=torch.Generator().manual_seed(0))).to(dtype)
    before = raw.clone()
    units = trainee.Units(raw.float().mean(0), raw.float().mean(0), 2.0, 2.0)
    expected = (before.float() - units.mean_in) / 2
    apart, same = loop.normalised(raw, raw, units)
    assert same is apart and apart.dtype == torch.float32 and torch.equal(raw, before)
    assert torch.allclose(apart, expected, rtol=1e-6, atol=1e-6)
    over, _ = loop.normalised(raw, raw, units, in_place=True)
    assert torch.equal(over, apart)
    assert (over.data_ptr() == raw.data_ptr()) == (dtype == torch.float32)


def test_an_array_that_must_not_be_written_to_is_taken_without_a_warning(tmp_path):
    np.save(tmp_path / "rows.npy", planted(2000)[0].numpy())
    held = np.load(tmp_path / "rows.npy", mmap_mode="r")
    made = fit(held, 16, "batch_topk", k=2, batch_size=500, show_progress=False)
    assert np.array_equal(held, np.load(tmp_path / "rows.npy")) and len(made.encode(torch.from_numpy(held[:9].copy())))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("size", [500, 2000])
def test_blocks_that_someone_else_holds_are_not_written_over(dtype, size):
    blocks = list(planted(2000)[0].to(dtype).split(size))
    before = [block.clone() for block in blocks]
    told = {"n_tokens": 2000, "batch_size": 500, "k": 2, "show_progress": False}
    made = fit(iter(blocks), 16, "topk", **told)
    assert all(map(torch.equal, blocks, before))
    assert torch.equal(made.w_dec, fit((block.float() for block in before), 16, "topk", **told).w_dec)


def test_blocks_that_gradients_pass_through_are_learned_from_like_others():
    x = planted(2000)[0]
    told = {"n_tokens": 2000, "batch_size": 500, "k": 2, "show_progress": False}
    made = fit([x.clone().requires_grad_()], 16, "l1", target=[x.flip(1).requires_grad_()], **told)
    assert torch.equal(made.w_dec, fit([x], 16, "l1", target=[x.flip(1)], **told).w_dec)


def test_training_copies_no_more_of_an_array_than_a_batch_and_keeps_none(monkeypatch):
    asked, batches_held = [], []
    original = rows.ArraySource._at

    def at(self, places):
        asked.append(len(places))
        found = original(self, places)
        batches_held.append(weakref.ref(found.values["x"]))
        assert sum(ref() is not None for ref in batches_held) <= 2  # the newest, and where two chunks meet one more
        return found

    monkeypatch.setattr(rows.ArraySource, "CHUNK", 3300)
    monkeypatch.setattr(rows.ArraySource, "_at", at)
    data = rows.from_arrays(planted(8000)[0], None, 500, 20_000, 0, hold_back=True)
    fitted = Recipe.of("batch_topk", 32, k=4).trainee(data)
    train(data, {"main": fitted})
    assert max(asked) <= 1024
    assert sum(ref() is not None for ref in batches_held) == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 400), st.integers(1, 5), st.floats(0.1, 10), st.floats(-100, 100), st.integers(0, 9))
def test_units_of_pieces_are_those_of_the_whole(n, d, scale, shift, seed):
    x = torch.randn(n + 1, d, generator=torch.Generator().manual_seed(seed)) * scale + shift
    found = rows.units_of((part, part) for part in x.split(max(1, n // 3)))
    exact = x.double()
    torch.testing.assert_close(found.mean_in, exact.mean(0).float(), rtol=1e-6, atol=1e-6)
    assert found.scale_in == pytest.approx(float((exact - exact.mean(0)).square().mean().sqrt()), rel=1e-6)
    assert torch.equal(found.mean_out, found.mean_in) and found.scale_out == found.scale_in


def test_chunks_in_another_order_are_the_same_batches_as_copies(monkeypatch):
    """Later epochs, and batches over the ends of chunks: what is picked late is what copying at once would give."""
    monkeypatch.setattr(rows.ArraySource, "CHUNK", 700)
    x = torch.randn(2000, 4, generator=torch.Generator().manual_seed(0))
    order = np.random.default_rng(5).permutation(2000)
    chunks = [x[order[i : i + 700]] for i in range(0, 2000, 700)]
    again = [c[np.random.default_rng((5, source.AGAIN, 1, i)).permutation(len(c))] for i, c in enumerate(chunks)]
    data = rows.from_arrays(x, None, 300, 4000, 5, hold_back=False)
    whole = torch.cat(chunks + again)
    for start in (0, 600, 1950):
        found = torch.cat([batch for batch, _ in data.batches(start)])
        assert torch.equal(found, whole[start : start + len(found)])


@pytest.mark.parametrize("spare", [0, 100, 2000])
def test_an_iterable_is_calibrated_on_rows_that_are_not_trained_on_and_trained_on_n_tokens(spare, monkeypatch):
    """Also where it holds no more than ``n_tokens``: the first rows trained on are then read twice."""
    trained, calibrated = [], []
    monkeypatch.setattr(
        trainee.Trainee,
        "step",
        lambda self, x, *a, _step=trainee.Trainee.step: trained.extend(x.tolist()) or _step(self, x, *a),
    )
    monkeypatch.setattr(batch_topk, "calibrate", lambda d, x: calibrated.extend(x.tolist()) or calibrate(d, x))
    x = torch.randn(6000 + spare, D, generator=torch.Generator().manual_seed(0))
    fit(iter(x.split(700)), 32, "batch_topk", k=4, n_tokens=6000, batch_size=500, show_progress=False)
    assert len(trained) == 6000 and len(calibrated) == 300
    assert not {tuple(row) for row in trained} & {tuple(row) for row in calibrated}
    assert len({tuple(row) for row in trained}) == (6000 if spare > 300 else 5500)


def test_an_iterable_that_ends_a_few_rows_early_is_an_error():
    x, _ = planted(5990)
    with pytest.raises(MonoscopeError, match="of 6,000"):
        fit(iter(x.split(700)), 32, "batch_topk", k=4, n_tokens=6000, batch_size=500, show_progress=False)


def test_the_l0_is_met_on_texts_of_which_none_was_trained_on():
    """Rows of a document are alike. Learned by heart, it activates fewer features than a new one: rows that are kept
    back of the documents trained on set the threshold too low for others, rows ``apart`` do not."""

    def documents(n, seed):
        generator = torch.Generator().manual_seed(seed)
        own = torch.randn(n, 1, D, generator=generator)
        return (own + 0.3 * torch.randn(n, 100, D, generator=generator)).flatten(0, 1)

    trained, other, judge = documents(40, 0), documents(100, 1), documents(200, 2)
    l0 = {}
    for name, apart in (("within", None), ("apart", rows.ArraySource(other, None, 0))):
        source = rows.ArraySource(trained, None, 0)
        data = rows.from_source(source, "x", None, 200, 40_000, hold_back=True, apart=apart)
        made = train(data, {"main": Recipe.of("batch_topk", 64, k=4, rate=1e-2).trainee(data)})["main"]
        l0[name] = float(made.encode(judge).counts().double().mean())
    assert abs(l0["within"] - 4) > 0.4
    assert l0["apart"] == pytest.approx(4, rel=0.06)  # 100 documents: about 3 % each way


def test_the_target_of_a_streamed_autoencoder_is_its_input():
    blocks = list(torch.randn(900, 4).split(70))
    for hold_back in (False, True):
        data = rows.from_blocks(iter(blocks), None, 100, 600, hold_back=hold_back)
        x, y = data.first(50)
        assert y is x
        assert all(y is x for x, y in data.batches(0))
    assert "target" not in fit(iter(blocks), 8, "topk", 2, 600, 100, show_progress=False).provenance


@pytest.mark.parametrize("size", [33, 100, 250])
@pytest.mark.parametrize("name", ["topk", "batch_topk"])
def test_blocks_may_come_in_one_piece_of_memory_that_is_written_over(size: int, name: str):
    x = torch.randn(3000, 8, generator=torch.Generator().manual_seed(0)).numpy()

    def through_one_buffer() -> Iterator[np.ndarray]:
        buffer = np.empty((size, 8), np.float32)
        for first in range(0, len(x), size):
            block = buffer[: len(x) - first]
            block[:] = x[first : first + size]
            yield block

    made, wanted = (
        fit(blocks, 16, name, 2, 2000, 100, show_progress=False) for blocks in (through_one_buffer(), iter([x]))
    )
    assert all(torch.equal(a, b) for a, b in zip(made.state_dict().values(), wanted.state_dict().values(), strict=True))


def test_only_batches_of_a_chunk_are_copied_where_some_of_its_rows_are_kept_back(monkeypatch: pytest.MonkeyPatch):
    taken = rows._taken
    copied: list[int] = []

    def counted(x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        copied.append(len(places))
        return taken(x, places)

    data = rows.from_arrays(torch.randn(1000, 4), None, 50, 2000, 0, hold_back=True)
    monkeypatch.setattr(rows, "_taken", counted)
    assert sum(len(x) for x, _ in data.batches(0)) == 2000
    assert max(copied) == 50
