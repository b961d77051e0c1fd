"""Training on a named device: what is refused, how rows travel, and that a CUDA device learns what a CPU does."""

from __future__ import annotations

from dataclasses import replace

import pretended_device
import pytest
import torch
from pretended_device import PLACE

from monoscope.dictionary import io
from monoscope.dictionary.base import architectures
from monoscope.errors import MonoscopeError
from monoscope.ops import devices, nonnegative
from monoscope.train import rows, transfer
from monoscope.train.fit import Recipe, fit, known_options
from monoscope.train.loop import Keeping, train

HOW = {"n_features": 64, "k": 4, "batch_size": 500, "precision": "float32", "show_progress": False}


def activations(n: int = 8000) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    sparse = torch.rand(n, 48, generator=generator) * (torch.rand(n, 48, generator=generator) < 0.08)
    return sparse @ torch.randn(48, 24, generator=generator)


def test_the_cpu_may_be_named():
    a, b = (fit(activations(2000), device=device, **HOW) for device in (None, "cpu"))
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", ["tpu9", "cuda:99", "meta"])
def test_a_device_that_is_not_there_is_refused(name):
    with pytest.raises(MonoscopeError, match=f"{name}.*not there"):
        fit(activations(2000), device=name, **HOW)


def test_a_dictionary_and_activations_on_different_devices_are_refused():
    found = fit(activations(2000), device="cpu", **HOW)
    with pytest.raises(MonoscopeError, match=r"on meta for a dictionary on cpu[\s\S]*dictionary.to"):
        found.encode(activations(3).to("meta"))


def test_rows_arrive_in_order_and_a_target_stays_its_input():
    x, y = activations(40), activations(30)
    (first, second), (third, fourth) = transfer.moved(iter([(x, x), (x, y)]), torch.device("cpu"))
    assert first is second is x
    assert (third, fourth) == (x, y)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a real device shows it: the tests that are marked gpu")
@pytest.mark.parametrize("name", architectures())
def test_a_training_moves_between_a_pretended_device_and_the_cpu(name, tmp_path):
    """Begun on one, stopped, and ended on the other: as if it had never moved, and nothing is ever left behind."""
    pytest.importorskip("triton", reason="Triton is not installed, so the path of a device is not checked")
    x = torch.randn(60, 6, generator=torch.Generator().manual_seed(3))
    recipe = Recipe.of(name, 12, k=3, **known_options(name, {"l0": 3.0, "sample": 12, "precision": "float32"}))
    data = rows.from_arrays(x, None, 5, 15, 0, hold_back=recipe.calibrates)

    def stopped(start: int):
        for done, pair in enumerate(data.batches(start)):
            if done == 1:
                raise KeyboardInterrupt
            yield pair

    def run(folder, device, given):
        return train(given, {"main": recipe.trainee(given, device=device)}, keeping=Keeping(folder, every_seconds=0))

    wanted = run(tmp_path / "stays", "cpu", data)["main"].state_dict()
    for first, then in (("cpu", PLACE), (PLACE, "cpu")):
        folder = tmp_path / str(then)
        with pretended_device.there():
            with pytest.raises(KeyboardInterrupt):
                run(folder, first, replace(data, batches=stopped))
            found = run(folder, then, data)["main"]
            assert found.w_dec.device == torch.device(then)
            for part, tensor in found.cpu().state_dict().items():
                torch.testing.assert_close(tensor, wanted[part], rtol=2e-3, atol=2e-4)


@pytest.mark.skipif(torch.cuda.is_available(), reason="waits are counted on a pretended device")
@pytest.mark.parametrize(
    ("name", "waits"), [("topk", 3), ("hierarchical_topk", 3), ("batch_topk", 4), ("matryoshka", 4)]
)
def test_a_step_waits_for_its_device_as_seldom_as_is_said(name, waits):
    """For what was selected, for what is dead, for the loss terms; once it chooses across rows, BatchTopK for its
    threshold too, which the first such step has to guess.
    """
    pytest.importorskip("triton", reason="Triton is not installed, so the path of a device is not checked")
    x = torch.randn(48, 6, generator=torch.Generator().manual_seed(3))
    data = rows.from_arrays(x, None, 8, 32, 0, hold_back=False)
    with pretended_device.there() as counted:
        options = known_options(name, {"topk_until": 0.0})
        trainee = Recipe.of(name, 20, k=3, precision="float32", **options).trainee(data, device=PLACE)
        x = data.sample[0][:8].to(PLACE)
        trainee.step(x, x, 0, 32)
        counted.clear()
        trainee.step(x, x, 8, 32)
    assert counted.total() == waits, counted


