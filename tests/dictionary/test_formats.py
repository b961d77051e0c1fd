"""A foreign dictionary computes what its own library computes; what cannot be held is refused, with advice."""

from __future__ import annotations

import json
import math
import os
import pickle
import zipfile
from pathlib import Path

import foreign_files as files
import numpy as np
import pytest
import torch
from foreign_files import CASES, D, F, K, rows
from safetensors.torch import load_file

from monoscope import folder, plugins
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture, architectures
from monoscope.errors import MonoscopeError
from monoscope.train.calibrate import calibrate

every_case = pytest.mark.parametrize("case", CASES, ids=" ".join)
FOREIGN = [name for name in io.writable() if name != "monoscope"]


def close(a: torch.Tensor, b: torch.Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def same(a: Dictionary, b: Dictionary) -> bool:
    """Whether two dictionaries are one, to the last bit."""
    ours, theirs = a.state_dict(), b.state_dict()
    return (
        a.architecture == b.architecture
        and a.options() == b.options()
        and ours.keys() == theirs.keys()
        and all(torch.equal(ours[name], theirs[name]) for name in ours)
    )


@every_case
def test_a_foreign_dictionary_computes_what_its_library_computes(case, tmp_path):
    meaning = CASES[case](tmp_path)
    made = io.load(tmp_path)
    close(made(rows()), meaning(rows()))
    assert not any(p.requires_grad for p in made.parameters())
    assert "unread" not in made.provenance  # nothing of the file went unheeded
    recognised = [n for n in plugins.names(io.FORMATS) if plugins.load(io.FORMATS, n).recognises(tmp_path)]
    assert recognised == [case[0]]


@every_case
@pytest.mark.parametrize("format", io.writable())
def test_import_export_import_is_the_identity(case, format, tmp_path):
    CASES[case](tmp_path / "theirs")
    made = io.load(tmp_path / "theirs")
    try:
        made.save(tmp_path / "ours", format=format)
    except MonoscopeError as error:
        assert error.fix and not (tmp_path / "ours").exists()
        assert format != case[0], "a format holds what came from it"
        return
    again = io.load(tmp_path / "ours")
    if format == case[0] or format == "monoscope":
        assert same(made, again)
        assert again.provenance == made.provenance
    close(again(rows()), made(rows()))


def ours(name: str, d_out: int | None = None, **always: bool) -> Dictionary:
    options = {"k": K} if "k" in architecture(name).settings else {}
    made = architecture(name)(D, F, d_out, **always, **options).requires_grad_(False)
    generator = torch.Generator().manual_seed(3)
    for tensor in made.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) / 2)
    for buffer in made.buffers():
        buffer.abs_()
    made.provenance = {"model": "m", "site": "resid_post.3"}
    return made


@pytest.mark.parametrize("format", FOREIGN)
@pytest.mark.parametrize("name", architectures())
def test_what_is_exported_comes_back(name, format, tmp_path):
    made = ours(name)
    if name == "nonnegative_pursuit" or (name == "matching_pursuit" and format != "saelens"):
        with pytest.raises(MonoscopeError, match=f"cannot hold a {name}"):
            made.save(tmp_path, format=format)
        return
    if format == "sparsify" and name not in ("topk", "hierarchical_topk"):
        with pytest.raises(MonoscopeError, match="sparsify holds TopK"):
            made.save(tmp_path, format=format)
        return
    made.save(tmp_path, format=format)
    again = io.load(tmp_path)
    close(again(rows()), made(rows()))
    assert {n: v for n, v in again.provenance.items() if n != "k"} == made.provenance


@pytest.mark.parametrize("format", ["saelens", "dictionary_learning"])
def test_a_gated_dictionary_is_written_as_thresholds_on_its_magnitudes(format, tmp_path):
    made = ours("gated")
    made.save(tmp_path, format=format)
    codes, mine = io.load(tmp_path).encode(rows()).to_dense(), made.encode(rows()).to_dense()
    assert torch.equal(codes > 0, mine > 0)
    close(codes, mine)


