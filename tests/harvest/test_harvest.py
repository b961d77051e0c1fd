"""Harvesting: shards equal a stream equal the model; damage, other plans and full disks are told; sources resume."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch

from monoscope import folder, source
from monoscope.errors import MonoscopeError
from monoscope.harvest import shards
from monoscope.harvest.shards import Shards
from monoscope.harvest.stream import Stream, stream
from monoscope.models import load_model
from monoscope.text import store
from monoscope.text.corpora import synthetic_strings
from monoscope.text.rows import Rows

SITES = ["mlp_act.0", "resid_post.0"]


@pytest.fixture(scope="module")
def lm():
    return load_model("reference-a")


@pytest.fixture(scope="module")
def text(lm, tmp_path_factory):
    documents = list(synthetic_strings.documents("base64:7:t")) + list(synthetic_strings.documents("dna:4:t"))
    return store.build((("dictionary", d) for d in documents), lm.tokeniser, tmp_path_factory.mktemp("text") / "text")


@pytest.fixture
def chunks(lm, text) -> Stream:
    return Stream(lm, text, text.documents(), SITES, seed=3, rows_per_chunk=2000)


def everything(rows: source.RowSource) -> dict[tuple[int, int], torch.Tensor]:
    """Each token's activations by (document, position)."""
    found = {}
    for index in range(len(rows.counts)):
        chunk = rows.chunk(index)
        joined = torch.cat([chunk.values[s].float() for s in SITES], 1)
        for document, position, row in zip(chunk.documents.tolist(), chunk.positions.tolist(), joined, strict=True):
            assert (document, position) not in found
            found[document, position] = row
    return found


def test_a_stream_reads_every_token_once_in_reading_order(lm, text):
    rows, at = Rows(text, text.documents()), 0
    for block in stream(lm, text, text.documents(), SITES, tokens_per_block=1024):
        documents, positions = rows.locate(np.arange(at, at + len(block)))
        assert np.array_equal(block.documents.numpy(), documents)
        assert np.array_equal(block.positions.numpy(), positions)
        at += len(block)
    assert at == text.n_tokens


def test_chunks_hold_every_token_once_and_sites_are_row_aligned(lm, text, chunks):
    assert sum(chunks.counts) == text.n_tokens
    assert len(chunks.counts) > 1
    found = everything(chunks)
    assert len(found) == text.n_tokens
    for block in stream(lm, text, text.documents(), SITES):
        joined = torch.cat([block.values[s] for s in SITES], 1).bfloat16().float()
        for i in range(0, len(block), 97):
            mine = found[int(block.documents[i]), int(block.positions[i])]
            # another batch shape may round differently in the last bit of fp32, hence in the last of bf16
            torch.testing.assert_close(mine, joined[i], rtol=2**-7, atol=1e-3)


def test_a_chunk_mixes_documents_and_is_the_same_every_time(chunks):
    chunk = chunks.chunk(0)
    assert len(chunk.documents[:64].unique()) > 4
    again = chunks.chunk(0)
    assert torch.equal(chunk.values[SITES[0]], again.values[SITES[0]])
    assert torch.equal(chunk.positions, again.positions)


def test_later_epochs_are_as_mixed_as_the_first(chunks, tmp_path):
    """Whatever the seed: one in which a chunk's order is undone would go through the text window by window."""
    for rows in (chunks, shards.write(chunks, tmp_path / "out")):
        repeated = source.Epochs(rows, sum(rows.counts), 4, seed=chunks.seed)
        for index in range(len(repeated.counts)):
            chunk = repeated.chunk(index)[:]
            goes_on = (chunk.documents.diff() == 0) & (chunk.positions.diff() == 1)
            assert float(goes_on.float().mean()) < 0.01


def test_shards_hold_what_the_stream_gives(chunks, tmp_path):
    written = shards.write(chunks, tmp_path / "a")
    assert written.counts == chunks.counts
    for index in range(len(chunks.counts)):
        mine, theirs = written.chunk(index), chunks.chunk(index)
        assert torch.equal(mine.documents, theirs.documents)
        assert torch.equal(mine.positions, theirs.positions)
        assert all(torch.equal(mine.values[s], theirs.values[s]) for s in SITES)


def test_int8_is_within_half_a_step(chunks, tmp_path):
    written = shards.write(chunks, tmp_path / "a", stored="int8")
    mine, theirs = written.chunk(0), chunks.chunk(0)
    for site in SITES:
        exact = theirs.values[site].float()
        step = exact.abs().amax(1, keepdim=True) / 127
        assert bool(((mine.values[site].float() - exact).abs() <= step * 0.5 + exact.abs() * 2**-8 + 1e-6).all())
    assert sum(f.stat().st_size for f in (tmp_path / "a").glob("*.int8")) == sum(chunks.counts) * sum(
        chunks.widths.values()
    )


