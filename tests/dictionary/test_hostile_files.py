"""Whatever is done to a file, loading gives a dictionary that works or says what is wrong; nothing else is raised."""

from __future__ import annotations

import json
import math
import os
import shutil
import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from foreign_files import CASES, D, F, K, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from monoscope import folder
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture
from monoscope.dictionary.formats import _config, monoscope
from monoscope.errors import MonoscopeError

ATTACKED = [
    ("saelens", "jumprelu"),
    ("saelens", "legacy topk"),
    ("saelens", "scaled"),
    ("saelens", "jumprelu skip transcoder"),
    ("dictionary_learning", "BatchTopKSAE"),
    ("sparsify", "topk"),
    ("sparsify", "skip transcoder"),
    ("gemma_scope", "npz"),
    ("gemma_scope", "2"),
    ("gemma_scope", "2, affine"),
    ("llamascopium", "jumprelu"),
    ("openai", "relu"),
    ("openai", "topk"),
    ("saelens", "topk, layer norm"),
    ("monoscope", "gated"),
    ("monoscope", "topk, row_norm"),
    ("monoscope", "matryoshka"),
    ("monoscope", "matching_pursuit"),
]
JSON = ["null", "true", "-1", "0", "1e999", "NaN", '"x"', "[]", "{}", "17", "99999999999999999999999", "[" * 5000]


def ours(path: Path, name: str) -> Dictionary:
    """A dictionary of that architecture, after a comma with an option that all have, saved in our own format."""
    name, _, always = name.partition(", ")
    options = {"k": K} if "k" in architecture(name).settings else {}
    made = architecture(name)(D, F, **options, **({always: True} if always else {})).requires_grad_(False)
    for tensor in made.parameters():
        tensor.copy_(torch.randn(tensor.shape, generator=torch.Generator().manual_seed(3)) / 2)
    made.provenance = {"model": "m", "site": "resid_post.3"}
    made.save(path)
    return made


def seal(path: Path) -> None:
    """Make the manifest fit what the folder holds, as whoever changed that could."""
    folder.seal(path, monoscope.KIND, {}, [monoscope.CONFIG, monoscope.WEIGHTS])


@pytest.fixture(scope="module", params=ATTACKED, ids=" ".join)
def whole(request: pytest.FixtureRequest) -> Iterator[Path]:
    form, name = request.param
    with tempfile.TemporaryDirectory() as made:
        if form == "monoscope":
            ours(Path(made), name)
        else:
            CASES[request.param](Path(made))
        yield Path(made)