@pytest.mark.skipif(torch.cuda.is_available(), reason="a real device shows it: the tests that are marked gpu")
def test_a_non_negative_pursuit_stays_on_its_device_and_waits_as_often_for_many_rows_as_for_few():
    generator = torch.Generator().manual_seed(3)
    atoms = torch.nn.functional.normalize(torch.randn(40, 12, generator=generator, dtype=torch.float64))
    x = torch.randn(20, 12, generator=generator, dtype=torch.float64)
    wanted = nonnegative.reference(x, atoms, 0.3, 6)
    counts = []
    with pretended_device.there() as counted:
        for times in (1, 5):
            counted.clear()
            found = nonnegative.pursue(x.repeat(times, 1).to(PLACE), atoms.to(PLACE), 0.3, 6)
            counts.append(counted.total())
            assert {part.device for part in found} == {PLACE}
            assert torch.equal(found.picks.cpu(), wanted.picks.repeat(times, 1))
    assert counts[0] == counts[1] > 0


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["topk", "batch_topk", "matryoshka", "hierarchical_topk"])
def test_a_cuda_device_learns_what_a_cpu_learns(name):
    x = activations()
    wanted = fit(x, architecture=name, device="cpu", **HOW)
    for found in (fit(x, architecture=name, device="cuda", **HOW), fit(x.cuda(), architecture=name, **HOW)):
        assert found.w_dec.device.type == "cuda"
        left = [float((x - made(x.to(made.w_dec.device)).cpu()).square().mean()) for made in (found, wanted)]
        assert left[0] == pytest.approx(left[1], rel=0.02)
        torch.testing.assert_close(found.w_dec.cpu(), wanted.w_dec, rtol=0, atol=0.05)


@pytest.mark.gpu
@pytest.mark.parametrize("then", ["cuda", "cpu"])
def test_a_training_goes_on_where_another_device_stopped(then, tmp_path):
    recipe = Recipe.of("batch_topk", 64, k=4, precision="float32")
    data = rows.from_arrays(activations(), None, 500, None, 0, hold_back=True)

    def stopped(start: int):
        for done, pair in enumerate(data.batches(start)):
            if start == 0 and done == 8:
                raise KeyboardInterrupt
            yield pair

    def run(folder, device, given):
        trainees = {"main": recipe.trainee(given, device=device)}
        return train(given, trainees, keeping=Keeping(folder, every_seconds=0))["main"]

    undisturbed = run(tmp_path / "one", "cuda", data)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "two", "cuda", replace(data, batches=stopped))
    resumed = run(tmp_path / "two", then, data)
    assert resumed.w_dec.device.type == then
    torch.testing.assert_close(resumed.w_dec.cpu(), undisturbed.w_dec.cpu(), rtol=0, atol=0.05)
    io.save(resumed, tmp_path / "kept")
    assert torch.equal(io.load(tmp_path / "kept").w_dec, resumed.w_dec.cpu())


@pytest.mark.gpu
def test_the_same_seed_gives_the_same_bits_on_a_device():
    a, b = (fit(activations(), device="cuda", **HOW) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@pytest.mark.gpu
def test_a_device_is_found():
    assert devices.find("cuda:0").type == "cuda"


def test_the_pretence_gives_no_numbers_that_it_does_not_hold():
    with pretended_device.there():
        x = torch.arange(12.0).view(4, 3).to(PLACE)
        assert x[torch.tensor([3, 0])].cpu().tolist() == [[9, 10, 11], [0, 1, 2]]
        with pytest.raises(RuntimeError, match="indexed by a list"):  # torch would lose the places, and tell nobody
            x[[3, 0]]