def test_both_ends_of_a_pursuit_are_written(tmp_path):
    made = architecture("matching_pursuit")(D, F, k=5, enough=0.75, once=True).requires_grad_(False)
    made.w_dec.copy_(torch.nn.functional.normalize(ours("topk").w_dec))
    made.save(tmp_path, format="saelens")
    told = json.loads((tmp_path / "cfg.json").read_text())
    assert (told["residual_threshold"], told["stop_on_duplicate_support"], told["max_iterations"]) == (0.75, True, 5)
    assert same(io.load(tmp_path), made)
    lengths = (rows() - made(rows())).norm(dim=1)
    assert 0 < int((lengths < 0.75).sum()) < len(lengths)


def test_a_length_that_ends_a_pursuit_is_in_the_units_of_the_rows():
    """A dictionary of rows that are five times as long leaves five times as much, and picks the same."""
    made = architecture("matching_pursuit")(D, F, k=5, enough=0.75).requires_grad_(False)
    made.w_dec.copy_(torch.nn.functional.normalize(ours("topk").w_dec))
    before = made.encode(rows()).to_dense()
    made.scale(5.0)
    after = made.encode(5 * rows()).to_dense()
    assert made.options()["enough"] == pytest.approx(3.75)
    close(after, 5 * before)
    assert bool(((before > 0).sum(1) < 5).any())
    for wrong in (-1.0, math.inf, math.nan):
        with pytest.raises(MonoscopeError, match="enough is"):
            architecture("matching_pursuit")(D, F, k=5, enough=wrong)


def test_a_pursuit_whose_files_do_not_belong_together_is_refused(tmp_path):
    files.matching_pursuit(tmp_path)
    config = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps(config | {"d_sae": F - 1}))
    with pytest.raises(MonoscopeError, match="different dictionaries"):
        io.load(tmp_path)


def test_transcoders(tmp_path):
    for name in ("l1_2023", "batch_topk"):
        made = ours(name, d_out=4)
        made.save(tmp_path / name, format="saelens")
        assert same(io.load(tmp_path / name), made)
    for name, format in (("topk", "saelens"), ("topk", "sparsify"), ("l1_2023", "dictionary_learning")):
        with pytest.raises(MonoscopeError, match=r"no (TopK )?transcoders"):
            ours(name, d_out=4).save(tmp_path / "no", format=format)
    square = ours("topk")
    square.provenance["target"] = "mlp_out.3"
    square.save(tmp_path / "square", format="sparsify")
    assert json.loads((tmp_path / "square/cfg.json").read_text())["transcode"] is True
    assert same(io.load(tmp_path / "square"), square)


@pytest.mark.parametrize("d_out", [D, 4])
@pytest.mark.parametrize("name", ["l1_2023", "l1", "p_anneal", "batch_topk", "matryoshka", "jumprelu", "gated"])
def test_skip_transcoders_come_back_from_saelens(name, d_out, tmp_path):
    made = ours(name, d_out, skip=True)
    made.save(tmp_path, format="saelens")
    again = io.load(tmp_path)
    kind = "skip_transcoder" if again.architecture == "l1_2023" else "jumprelu_skip_transcoder"
    assert json.loads((tmp_path / "cfg.json").read_text())["architecture"] == kind
    assert torch.equal(again.w_skip, made.w_skip) and {**again.provenance, "k": 0} == {**made.provenance, "k": 0}
    close(again(rows()), made(rows()))
    if name in ("l1_2023", "batch_topk"):
        assert same(again, made)


