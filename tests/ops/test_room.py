"""Memory for large results: like ``torch.empty``, aligned, and the same again for the next of about the same size."""

from __future__ import annotations

import gc
import mmap
import sys
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monoscope.ops import room as rooms
from monoscope.ops.room import Stretch, reserved, room, room_like

linux = pytest.mark.skipif(sys.platform != "linux", reason="stretches are Linux only")


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


def gaps(stretch: Stretch) -> list[tuple[int, int]]:
    stretch._take_back()
    return list(zip(stretch._starts, stretch._ends, strict=True))


@linux
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(1, 40)), max_size=40))
def test_pieces_of_a_stretch_never_overlap_and_become_gaps_again(asked: list[tuple[int, int]]):
    """Pieces are let go in any order; each keeps what was written to it, and gaps and pieces make up the stretch."""
    stretch, held = Stretch(64 * rooms.ALIGNED), {}
    for number, (let_go, size) in enumerate(asked):
        if let_go < len(held):
            del held[list(held)[let_go]]
        fits = any(end - start >= size * rooms.ALIGNED for start, end in gaps(stretch))
        piece = stretch.lend(size * rooms.ALIGNED)
        assert (piece is not None) == fits
        if piece is not None:
            piece[:] = number
            held[number] = piece
        assert all((each == name).all() and each.ctypes.data % rooms.ALIGNED == 0 for name, each in held.items())
        assert all(last < first for (_, last), (first, _) in pairwise(gaps(stretch)))
        assert sum(end - start for start, end in gaps(stretch)) + sum(map(len, held.values())) == 64 * rooms.ALIGNED
    held.clear()
    piece = None
    assert gaps(stretch) == [(0, 64 * rooms.ALIGNED)]


@linux
def test_the_smallest_gap_that_suffices_is_taken():
    stretch = Stretch(64 * rooms.ALIGNED)
    pieces = [stretch.lend(size * rooms.ALIGNED) for size in (5, 1, 3, 1, 4, 1)]
    wanted = pieces[2].ctypes.data
    del pieces[4], pieces[2], pieces[0]
    assert stretch.lend(3 * rooms.ALIGNED).ctypes.data == wanted


@linux
def test_what_refers_to_a_part_of_a_piece_keeps_it():
    with reserved():
        part = room(1 << 20).numpy()[5:9]
        part[:] = 7
        gc.collect()
        others = [room(1 << 20).fill_(1) for _ in range(3)]
    assert (part == 7).all() and len(others) == 3


@linux
def test_inside_reserved_large_rooms_lie_together_and_small_ones_do_not():
    before = room(1 << 20)
    with reserved():
        stretch = rooms._stretches[-1]
        first, small = room(1 << 20), room(100)
        place = first.data_ptr()
        assert gaps(stretch)[0][0] == 4 << 20
        del first
        assert room(1 << 20).data_ptr() == place
        with reserved():
            assert rooms._stretches[-1] is not stretch
        assert rooms._stretches[-1] is stretch
    assert not rooms._stretches and len(before) and len(small)
    assert room(1 << 20).data_ptr() != place


@linux
def test_at_the_end_of_reserved_memory_is_given_back_but_for_what_is_in_use():
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * mmap.PAGESIZE

    with reserved():
        kept, other = room(1 << 20).fill_(3), room(16 << 20).fill_(1)
        del other
        full = resident()
    assert full - resident() > 60 << 20
    assert bool((kept == 3).all())


def test_where_no_stretch_is_given_nothing_changes(monkeypatch):
    def refuse(*arguments, **options):
        raise OSError

    monkeypatch.setattr(rooms.mmap, "mmap", refuse)
    with reserved():
        assert not rooms._stretches and len(room(1 << 20)) == 1 << 20
    monkeypatch.setattr(rooms.sys, "platform", "win32")
    with reserved():
        assert not rooms._stretches


@linux
def test_what_a_stretch_has_no_gap_for_is_made_elsewhere(monkeypatch):
    with reserved():
        monkeypatch.setattr(rooms._stretches[-1], "lend", lambda size: None)
        assert bool((room(1 << 20).fill_(2) == 2).all())


def test_autograd_adds_a_second_gradient_in_place():
    """Else every sum of two gradients would be one more matrix."""
    weight = torch.zeros(64, 64, requires_grad=True)
    places = []

    class Makes(torch.autograd.Function):
        @staticmethod
        def forward(ctx, weight):
            return weight.sum()

        @staticmethod
        def backward(ctx, arriving):
            made = room(64, 64).fill_(1)
            places.append(made.data_ptr())
            return made

    (Makes.apply(weight) + Makes.apply(weight)).backward()
    assert weight.grad.data_ptr() in places and bool((weight.grad == 2).all())