def damage(data: st.DataObject, content: bytes, is_json: bool) -> bytes:
    """A few bytes changed, cut, repeated or put in; in JSON also a value replaced."""
    at = data.draw(st.integers(0, len(content) - 1))
    kind = data.draw(
        st.sampled_from(["flip", "cut", "insert", "repeat", "header", *(["value"] * 3 if is_json else [])])
    )
    if kind == "cut":
        return content[:at]
    if kind == "insert":
        return content[:at] + data.draw(st.binary(min_size=1, max_size=8)) + content[at:]
    if kind == "repeat":
        return content[:at] + content[max(0, at - 40) :]
    if kind == "header":  # lengths, shapes and names are at a file's beginning
        at = min(at, 200)
    if kind == "value":
        marks = [i for i, byte in enumerate(content) if byte == ord(":")]
        start = data.draw(st.sampled_from(marks)) + 1
        ends = [e for e in (content.find(b",", start), content.find(b"}", start)) if e >= 0]
        return content[:start] + data.draw(st.sampled_from(JSON)).encode() + content[min(ends, default=start) :]
    changed = bytearray(content)
    for i in data.draw(st.lists(st.integers(0, 12), min_size=1, max_size=3)):
        changed[min(at + i, len(changed) - 1)] = data.draw(st.integers(0, 255))
    return bytes(changed)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_is_refused_or_is_still_a_dictionary(whole: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        attacked = Path(name) / "d"
        shutil.copytree(whole, attacked)
        target = data.draw(st.sampled_from(sorted(attacked.iterdir())))
        target.write_bytes(damage(data, target.read_bytes(), target.suffix == ".json"))
        if folder.is_sealed(attacked) and target.name != folder.MANIFEST:
            seal(attacked)
        try:
            made = io.load(attacked)
            if getattr(made, "calibrated", True):
                out = made(rows(4, made.d_in))
                assert out.shape == (4, made.d_out) and made.d_in == D
                assert all(bool(weight.isfinite().all()) for weight in made.parameters())
            made.save(Path(name) / "again")
            again = io.load(Path(name) / "again")
            assert all(torch.equal(a, b) for a, b in zip(again.parameters(), made.parameters(), strict=True))
        except MonoscopeError as error:
            assert str(error)


@pytest.fixture
def dictionary(tmp_path: Path) -> Path:
    """A folder with a Matryoshka dictionary of ours, which has options of two types and a buffer."""
    ours(tmp_path / "d", "matryoshka")
    return tmp_path / "d"


def refused(path: Path, what: str) -> None:
    """Loading says what is wrong, where, and what to do."""
    with pytest.raises(MonoscopeError, match=what) as caught:
        io.load(path)
    assert caught.value.where and caught.value.where.startswith(str(path)) and caught.value.fix


def configured(path: Path, **values: Any) -> None:
    """Change values of the configuration, or leave those out that are ``...``."""
    config = {**folder.read_json(path / monoscope.CONFIG), **values}
    folder.write_json(path / monoscope.CONFIG, {name: value for name, value in config.items() if value is not ...})
    seal(path)


KEYS = {"architecture": 3, "d_in": "6", "n_features": 16.0, "d_out": [], "options": [], "provenance": "p"}


@pytest.mark.parametrize("key", KEYS)
def test_a_configuration_of_ours_is_asked_for_by_type(key: str, dictionary: Path) -> None:
    configured(dictionary, **{key: ...})
    refused(dictionary, f"{key} is missing")
    configured(dictionary, **{key: KEYS[key]})
    refused(dictionary, f"{key} is .*, not ")


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"monoscope_dictionary": "1"}, "not a whole number"),
        ({"monoscope_dictionary": 2}, "newer Monoscope"),
        ({"architecture": "matryoska"}, "unknown architecture"),
        ({"architecture": "base"}, "unknown architecture"),
        ({"architecture": "os.path"}, "holds no architecture"),
        ({"architecture": "x" * 10**6}, "no name"),
        ({"architecture": "topk"}, "no option 'prefixes'"),
        ({"n_features": F - 1}, "b_enc is of shape|w_enc is of shape"),
        ({"d_in": D + 1}, "w_enc is of shape"),
        ({"d_out": D + 1}, "w_dec is of shape"),
        ({"options": {"k": True}}, "k is True, not a whole number"),
        ({"options": {"k": None}}, "describes no dictionary"),
        ({"options": {"k": F + 1}}, "describes no dictionary: k = 17"),
        ({"options": {"k": K, "prefixes": 1}}, "prefixes is 1, not a list"),
        ({"options": {"k": K, "prefixes": [math.nan, 1]}}, "prefixes is .*, not a list"),
        ({"options": {"k": K, "prefixes": ["x", 1]}}, "describes no dictionary"),
        ({"options": {"k": K, "prefixes": None}}, "prefixes is None, not a list"),
        ({"options": {"k": K, "skip": "yes"}}, "skip is yes, not true or false"),
        ({"options": {"k": K, "skip": True}}, "w_skip is missing"),
        ({"options": {"k": K, "row_norm": 1}}, "row_norm is 1, not true or false"),
        (
            {"options": {"k": K, "row_norm": True, "skip": True}},
            "describes no dictionary: rows that are each normalised",
        ),
        ({"options": {"k": K, "d_in": D}}, "describes no dictionary"),
        ({"options": {"k": K, "other": 1}}, "no option 'other'"),
    ],
)
def test_a_configuration_of_ours_that_describes_nothing_is_refused(
    values: dict[str, Any], what: str, dictionary: Path
) -> None:
    configured(dictionary, **values)
    refused(dictionary, what)


@pytest.mark.parametrize("name", monoscope.SIZES)
@pytest.mark.parametrize("size", [-1, 0, 10**9, 10**30])
def test_a_size_beyond_the_weights_is_refused(name: str, size: int, dictionary: Path) -> None:
    configured(dictionary, **{name: size})
    refused(dictionary, f"{name} is {size}, and weights.safetensors holds 230 numbers")