@pytest.mark.parametrize("name", architectures())
def test_what_normalises_rows_comes_back_from_saelens_as_layer_norm(name, tmp_path):
    made = ours(name, row_norm=True)
    if name == "nonnegative_pursuit":
        with pytest.raises(MonoscopeError, match=f"cannot hold a {name}"):
            made.save(tmp_path, format="saelens")
        return
    made.save(tmp_path, format="saelens")
    again = io.load(tmp_path)
    assert json.loads((tmp_path / "cfg.json").read_text())["normalize_activations"] == "layer_norm"
    assert again.row_norm and {**again.provenance, "k": 0} == {**made.provenance, "k": 0}
    close(again(rows()), made(rows()))
    close(again.encode(rows()).to_dense(), made.encode(rows()).to_dense())


@pytest.mark.parametrize("format", [name for name in FOREIGN if name != "saelens"])
def test_formats_that_cannot_say_that_rows_are_centred_refuse_it(format, tmp_path):
    with pytest.raises(MonoscopeError, match="cannot hold a dictionary of rows less their own means") as error:
        ours("topk", row_mean=True).save(tmp_path / "d", format=format)
    assert "monoscope" in error.value.fix and not (tmp_path / "d").exists()


@pytest.mark.parametrize("format", [name for name in FOREIGN if name != "saelens"])
@pytest.mark.parametrize("name", ["topk", "batch_topk", "l1_2023"])
def test_formats_that_cannot_say_that_rows_are_normalised_refuse_it(name, format, tmp_path):
    with pytest.raises(MonoscopeError, match="cannot hold a dictionary that normalises each row") as error:
        ours(name, row_norm=True).save(tmp_path / "d", format=format)
    assert "monoscope" in error.value.fix and not (tmp_path / "d").exists()


def test_a_transcoder_of_normalised_rows_is_not_written(tmp_path):
    made = ours("l1", row_norm=True)
    made.provenance = {"target": "mlp_out.3"}
    with pytest.raises(MonoscopeError, match="cannot hold a transcoder of normalised rows"):
        made.save(tmp_path / "d", format="saelens")


@pytest.mark.parametrize("told", [{}, {"site": "resid_mid.3", "target": "mlp_out.3"}])
@pytest.mark.parametrize("name", ["topk", "hierarchical_topk"])
def test_skip_transcoders_come_back_from_sparsify(name, told, tmp_path):
    made = ours(name, skip=True)
    made.provenance = told
    made.save(tmp_path, format="sparsify")
    config, again = json.loads((tmp_path / "cfg.json").read_text()), io.load(tmp_path)
    assert config["skip_connection"] is config["transcode"] is True
    assert again.provenance == told and all(torch.equal(again.state_dict()[n], w) for n, w in made.state_dict().items())
    assert torch.equal(again(rows()), made(rows()))


@pytest.mark.parametrize(
    ("name", "d_out", "format", "words", "advice"),
    [
        ("topk", D, "saelens", "no TopK transcoders", "sparsify"),
        ("batch_topk", D, "sparsify", "sparsify holds TopK", "saelens"),
        ("topk", 4, "sparsify", "no transcoders from 6 to 4", "monoscope"),
        ("batch_topk", D, "dictionary_learning", "cannot hold a dictionary with w_skip", "monoscope"),
    ],
)
def test_a_skip_map_that_a_format_has_no_room_for_is_refused(name, d_out, format, words, advice, tmp_path):
    with pytest.raises(MonoscopeError, match=words) as error:
        ours(name, d_out, skip=True).save(tmp_path / "d", format=format)
    assert advice in error.value.fix and not (tmp_path / "d").exists()


def test_a_gemma_scope_transcoder_without_the_skip_map_it_speaks_of_is_refused(tmp_path):
    files.gemma_scope(tmp_path, 2)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"affine_connection": True}))
    with pytest.raises(MonoscopeError, match="affine_skip_connection is missing"):
        io.load(tmp_path)


