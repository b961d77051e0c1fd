"""Memory for large results: like ``torch.empty``, aligned, and the same again for the next of about the same size."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monoscope.ops import room as rooms
from monoscope.ops.room import room, room_like


@given(
    st.lists(st.integers(0, 40), max_size=3),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float64, torch.int32, torch.bool]),
)
def test_a_room_is_an_empty_tensor_that_begins_where_a_cache_line_does(shape: list[int], dtype: torch.dtype):
    made, like = room(*shape, dtype=dtype), torch.empty(shape, dtype=dtype)
    assert (made.shape, made.dtype, made.device, made.stride()) == (like.shape, dtype, like.device, like.stride())
    assert made.data_ptr() % rooms.ALIGNED == 0 or not made.numel()
    made.fill_(1)
    assert bool((made == 1).all())
    again = room_like(made)
    assert again.shape == made.shape and again.dtype == dtype


def test_rooms_do_not_overlap_and_hold_their_own():
    held = [room(size) for size in (1, 3, 1000, 70_000, 70_001, 0, 300_000)]
    for number, each in enumerate(held):
        each.fill_(number)
    assert all(bool((each == number).all()) for number, each in enumerate(held))
    spans = sorted((each.data_ptr(), each.data_ptr() + each.nbytes) for each in held if len(each))
    assert all(last <= first for (_, last), (first, _) in pairwise(spans))


def test_lengths_are_rounded_up_by_an_eighth_at_most(monkeypatch):
    asked = []
    original = rooms.np.empty
    monkeypatch.setattr(rooms.np, "empty", lambda size, dtype: asked.append(size) or original(size, dtype))
    for size in (1, 64, 1000, 65_536, 65_537, 4_718_592):
        room(size, dtype=torch.uint8)
        assert size + rooms.ALIGNED <= asked[-1] <= size + max(size / 8, rooms.ALIGNED) + rooms.ALIGNED
    room(1_000_000, dtype=torch.uint8)
    room(1_020_000, dtype=torch.uint8)
    assert asked[-1] == asked[-2]


def test_on_another_device_it_is_torch_empty():
    made = room(3, 4, dtype=torch.bfloat16, device="meta")
    assert made.shape == (3, 4) and made.device.type == "meta" and made.dtype == torch.bfloat16


def test_a_shape_that_cannot_be_is_refused():
    with pytest.raises(ValueError, match="negative"):
        room(-200, 4)