def test_nothing_is_allocated_before_the_weights_were_seen_to_fit(
    dictionary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each size alone is within the file, their product is not."""
    made: list[Tensor] = []
    zeros = torch.zeros

    def watched(*shape: Any, **more: Any) -> Tensor:
        made.append(zeros(*shape, **more))
        return made[-1]

    monkeypatch.setattr(torch, "zeros", watched)
    configured(dictionary, n_features=200, d_in=200, d_out=200)
    refused(dictionary, "is of shape")
    assert made and all(tensor.is_meta for tensor in made)


def without(name: str) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda held: {key: tensor for key, tensor in held.items() if key != name}


def instead(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], dict[str, Tensor]]:
    return lambda held: {**held, name: change(held[name]).contiguous()}


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (without("b_dec"), "b_dec is missing"),
        (without("threshold"), "threshold is missing"),
        (lambda held: {**held, "w_skip": torch.zeros(D, D)}, "'w_skip', which is not understood"),
        (instead("w_dec", lambda tensor: tensor.T), r"w_dec is of shape \(6, 16\), not \(16, 6\)"),
        (instead("b_enc", lambda tensor: tensor[:, None]), "b_enc is of shape"),
        (instead("b_enc", lambda tensor: tensor.long()), "b_enc holds int64"),
        (instead("threshold", lambda tensor: tensor.bool()), "threshold holds bool"),
        (instead("w_enc", lambda tensor: tensor * math.inf), "w_enc is not finite"),
        (instead("w_enc", lambda tensor: tensor.double() + 1e300), "w_enc is not finite"),
        (instead("b_dec", lambda tensor: tensor * math.nan), "b_dec is not finite"),
        (instead("threshold", lambda tensor: tensor + math.inf), "threshold is not finite"),
        (lambda held: {}, "holds 0 numbers"),
    ],
)
def test_weights_that_are_not_of_the_configuration_are_refused(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], what: str, dictionary: Path
) -> None:
    weights = dictionary / monoscope.WEIGHTS
    save_file({name: tensor.clone() for name, tensor in change(load_file(weights)).items()}, weights)
    seal(dictionary)
    refused(dictionary, what)


def test_thresholds_that_were_never_set_are_kept(tmp_path: Path) -> None:
    made = ours(tmp_path / "d", "matryoshka")
    made.get_buffer("threshold").fill_(math.nan)
    made.save(tmp_path / "again")
    again = io.load(tmp_path / "again")
    assert bool(again.get_buffer("threshold").isnan().all()) and torch.equal(again.w_enc, made.w_enc)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda manifest: {**manifest, "files": []}, "files is .*, not an object"),
        (lambda manifest: {**manifest, "kind": ["dictionary"]}, "kind is .*, not text"),
        (lambda manifest: {**manifest, "more": 1}, "'more' is not understood"),
        (lambda manifest: {"kind": "dictionary"}, "bytes is missing"),
        (lambda manifest: {**manifest, "files": {monoscope.CONFIG: manifest["files"][monoscope.CONFIG]}}, "is missing"),
        (lambda manifest: {**manifest, "files": {**manifest["files"], "/etc/passwd": {}}}, "'/etc/passwd' is not"),
        (lambda manifest: {**manifest, "files": {name: {} for name in manifest["files"]}}, "bytes is missing"),
        (lambda manifest: {**manifest, "files": dict.fromkeys(manifest["files"], 3)}, "not an object"),
        (lambda manifest: [manifest], "holds no JSON object"),
    ],
)
def test_a_manifest_that_seals_something_else_is_refused(
    change: Callable[[dict[str, Any]], Any], what: str, dictionary: Path
) -> None:
    manifest = dictionary / folder.MANIFEST
    manifest.write_text(json.dumps(change(json.loads(manifest.read_text()))))
    refused(dictionary, what)


@pytest.mark.parametrize("content", ["[" * 5000, '{"monoscope_dictionary": ' + "[" * 5000 + "]" * 5000 + "}"])
@pytest.mark.parametrize("name", [monoscope.CONFIG, folder.MANIFEST])
def test_nesting_without_end_is_refused(name: str, content: str, dictionary: Path) -> None:
    (dictionary / name).write_text(content)
    if name == monoscope.CONFIG:
        seal(dictionary)
    with pytest.raises(MonoscopeError):
        io.load(dictionary)


@pytest.mark.parametrize("name", [monoscope.CONFIG, folder.MANIFEST])
def test_no_more_is_read_than_a_configuration_may_hold(name: str, dictionary: Path) -> None:
    os.truncate(dictionary / name, 8 * _config.LIMIT)
    if name == monoscope.CONFIG:
        seal(dictionary)
    tracemalloc.start()
    try:
        assert monoscope.recognises(dictionary)
        refused(dictionary, f"{name} is larger than 16 MiB")
        assert tracemalloc.get_traced_memory()[1] < 3 * _config.LIMIT
    finally:
        tracemalloc.stop()


def test_what_could_not_be_read_again_is_not_saved(tmp_path: Path) -> None:
    made = ours(tmp_path / "d", "topk")
    made.provenance = {"text": "x" * _config.LIMIT}
    with pytest.raises(MonoscopeError, match="larger than 16 MiB"):
        made.save(tmp_path / "again")
    assert not folder.is_sealed(tmp_path / "again")