def test_skip_maps_that_are_of_another_shape_or_not_asked_for_are_refused(tmp_path):
    files.saelens(tmp_path / "a", "skip_transcoder", centred=False)
    held = load_file(tmp_path / "a/sae_weights.safetensors")
    files.safetensors(tmp_path / "a/sae_weights.safetensors", {**held, "W_skip": held["W_skip"].T})
    with pytest.raises(MonoscopeError, match="W_skip is of shape"):
        io.load(tmp_path / "a")
    files.sparsify(tmp_path / "b", skip_connection=True)
    config = json.loads((tmp_path / "b/cfg.json").read_text())
    (tmp_path / "b/cfg.json").write_text(json.dumps(config | {"skip_connection": False}))
    with pytest.raises(MonoscopeError, match="holds 'W_skip', which is not understood"):
        io.load(tmp_path / "b")


def test_what_only_ours_has_is_refused(tmp_path):
    made = ours("topk")
    made.architecture = "of_a_third_party"
    with pytest.raises(MonoscopeError, match="cannot hold a of_a_third_party"):
        made.save(tmp_path / "d", format="saelens")
    assert not (tmp_path / "d").exists()


def test_formats_that_are_only_read_say_so(tmp_path):
    assert FOREIGN == ["dictionary_learning", "saelens", "sparsify"]
    for format in ("gemma_scope", "llamascopium", "openai"):
        with pytest.raises(MonoscopeError, match="can only be read") as error:
            ours("topk").save(tmp_path / "d", format=format)
        assert "saelens" in error.value.fix


def test_a_folder_of_ours_is_not_overwritten_by_another_format(tmp_path):
    ours("topk").save(tmp_path)
    with pytest.raises(MonoscopeError, match="Monoscope's own"):
        ours("topk").save(tmp_path, format="saelens")


@pytest.mark.parametrize("format", io.writable())
def test_a_sealed_folder_of_another_kind_is_left_alone(format, tmp_path):
    (tmp_path / "tokens").write_text("")
    folder.seal(tmp_path, "harvest", {}, ["tokens"])
    with pytest.raises(MonoscopeError, match="Monoscope's own"):
        ours("topk").save(tmp_path, format=format)
    assert folder.unseal(tmp_path, "harvest") and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("format", io.writable())
