"""The vocabulary: sites and their text form, codes and their dense form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from monoscope.dictionary.base import architecture
from monoscope.errors import MonoscopeError
from monoscope.types import LAYERED_KINDS, PADDING, SEPARATOR, WHOLE_KINDS, Code, Site, TokenBlock, TokenisedDocument

PATHS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+){0,3}", fullmatch=True)
SITES = (
    st.sampled_from(WHOLE_KINDS).map(Site)
    | st.builds(Site, st.sampled_from(LAYERED_KINDS), layer=st.integers(0, 200))
    | st.builds(Site, st.just("module"), path=PATHS, side=st.sampled_from(["in", "out"]))
)
DENSE = hnp.arrays(
    np.float32,
    hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=9),
    elements=st.sampled_from([0.0, 0.0, 0.5, 1.0, 3.25]),
)


@given(site=SITES)
def test_a_sites_text_form_reads_back(site: Site) -> None:
    assert Site.parse(str(site)) == site
    assert Site.parse(site) is site


@pytest.mark.parametrize(
    "text", ["resid_post", "resid_pots.3", "resid_post.x", "resid_post.²", "", ".3", ":in", "mlp_act.-1"]
)
def test_what_is_no_site_is_refused(text: str) -> None:
    with pytest.raises(MonoscopeError, match="unknown site"):
        Site.parse(text)


def test_the_nearest_site_is_suggested() -> None:
    with pytest.raises(MonoscopeError, match=r"did you mean 'resid_post\.LAYER'"):
        Site.parse("resid_pots.3")


@given(dense=DENSE)
def test_a_code_and_its_dense_form(dense: np.ndarray) -> None:
    matrix = torch.from_numpy(dense)
    code = Code.from_dense(matrix)
    assert torch.equal(code.to_dense(), matrix)
    assert len(code) == len(matrix) and code.n_features == matrix.shape[1]
    assert torch.equal(code.counts(), (matrix != 0).sum(1))
    assert torch.equal(code.rows(), matrix.nonzero()[:, 0])
    assert bool((code.values != 0).all())


@given(dense=DENSE, bounds=st.tuples(st.integers(-12, 12), st.integers(-12, 12)))
def test_a_slice_of_a_code_is_the_code_of_the_slice(dense: np.ndarray, bounds: tuple[int, int]) -> None:
    matrix, rows = torch.from_numpy(dense), slice(*bounds)
    sliced = Code.from_dense(matrix)[rows]
    assert torch.equal(sliced.to_dense(), matrix[rows])
    assert len(sliced) == len(matrix[rows])
    assert sliced.offsets[0] == 0


@given(dense=DENSE, data=st.data())
def test_rows_of_k_drop_what_is_not_above_zero(dense: np.ndarray, data: st.DataObject) -> None:
    values = torch.from_numpy(dense) - 0.5
    order = torch.stack([torch.randperm(values.shape[1]) for _ in values]) if len(values) else values.long()
    code = Code.from_rows(order, values, values.shape[1])
    expected = torch.zeros_like(values).scatter_(1, order, values.clamp(min=0))
    assert torch.equal(code.to_dense(), expected)
    assert bool((code.values > 0).all())


def test_codes_refuse_what_they_cannot_be() -> None:
    with pytest.raises(MonoscopeError, match="one value per index"):
        Code(torch.zeros(3, dtype=torch.long), torch.zeros(2), torch.tensor([0, 3]), 5)
    with pytest.raises(MonoscopeError, match="contiguous"):
        Code.from_dense(torch.eye(4))[::2]


def test_a_blocks_masks() -> None:
    documents = torch.tensor([[SEPARATOR, 4, 4, SEPARATOR, PADDING]])
    block = TokenBlock(torch.zeros_like(documents), documents, torch.zeros_like(documents))
    assert block.is_text.tolist() == [[False, True, True, False, False]]
    assert block.attention_mask.tolist() == [[1, 1, 1, 1, 0]]


def test_tokens_of_a_document_are_bytes() -> None:
    document = TokenisedDocument("d", "é!", np.array([1, 2, 3]), np.array([0, 1, 2]), np.array([1, 2, 3]))
    assert len(document) == 3
    assert document.token_bytes() == [b"\xc3", b"\xa9", b"!"]


@pytest.mark.parametrize(
    ("indices", "values", "offsets", "message"),
    [
        ([0, 5], [1.0, 2.0], [0, 2], "names feature 5"),
        ([0, -1], [1.0, 2.0], [0, 2], "names feature -1"),
        ([0, 1], [1.0, 2.0], [0, 9], "offsets of a code from 0 to 9 over 2"),
        ([0, 1], [1.0, 2.0], [0, 1], "offsets of a code from 0 to 1 over 2"),
        ([0, 1], [1.0, 2.0], [0, 3, 1, 2], "offsets of a code"),
        ([0, 1], [1.0, 2.0], [], "offsets of a code have shape"),
        ([0.0, 1.0], [1.0, 2.0], [0, 2], "whole numbers"),
        ([0, 1], [1.0], [0, 2], "one value per index"),
    ],
)
def test_a_code_that_points_nowhere_is_refused_before_it_is_used(indices, values, offsets, message):
    """Kernels look up what a code names without asking: elsewhere in memory, if need be."""
    with pytest.raises(MonoscopeError, match=message):
        Code(torch.tensor(indices), torch.tensor(values), torch.tensor(offsets), 5).to_dense()
    with pytest.raises(MonoscopeError, match=message):
        dictionary = architecture("topk")(3, 5, k=2)
        dictionary.decode(Code(torch.tensor(indices), torch.tensor(values), torch.tensor(offsets), 5))


def test_what_a_code_is_made_of_is_checked():
    whole = Code.from_dense(np.eye(3))
    assert len(whole) == 3 and torch.equal(whole.to_dense(), torch.eye(3, dtype=torch.float64))
    for wrong in (
        lambda: Code(np.zeros(1, int), np.ones(1), np.array([0, 1]), 3),
        lambda: Code.from_dense(torch.zeros(3)),
        lambda: Code.from_rows(torch.zeros(1, 3, dtype=torch.int32), torch.ones(1, 2), 3),
        lambda: whole.times(torch.ones(4)),
        lambda: whole[0],
        lambda: whole[torch.tensor([0, 1])],
        lambda: list(whole),
    ):
        with pytest.raises(MonoscopeError):
            wrong()