def test_an_interrupted_harvest_goes_on(chunks, tmp_path, monkeypatch):
    whole = shards.write(chunks, tmp_path / "whole")
    original, calls = Stream.chunk, []

    def failing(self, index):
        if index == 1 and not calls:
            calls.append(index)
            raise KeyboardInterrupt
        return original(self, index)

    monkeypatch.setattr(Stream, "chunk", failing)
    with pytest.raises(KeyboardInterrupt):
        shards.write(chunks, tmp_path / "cut")
    with pytest.raises(MonoscopeError, match="not complete"):
        Shards(tmp_path / "cut")
    (tmp_path / "cut/00001.mlp_act.0.bf16").write_bytes(b"half a file")
    resumed = shards.write(chunks, tmp_path / "cut")
    for index in range(len(whole.counts)):
        assert torch.equal(whole.chunk(index).values[SITES[1]], resumed.chunk(index).values[SITES[1]])


@pytest.mark.parametrize("stored", shards.STORED)
def test_a_chunk_that_is_not_all_there_is_made_again(chunks, tmp_path, stored):
    whole = shards.write(chunks, tmp_path / "whole", stored=stored)
    files = sorted((tmp_path / "whole").glob("0*.[!j]*"))
    assert {path.name: path.stat().st_size for path in files} == {
        name: size
        for index, count in enumerate(whole.counts)
        for name, size in shards.sizes_of(index, count, whole.widths, stored).items()
    }
    for path in files[-4:]:
        shutil.copytree(tmp_path / "whole", tmp_path / path.name)
        (tmp_path / path.name / folder.MANIFEST).unlink()
        (tmp_path / path.name / path.name).write_bytes(path.read_bytes()[:-1])  # as power that fails may leave it
        shards.write(chunks, tmp_path / path.name, stored=stored)
        assert folder.verify(tmp_path / path.name) == [], path.name
        manifests = [(tmp_path / name / folder.MANIFEST).read_text() for name in ("whole", path.name)]
        assert manifests[0] == manifests[1]


def test_of_each_document_so_many_tokens_are_enough(lm, text):
    whole = Stream(lm, text, text.documents(), SITES, seed=3).windows[0]
    longest = max(text.length(d) for d in text.documents().tolist())
    for of_each in (1, 300, longest):
        some = Stream(lm, text, text.documents(), SITES, seed=3, of_each=of_each).windows[0]
        wanted, begun = [], dict.fromkeys(whole[:, 0].tolist(), 0)
        for window in whole.tolist():
            if begun[window[0]] < of_each:
                wanted.append(window)
            begun[window[0]] += window[2]
        assert some.tolist() == wanted and set(some[:, 0]) == set(whole[:, 0])
    assert len(some) == len(whole)
    least = sum(Stream(lm, text, text.documents(), SITES, seed=3, of_each=1).counts)
    asked = Stream(lm, text, text.documents(), SITES, seed=3, of_each=1, n_rows=least + 1)
    assert least < sum(asked.counts) < text.n_tokens


def test_another_harvest_is_refused_and_damage_is_named(lm, text, chunks, tmp_path):
    shards.write(chunks, tmp_path / "a")
    other = Stream(lm, text, text.documents(), SITES, seed=4, rows_per_chunk=2000)
    with pytest.raises(MonoscopeError, match="something else"):
        shards.write(other, tmp_path / "a")
    path = tmp_path / "a/00000.mlp_act.0.bf16"
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(MonoscopeError, match=r"00000\.mlp_act\.0\.bf16 is .* bytes long"):
        Shards(tmp_path / "a")


def test_wishes_that_cannot_be_met_are_refused(lm, text, chunks, tmp_path):
    with pytest.raises(MonoscopeError, match="are wanted"):
        Stream(lm, text, text.documents(), SITES, n_rows=10**9)
    with pytest.raises(MonoscopeError):
        Stream(lm, text, text.documents(), ["mlp_act.7"])
    with pytest.raises(MonoscopeError, match="bf16 or int8"):
        shards.write(chunks, tmp_path / "a", stored="fp4")


def test_batches_can_begin_at_any_row(chunks):
    whole = list(source.batches(chunks, 512))
    later = list(source.batches(chunks, 512, start=512 * 5))
    assert len(whole) == sum(chunks.counts) // 512
    assert len(later) == len(whole) - 5
    for a, b in zip(whole[5:], later, strict=True):
        assert torch.equal(a.values[SITES[0]], b.values[SITES[0]])
    bounded = list(source.batches(chunks, 512, start=512, stop=512 * 3 + 100))
    assert [len(b) for b in bounded] == [512, 512]


def test_too_few_rows_for_a_batch_are_refused(chunks):
    with pytest.raises(MonoscopeError, match="fewer than one batch"):
        next(source.batches(chunks, 10**6))


def test_nan_is_named_by_document_and_token(chunks, monkeypatch):
    original = Stream.chunk

    def spoilt(self, index):
        chunk = original(self, index)
        chunk.values[SITES[0]][70, 3] = torch.nan
        return chunk

    monkeypatch.setattr(Stream, "chunk", spoilt)
    chunk = chunks.chunk(0)
    where = f"document {int(chunk.documents[70])}, token {int(chunk.positions[70])}"
    with pytest.raises(MonoscopeError, match=where):
        next(source.batches(chunks, 512))