@pytest.mark.parametrize("there", ["dictionary_learning", "saelens", "sparsify", "llamascopium", "gemma_scope"])
def test_a_dictionary_in_one_format_is_not_written_over_one_in_another(there, format, tmp_path):
    getattr(files, there)(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    if there == format:
        io.load(tmp_path).save(tmp_path, format=format)
        io.load(tmp_path)
        return
    with pytest.raises(MonoscopeError, match=f"holds a dictionary in the format {there}") as error:
        ours("topk").save(tmp_path, format=format)
    assert "another folder" in error.value.fix
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_lies_beside_a_dictionary_of_ours_does_not_hide_it(tmp_path):
    ours("l1_2023").save(tmp_path / "old", format="dictionary_learning")
    made = ours("topk")
    made.save(tmp_path / "new")
    (tmp_path / "old/ae.pt").rename(tmp_path / "new/ae.pt")
    assert same(io.load(tmp_path / "new"), made)


def test_a_folder_in_two_formats_is_not_guessed_about(tmp_path):
    files.saelens(tmp_path)
    files.dictionary_learning(tmp_path)
    with pytest.raises(MonoscopeError, match="several formats: dictionary_learning, saelens") as error:
        io.load(tmp_path)
    assert "a folder of their own" in error.value.fix


@pytest.mark.parametrize("format", io.writable())
def test_where_no_folder_can_be_is_said(format, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(MonoscopeError, match="cannot write file"):
        ours("topk").save(tmp_path / "file", format=format)


@pytest.mark.parametrize("format", io.writable())
def test_tied_weights_are_written_as_two_tensors(format, tmp_path):
    made = ours("topk")
    made.w_dec = made.w_enc
    made.save(tmp_path, format=format)
    close(io.load(tmp_path)(rows()), made(rows()))


@pytest.mark.parametrize("format", ["monoscope", "saelens", "dictionary_learning"])
def test_a_prefix_is_written_without_the_features_after_it(format, tmp_path):
    made = architecture("matryoshka")(64, 4096, k=8, prefixes=(1 / 64, 1)).requires_grad_(False)
    prefix = made.prefix(64)
    prefix.save(tmp_path, format=format)
    numbers = sum(tensor.numel() for tensor in prefix.state_dict().values())
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 4 * numbers + 8192


def test_a_folder_of_many_dictionaries_says_to_name_one(tmp_path):
    for layer in (2, 3):
        files.sparsify(tmp_path / f"layers.{layer}")
    with pytest.raises(MonoscopeError, match="known format") as error:
        io.load(tmp_path)
    assert error.value.fix == f"name one that lies within, such as {tmp_path}/layers.2"
    files.openai(tmp_path / "files")
    (tmp_path / "files/3.pt").rename(tmp_path / "files/4.pt")
    files.openai(tmp_path / "files")
    with pytest.raises(MonoscopeError, match="known format") as error:
        io.load(tmp_path / "files")
    assert error.value.fix.endswith("such as " + str(tmp_path / "files/3.pt"))


@pytest.mark.parametrize("legacy", [False, True])
def test_heads_joined_in_a_row_and_one_head_alone_are_told_on(legacy, tmp_path):
    hook = "blocks.3.attn.hook_z"
    for head, reshape in ((None, "hook_z"), (5, "none")):
        place = tmp_path / str(head)
        files.saelens(place / "theirs", legacy=legacy)
        config = json.loads((place / "theirs/cfg.json").read_text())
        if legacy:  # which says it by the hook's name
            config |= {"hook_point": hook, "hook_point_head_index": head}
            config |= {"reshape_activations": reshape} if head else {}
        else:
            config["reshape_activations"] = reshape
            config["metadata"] |= {"hook_name": hook, "hook_head_index": head}
        (place / "theirs/cfg.json").write_text(json.dumps(config))
        made = io.load(place / "theirs")
        assert made.provenance == {"model": "gpt2", "hook": hook, **({"head": 5} if head else {"reshape": "hook_z"})}
        made.save(place / "ours", format="saelens")
        again = json.loads((place / "ours/cfg.json").read_text())
        assert again["reshape_activations"] == reshape
        assert again["metadata"].get("hook_head_index") == head
        assert io.load(place / "ours").provenance == made.provenance


@pytest.mark.parametrize("name", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_threshold_that_was_never_set_must_be_calibrated(name, tmp_path):
    files.dictionary_learning(tmp_path / "theirs", name, threshold=-1.0)
    made = io.load(tmp_path / "theirs")
    with pytest.raises(MonoscopeError, match="without a threshold"):
        made(rows())
    with pytest.raises(MonoscopeError, match="no calibrated threshold"):
        made.save(tmp_path / "no", format="saelens")
    for format in ("monoscope", "dictionary_learning"):  # what is not set stays so
        made.save(tmp_path / format, format=format)
        assert not io.load(tmp_path / format).calibrated
    x = rows(2000)
    calibrate(made, x)
    assert int(made.encode(x).counts().sum()) == K * len(x)


def test_calibration_says_what_it_cannot_do():
    with pytest.raises(MonoscopeError, match="topk has no threshold"):
        calibrate(ours("topk"), rows())
    with pytest.raises(MonoscopeError, match="no feature is active"):
        calibrate(architecture("batch_topk")(D, F, k=2), rows())


def test_a_batch_topk_of_llamascopium_holds_no_threshold(tmp_path):
    files.llamascopium(tmp_path, "batchtopk")
    assert not io.load(tmp_path).calibrated


def test_a_checkpoint_of_saelens_from_before_the_first_step_holds_no_threshold(tmp_path):
    files.checkpoint(tmp_path, threshold=0.0, rescale_acts_by_decoder_norm=True)
    made = io.load(tmp_path)
    assert (made.calibrated, made.k, "unread" in made.provenance) == (False, K, False)
    x = rows(2000)
    with pytest.raises(MonoscopeError, match="without a threshold"):
        made(x)
    calibrate(made, x)
    assert int(made.encode(x).counts().sum()) == K * len(x)


@pytest.mark.parametrize("k", [0.0, F + 1.0, math.nan])
def test_a_checkpoint_of_saelens_with_no_sensible_k_is_refused(k, tmp_path):
    files.checkpoint(tmp_path)
    config = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**config, "k": k}))
    with pytest.raises(MonoscopeError, match=f"k is {k}"):
        io.load(tmp_path)


