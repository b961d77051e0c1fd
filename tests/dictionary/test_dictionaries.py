"""Laws of dictionaries, over every architecture and every format in its folder."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import numpy as np
import pytest
import torch

from monoscope import folder
from monoscope.dictionary import io
from monoscope.dictionary.base import Dictionary, architecture, architectures
from monoscope.dictionary.identity import content_hash
from monoscope.errors import MonoscopeError
from monoscope.ops import row_norm
from monoscope.signals.features import Watched

every_architecture = pytest.mark.parametrize("name", architectures())
each_way = pytest.mark.parametrize("seen", [{}, {"row_norm": True}, {"row_mean": True}], ids=lambda seen: "".join(seen))


def made(
    name: str, d_in: int = 12, n_features: int = 40, d_out: int | None = None, seed: int = 0, **options: Any
) -> Dictionary:
    """A random dictionary with every tensor set, thresholds included."""
    dictionary = architecture(name)(d_in, n_features, d_out, **options).requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for tensor in dictionary.state_dict().values():
        tensor.copy_(torch.randn(tensor.shape, generator=generator) / 4)
    for buffer in dictionary.buffers():
        buffer.abs_()
    return dictionary


def rows(n: int = 64, d: int = 12) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(7))


def test_there_are_architectures_and_unknown_ones_are_refused():
    assert {"topk", "batch_topk", "l1_2023"} <= set(architectures())
    with pytest.raises(MonoscopeError, match="did you mean 'topk'"):
        architecture("topkk")
    with pytest.raises(MonoscopeError):
        architecture("base")
    with pytest.raises(MonoscopeError, match="holds no class Architecture"):
        architecture("monoscope.hub")


def test_what_is_no_code_and_no_path_is_refused(tmp_path, monkeypatch):
    dictionary = made("topk")
    with pytest.raises(MonoscopeError, match="a Tensor is no code"):
        dictionary.decode(rows())
    monkeypatch.chdir(tmp_path)
    for nothing in ("", None):
        for use in (io.load, dictionary.save):
            with pytest.raises(MonoscopeError, match="is no path"):
                use(nothing)
    assert not list(tmp_path.iterdir())


@each_way
@every_architecture
def test_encode_is_row_wise_bit_for_bit(name, seen):
    dictionary, x = made(name, **seen), rows()
    whole = dictionary.encode(x)
    for i in (0, 13, 63):
        alone, here = dictionary.encode(x[i : i + 1]), whole[i : i + 1]
        order, other = alone.indices.argsort(), here.indices.argsort()
        assert torch.equal(alone.indices[order], here.indices[other])
        assert torch.equal(alone.values[order], here.values[other])


@each_way
@every_architecture
def test_what_is_made_ready_changes_no_code_and_a_change_of_weights_is_noticed(name, seen):
    dictionary, other, x = made(name, **seen), made(name, seed=1, **seen), rows()
    wanted, changed = (one.encode(x).to_dense() for one in (dictionary, other))
    dictionary.make_ready()
    for _ in range(2):
        assert torch.equal(dictionary.encode(x).to_dense(), wanted)
        assert torch.equal(torch.cat([dictionary.encode(row).to_dense() for row in x.split(1)]), wanted)
    dictionary.load_state_dict(other.state_dict())
    assert torch.equal(dictionary.encode(x).to_dense(), changed)


@each_way
@every_architecture
def test_some_features_alone_have_the_values_that_they_have_among_all(name, seen):
    dictionary, x, features = made(name, **seen), rows(), [7, 0, 39, 12]
    wanted = dictionary.encode(x).to_dense()[:, features]
    assert torch.equal(Watched(dictionary, features).values(x), wanted)  # not by a bit
    assert torch.equal(Watched(dictionary, features, whole=True).values(x), wanted)
    with pytest.raises(MonoscopeError, match="no feature 40"):
        Watched(dictionary, [3, 40])


@every_architecture
def test_an_architecture_with_gates_encodes_what_they_let_through(name):
    dictionary, x = made(name), rows()
    gates = dictionary.gates()
    assert name not in ("topk", "batch_topk") or (gates is None) == (name == "topk")
    if gates is not None:
        scores = x @ gates.weight.T + gates.bias
        assert (gates.threshold >= 0).all()
        torch.testing.assert_close(dictionary.encode(x).to_dense(), scores.where(scores > gates.threshold, 0.0))


@every_architecture
def test_decode_is_the_weighted_sum_of_directions(name):
    dictionary, x = made(name), rows()
    code = dictionary.encode(x)
    torch.testing.assert_close(dictionary(x), code.to_dense() @ dictionary.directions + dictionary.b_dec)


@every_architecture
def test_with_row_norm_features_see_normalised_rows_and_write_in_units_of_the_rows(name):
    plain, dictionary, x = made(name), made(name, row_norm=True), 5 * rows() + 3
    mean, spread = x.mean(1, keepdim=True), x.std(1, keepdim=True)
    z = row_norm.normed(x).rows
    torch.testing.assert_close(z, (x - mean) / (spread + 1e-5))
    code = dictionary.encode(x)
    torch.testing.assert_close(code.to_dense(), plain.encode(z).to_dense() * spread)
    wanted = code.to_dense() @ dictionary.directions + spread * dictionary.b_dec + mean
    torch.testing.assert_close(dictionary(x), wanted)
    torch.testing.assert_close(dictionary(x), plain(z) * spread + mean)
    torch.testing.assert_close(dictionary.decode(code, x) - dictionary.rest(x), code.to_dense() @ dictionary.directions)
    with pytest.raises(MonoscopeError, match="has normalised rows"):
        dictionary.decode(code)
    with pytest.raises(MonoscopeError, match="a code of 64 rows, and 1 rows"):
        dictionary.decode(code, x[:1])


@every_architecture
def test_with_row_norm_the_unit_of_the_rows_is_the_unit_of_everything(name):
    dictionary, x = made(name, row_norm=True), rows()
    torch.testing.assert_close(
        dictionary.encode(8 * x + 5).to_dense(), 8 * dictionary.encode(x).to_dense(), rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(dictionary(8 * x + 5), 8 * dictionary(x) + 5, rtol=1e-3, atol=1e-3)


@every_architecture
def test_a_row_without_spread_has_no_features_and_is_its_mean(name):
    dictionary, x = made(name, row_norm=True), rows()
    x[3] = 7.0
    code = dictionary.encode(x)
    assert code.counts()[3] == 0 and bool((code.values != 0).all()) and int(code.counts().sum()) == len(code.values)
    assert torch.equal(dictionary(x)[3], x[3])
    assert torch.equal(code[4:].to_dense(), dictionary.encode(x[4:]).to_dense())


@every_architecture
def test_with_row_mean_features_see_rows_less_their_means_which_are_put_back(name):
    plain, dictionary, x = made(name), made(name, row_mean=True), 5 * rows() + 3
    mean = x.mean(1, keepdim=True)
    code = dictionary.encode(x)
    assert torch.equal(code.to_dense(), plain.encode(x - mean).to_dense())
    torch.testing.assert_close(dictionary(x), plain(x - mean) + mean)
    torch.testing.assert_close(dictionary.rest(x), mean + dictionary.b_dec)
    with pytest.raises(MonoscopeError, match="has normalised rows"):
        dictionary.decode(code)


@pytest.mark.parametrize("way", ["row_norm", "row_mean"])
@every_architecture
def test_what_is_done_to_rows_is_saved_and_is_of_one_site(name, way, tmp_path):
    dictionary = made(name, **{way: True})
    dictionary.save(tmp_path)
    assert getattr(io.load(tmp_path), way) and dictionary.options()[way] is True
    assert way not in made(name).options()
    assert content_hash(io.load(tmp_path)) == content_hash(dictionary) != content_hash(made(name))
    for options in ({"d_out": 5}, {"skip": True}):
        with pytest.raises(MonoscopeError, match="reconstruct"):
            made(name, **{way: True}, **options)
    with pytest.raises(MonoscopeError, match="takes each row's mean off too"):
        made(name, row_norm=True, row_mean=True)


def test_an_architecture_that_encodes_by_itself_has_no_row_norm():
    class Own(architecture("topk")):
        def encode(self, x):
            return super().encode(x)

    assert Own(4, 8, k=2).encode(torch.randn(3, 4)).n_features == 8
    for way in ("row_norm", "row_mean"):
        with pytest.raises(MonoscopeError, match="encodes rows as they are"):
            Own(4, 8, k=2, **{way: True})


def test_views_of_a_dictionary_see_what_it_sees():
    for way in ("row_norm", "row_mean"):
        nested = made("matryoshka", k=4, prefixes=(0.5, 1), **{way: True})
        top = made("hierarchical_topk", **{way: True})
        assert getattr(nested.prefix(20), way) and getattr(top.at(3), way)


@every_architecture
def test_scaling_and_shifting_fold_exactly(name):
    """A dictionary of (x − m) / s, folded, reconstructs x as s times the reconstruction plus m."""
    x, mean, scale = rows(), torch.linspace(-2, 2, 12), 3.5
    inner, folded = made(name), made(name)
    folded.scale(scale)
    folded.shift(mean, mean)
    wanted = inner((x - mean) / scale) * scale + mean
    torch.testing.assert_close(folded(x), wanted, rtol=1e-4, atol=1e-4)


@every_architecture
def test_a_transcoder_may_write_another_width(name):
    dictionary = made(name, d_out=5)
    assert dictionary(rows()).shape == (64, 5)


@pytest.mark.parametrize("name", [n for n in architectures() if "untied" in architecture(n).settings])
def test_what_reads_along_what_it_writes_reconstructs_what_it_reads(name):
    for options in ({"d_out": 5}, {"skip": True}):
        assert made(name, **options).options()["untied"] is True and "untied" not in made(name).options()
        with pytest.raises(MonoscopeError, match="only reconstruct what it reads"):
            made(name, untied=False, **options)


@every_architecture
def test_what_a_transcoder_reads_may_be_measured_in_another_unit(name):
    dictionary, x = made(name, d_out=5, skip=True), rows()
    code, wanted = dictionary.encode(x), dictionary(x)
    dictionary.scale_input(3.5)
    torch.testing.assert_close(dictionary.encode(3.5 * x).to_dense(), code.to_dense(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dictionary(3.5 * x), wanted, rtol=1e-4, atol=1e-4)


@every_architecture
def test_a_skip_map_sees_the_rows_beside_the_code(name):
    plain, skipping, x = made(name, d_out=5), made(name, d_out=5, skip=True), rows()
    plain.load_state_dict({n: t for n, t in skipping.state_dict().items() if n != "w_skip"})
    code = skipping.encode(x)
    assert torch.equal(code.to_dense(), plain.encode(x).to_dense())
    wanted = code.to_dense() @ skipping.directions + skipping.b_dec + x @ skipping.w_skip.T
    torch.testing.assert_close(skipping(x), wanted)
    torch.testing.assert_close(skipping.decode(code, x), wanted)
    with pytest.raises(MonoscopeError, match="has a skip map"):
        skipping.decode(code)


@every_architecture
def test_a_skip_map_folds_exactly(name):
    x, mean_in, mean_out, scale = rows(), torch.linspace(-2, 2, 12), torch.linspace(1, 3, 5), 3.5
    inner, folded = made(name, d_out=5, skip=True), made(name, d_out=5, skip=True)
    folded.scale(scale)
    folded.shift(mean_in, mean_out)
    wanted = inner((x - mean_in) / scale) * scale + mean_out
    torch.testing.assert_close(folded(x), wanted, rtol=1e-4, atol=1e-4)


@every_architecture
def test_a_skip_map_is_saved(name, tmp_path):
    dictionary, x = made(name, skip=True), rows()
    dictionary.save(tmp_path)
    again = io.load(tmp_path)
    assert again.options()["skip"] is True and "skip" not in made(name).options()
    assert torch.equal(again.w_skip, dictionary.w_skip)
    assert torch.equal(again(x), dictionary(x))


@each_way
@every_architecture
def test_save_and_load_are_inverse(name, seen, tmp_path):
    dictionary, x = made(name, **seen), rows()
    dictionary.provenance = {"model": "m", "site": "mlp_act.0"}
    dictionary.save(tmp_path / "d")
    again = io.load(tmp_path / "d")
    assert (again.architecture, again.options(), again.provenance) == (
        name,
        dictionary.options(),
        dictionary.provenance,
    )
    assert all(
        torch.equal(a, b) for a, b in zip(dictionary.state_dict().values(), again.state_dict().values(), strict=True)
    )
    assert torch.equal(again(x), dictionary(x))


@pytest.mark.parametrize("options", [{}, {"row_norm": True}, {"row_mean": True}, {"d_out": 5}], ids=str)
@every_architecture
@pytest.mark.parametrize("form", io.writable())
def test_another_format_keeps_what_is_computed_or_refuses(name, options, form, tmp_path):
    dictionary, x = made(name, **options), rows()
    try:
        dictionary.save(tmp_path / "d", format=form)
    except MonoscopeError as error:
        assert error.fix and not (tmp_path / "d").exists()
        return
    torch.testing.assert_close(io.load(tmp_path / "d")(x), dictionary(x), rtol=1e-4, atol=1e-5)


@each_way
@every_architecture
def test_bad_rows_are_refused(name, seen):
    dictionary = made(name, **seen)
    with pytest.raises(MonoscopeError, match="width 12"):
        dictionary.encode(torch.zeros(3, 11))
    bad = rows()
    bad[5, 2] = torch.nan
    with pytest.raises(MonoscopeError, match="row 5 are not finite"):
        dictionary.encode(bad)
    masked = np.ma.masked_less(rows().numpy(), 0)
    for wrong in (rows().to(torch.complex64), rows() > 0, rows().to_sparse(), rows().to(torch.float8_e5m2), masked):
        with pytest.raises(MonoscopeError, match=r"x has shape|x is a sparse tensor|x is masked"):
            dictionary.encode(wrong)
    with pytest.raises(MonoscopeError, match="row 0 are not finite"):
        dictionary.encode(rows().double() * 1e300)
    assert len(dictionary.encode(torch.zeros(0, 12))) == 0


@each_way
@every_architecture
def test_rows_whose_sum_is_too_large_for_their_type_are_rows(name, seen):
    dictionary, x = made(name, **seen), (rows() + 1000).half()
    assert torch.isfinite(x).all() and not torch.isfinite(x.sum())
    assert torch.equal(dictionary.encode(x).to_dense(), dictionary.encode(x.float()).to_dense())


@pytest.mark.parametrize("untied", [False, True])
@pytest.mark.parametrize("name", ["matching_pursuit", "nonnegative_pursuit"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_pursuit_in_another_precision_searches_in_fp32(name, untied, dtype):
    dictionary = made(name, untied=untied).to(dtype)
    expected = made(name, untied=untied).to(dtype).float().encode(rows())
    assert torch.allclose(dictionary.encode(rows()).to_dense(), expected.to_dense(), rtol=1e-2, atol=1e-4)


def test_options_are_checked():
    with pytest.raises(MonoscopeError, match="has no option 'kk'"):
        architecture("topk")(4, 8, kk=3)
    for name in ("topk", "batch_topk", "matching_pursuit"):
        for k in (9, 2.5, "4", None, True):
            with pytest.raises(MonoscopeError, match="choose k"):
                architecture(name)(4, 8, k=k)
    for k in (2.5, "2", 0, 5):
        with pytest.raises(MonoscopeError, match="choose k between 1 and 4"):
            architecture("topk")(4, 8, k=4).at(k)
    for sizes in ((4.5, 8), (4, "8"), (4, 8, 0), (True, 8)):
        with pytest.raises(MonoscopeError, match="give whole numbers from 1"):
            architecture("l1")(*sizes)
    with pytest.raises(MonoscopeError, match="None is no name"):
        made("topk").save("nowhere", format=None)


def test_a_code_of_another_dictionary_is_refused():
    with pytest.raises(MonoscopeError, match="for a dictionary of 40"):
        made("topk").decode(made("topk", n_features=41).encode(rows()))


def test_damage_is_found_on_loading(tmp_path):
    made("topk").save(tmp_path / "d")
    weights = tmp_path / "d/weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-3] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(MonoscopeError, match=r"weights\.safetensors is damaged"):
        io.load(tmp_path / "d")
    weights.write_bytes(bytes(data[:-10]))
    with pytest.raises(MonoscopeError, match="bytes long"):
        io.load(tmp_path / "d")
    with pytest.raises(MonoscopeError, match="does not exist"):
        io.load(tmp_path / "elsewhere")


@each_way
@every_architecture
def test_weights_that_are_no_numbers_are_refused_by_name(name, seen, tmp_path):
    for i, (weight, parameter) in enumerate(made(name, **seen).named_parameters()):
        one = made(name, **seen)
        dict(one.named_parameters())[weight].data.view(-1)[parameter.numel() // 2] = float("nan")
        one.save(tmp_path / str(i))
        with pytest.raises(MonoscopeError, match=f"{weight} is not finite"):
            io.load(tmp_path / str(i))


def test_a_half_written_dictionary_is_no_dictionary(tmp_path):
    made("topk").save(tmp_path / "d")
    (tmp_path / "d/manifest.json").unlink()
    with pytest.raises(MonoscopeError, match="not complete"):
        io.load(tmp_path / "d")


def test_top_k_never_gives_more_than_k_features():
    code = made("topk").encode(rows(200))
    assert int(code.counts().max()) <= 32
    assert bool((code.values > 0).all())


def test_a_file_does_not_decide_what_is_imported(tmp_path, monkeypatch):
    """Law 9: an architecture of somebody else's module is loaded only where that module was imported already."""
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / "__init__.py").touch()
    (tmp_path / "strange" / "architecture.py").write_text("from monoscope.dictionary.topk import Architecture\n")
    monkeypatch.syspath_prepend(tmp_path)
    saved = tmp_path / "saved"
    made("topk").save(saved)
    config = folder.read_json(saved / "config.json")
    folder.write_json(saved / "config.json", {**config, "architecture": "strange.architecture"})
    folder.seal(saved, "dictionary", {}, ["config.json", "weights.safetensors"])
    with pytest.raises(MonoscopeError, match=r"import strange\.architecture before"):
        io.load(saved)
    assert "strange" not in sys.modules
    importlib.import_module("strange.architecture")
    try:
        assert io.load(saved).n_features == made("topk").n_features
    finally:
        monkeypatch.delitem(sys.modules, "strange.architecture")