def test_where_a_dictionary_belongs_is_read(tmp_path):
    files.saelens(tmp_path / "a")
    assert io.load(tmp_path / "a").provenance == {"model": "gpt2", "site": "resid_post.3"}
    files.saelens(tmp_path / "b", "transcoder", centred=False)
    assert io.load(tmp_path / "b").provenance["target"] == "mlp_out.3"
    files.dictionary_learning(tmp_path / "c")
    assert io.load(tmp_path / "c").provenance == {"model": "EleutherAI/pythia-70m", "site": "resid_post.3"}
    config = json.loads((tmp_path / "a/cfg.json").read_text())
    config["new_in_a_later_version"] = 1
    (tmp_path / "a/cfg.json").write_text(json.dumps(config))
    told = io.load(tmp_path / "a").provenance
    assert told == {"model": "gpt2", "site": "resid_post.3", "unread": ["new_in_a_later_version"]}


@pytest.mark.parametrize("legacy", [False, True])
def test_the_windows_of_a_training_are_kept_and_written_again(legacy, tmp_path):
    files.saelens(tmp_path / "a", legacy=legacy)
    config = json.loads((tmp_path / "a/cfg.json").read_text())
    told = {"context_size": 128, "prepend_bos": False, "seqpos_slice": [5, -5], "exclude_special_tokens": [3, 4]}
    usual = {"disable_concat_sequences": False, "model_class_name": "HookedTransformer"}
    where = config if legacy else config["metadata"]
    where |= told | usual
    (tmp_path / "a/cfg.json").write_text(json.dumps(config))
    made = io.load(tmp_path / "a")
    unsaid = {"row_mean": "not stated"} if legacy else {}
    assert made.provenance == {"model": "gpt2", "site": "resid_post.3", "windows": told, **unsaid}
    made.save(tmp_path / "b", format="saelens")
    written = json.loads((tmp_path / "b/cfg.json").read_text())["metadata"]
    assert {name: written[name] for name in told} == told
    assert io.load(tmp_path / "b").provenance == made.provenance
    where |= {"context_size": -1, "prepend_bos": 1, "seqpos_slice": [None], "exclude_special_tokens": False}
    (tmp_path / "a/cfg.json").write_text(json.dumps(config))
    assert "windows" not in io.load(tmp_path / "a").provenance
    for nonsense in (True, "128", 128.0, [128], None):
        where["context_size"] = nonsense
        (tmp_path / "a/cfg.json").write_text(json.dumps(config))
        assert "windows" not in io.load(tmp_path / "a").provenance


def test_dictionary_learning_says_how_long_its_windows_were(tmp_path):
    files.dictionary_learning(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for buffer, told in (({"ctx_len": 64}, {"context_size": 64}), ({}, None), ({"ctx_len": "64"}, None), ([1], None)):
        (tmp_path / "config.json").write_text(json.dumps(config | {"buffer": buffer}))
        assert io.load(tmp_path).provenance.get("windows") == told


REFUSED = {
    "layer_norm, which does not fold into a transcoder": lambda p: files.saelens(
        p, "transcoder", centred=False, normalize_activations="layer_norm"
    ),
    "normalised by constant_norm_rescale": lambda p: files.saelens(p, normalize_activations="constant_norm_rescale"),
    "changes the units": lambda p: files.saelens(
        p, "matching_pursuit", normalize_activations="expected_average_only_in"
    ),
    "temporal": lambda p: files.saelens(p, "temporal"),
    "cannot subtract": lambda p: files.saelens(p, "skip_transcoder"),
    "groupmax": lambda p: files.sparsify(p, activation="groupmax"),
    "may be negative": lambda p: files.sparsify(p, signed=True),
    "skip_connection is 1, not true or false": lambda p: files.sparsify(p, skip_connection=1),
    "TopK followed by Identity is not": lambda p: files.openai(p, "TopK", postact_fn="Identity"),
    "k is 3.0, not a whole": lambda p: files.openai(p, "TopK", k=3.0),
    "k = 17 with": lambda p: files.openai(p, "TopK", k=17),
    "postact_fn is missing": lambda p: files.openai(p, "TopK", postact_fn=None),
    "activation Tanh is not": lambda p: files.openai(p, "Tanh"),
    "normalised token-wise": lambda p: files.llamascopium(p, norm="token-wise"),
    "plain autoencoders": lambda p: files.llamascopium(p, use_glu_encoder=True),
    "k = 17": lambda p: files.sparsify(p, k=17),
    "k is True": lambda p: files.sparsify(p, k=True),
    "num_latents is 16, not a whole": lambda p: files.sparsify(p, num_latents="16"),
    "shape": lambda p: files.sparsify(p, num_latents=15),
}


@pytest.mark.parametrize("words", REFUSED)
def test_what_cannot_be_represented_is_refused(words, tmp_path):
    REFUSED[words](tmp_path)
    with pytest.raises(MonoscopeError, match=words):
        io.load(tmp_path)


def test_a_constant_that_is_not_there_is_asked_for(tmp_path):
    files.saelens(tmp_path, normalize_activations="expected_average_only_in")
    (tmp_path / "activation_scaler.json").unlink()
    with pytest.raises(MonoscopeError, match="does not hold") as error:
        io.load(tmp_path)
    assert "activation_scaler.json" in error.value.fix


def test_topk_and_batch_topk_are_not_guessed_apart(tmp_path):
    files.dictionary_learning(tmp_path, "AutoEncoderTopK")
    (tmp_path / "config.json").unlink()
    with pytest.raises(MonoscopeError, match="TopK or BatchTopK"):
        io.load(tmp_path)


def test_checkpoints_are_read_and_backups_refused(tmp_path):
    meaning = files.dictionary_learning(tmp_path, "JumpReluAutoEncoder")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "ae.pt").rename(tmp_path / "checkpoints/ae_100.pt")
    made = io.load(tmp_path / "checkpoints/ae_100.pt")
    close(made(rows()), meaning(rows()))
    assert made.provenance["model"] == "EleutherAI/pythia-70m"
    torch.save({"step": 3, "ae": files.parts() | {"encoder.weight": 1, "decoder.weight": 2}}, tmp_path / "ae.pt")
    with pytest.raises(MonoscopeError, match="backup"):
        io.load(tmp_path / "ae.pt")


def test_tensors_that_are_not_known_are_refused(tmp_path):
    files.safetensors(
        tmp_path / "params.safetensors",
        {n: torch.ones(2, 2) for n in ("w_enc", "w_dec")}
        | {n: torch.ones(2) for n in ("b_enc", "b_dec", "threshold", "x")},
    )
    with pytest.raises(MonoscopeError, match="holds 'x', which is not understood"):
        io.load(tmp_path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_none_are_refused(value, tmp_path):
    files.sparsify(tmp_path)
    held = {"encoder.weight": torch.ones(F, D), "encoder.bias": torch.ones(F), "W_dec": torch.ones(F, D)}
    files.safetensors(tmp_path / "sae.safetensors", {**held, "b_dec": torch.full((D,), value)})
    with pytest.raises(MonoscopeError, match="b_dec is not finite"):
        io.load(tmp_path)


class Runs:
    def __reduce__(self):
        return os.mkdir, ("ran",)


def test_nothing_is_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"pre_bias": Runs(), "latent_bias": 1, "encoder.weight": 2}, tmp_path / "a.pt")
    with pytest.raises(MonoscopeError, match=r"would run (posix|nt) mkdir"):
        io.load(tmp_path)
    assert not (tmp_path / "ran").exists()
    (tmp_path / "a.pt").write_bytes(pickle.dumps({"pre_bias": Runs()}))
    with pytest.raises(MonoscopeError, match="known format"):
        io.load(tmp_path)


def test_views_that_claim_more_than_the_file_holds_are_refused(tmp_path):
    wide = torch.zeros(1).expand(1 << 20, 1 << 20)
    torch.save({"pre_bias": torch.zeros(4), "latent_bias": torch.zeros(4), "encoder.weight": wide}, tmp_path / "a.pt")
    with pytest.raises(MonoscopeError, match="more numbers than the file holds"):
        io.load(tmp_path)


def test_bombs_are_refused(tmp_path):
    shapes = {"W_enc": (1 << 12, 1 << 12), "W_dec": (1, 1), "b_enc": (1,), "b_dec": (1,), "threshold": (1,)}
    np.savez_compressed(tmp_path / "params.npz", **{name: np.zeros(shape, "f4") for name, shape in shapes.items()})
    with pytest.raises(MonoscopeError, match="larger inside"):
        io.load(tmp_path)
    with zipfile.ZipFile(tmp_path / "params.npz", "w") as file:
        for name in shapes:
            with file.open(f"{name}.npy", "w") as stream:
                np.lib.format.write_array_header_1_0(
                    stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 40, 1 << 20)}
                )
    with pytest.raises(MonoscopeError, match="claims"):
        io.load(tmp_path)


def test_deep_json_is_damage(tmp_path):
    files.sparsify(tmp_path)
    (tmp_path / "cfg.json").write_text('{"k":' + "[" * 200_000)
    with pytest.raises(MonoscopeError, match=r"cfg\.json cannot be read"):
        io.load(tmp_path)
    (tmp_path / "cfg.json").write_text(r'{"d_in": 6, "k": 3, "monoscope": {"model": "\ud800"}}')
    with pytest.raises(MonoscopeError, match=r"cfg\.json cannot be read"):
        io.load(tmp_path)


def test_half_precision_is_read_exactly(tmp_path):
    files.sparsify(tmp_path)
    p = {name: tensor.bfloat16() for name, tensor in files.parts().items()}
    held = {"encoder.weight": p["w_enc"], "encoder.bias": p["b_enc"], "W_dec": p["w_dec"], "b_dec": p["b_dec"]}
    files.safetensors(tmp_path / "sae.safetensors", held)
    made = io.load(tmp_path)
    assert made.w_dec.dtype == torch.float32 and torch.equal(made.w_dec, p["w_dec"].float())


def test_a_gated_threshold_below_zero_still_leaves_relu(tmp_path):
    """b_mag − exp(r) b_gate < 0: the gate is open where the magnitude is negative, and nothing negative is active."""
    files.saelens(tmp_path, "gated")
    made = io.load(tmp_path)
    assert float(made.threshold.min()) == 0
    assert bool((made.encode(rows()).values > 0).all())


def test_paths_of_no_format_say_which_there_are(tmp_path):
    with pytest.raises(MonoscopeError, match="known format") as error:
        io.load(tmp_path)
    assert "llamascopium" in error.value.fix
    (tmp_path / "file.txt").write_text("no")
    with pytest.raises(MonoscopeError, match="known format"):
        io.load(tmp_path / "file.txt")


def test_a_path_within_a_folder(tmp_path: Path):
    meaning = files.gemma_scope(tmp_path)
    close(io.load(tmp_path / "params.npz")(rows()), meaning(rows()))
