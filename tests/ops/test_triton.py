"""Law 3 for the Triton kernels: each equals its reference, gradients included. Also that they compile for devices.

Without a CUDA device they run under Triton's interpreter (``tests/conftest.py`` asks for it), on tensors of the CPU,
which are then taken for a device's. With one they run on it, with ``-m gpu``.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import monoscope
from monoscope.ops import adam, devices, nested, product, reconstruct, select, sparse, transpose, weighted_rows
from monoscope.types import Code

pytest.importorskip("triton", reason="Triton is not installed, so the kernels for CUDA are not checked")
from monoscope.ops.triton_kernels import select as kernels

NATIVE = torch.cuda.is_available()
DEVICE = "cuda" if NATIVE else "cpu"
pytestmark = [pytest.mark.gpu] if NATIVE else []

quick = settings(max_examples=60 if NATIVE else 15, deadline=None)
few = settings(max_examples=60 if NATIVE else 20, deadline=None)
dtypes = st.sampled_from([torch.float32, torch.bfloat16])
# rows, features, width, seed: widths beyond one block of columns, and rows beyond one tile, occur
shapes = st.tuples(st.integers(0, 9), st.integers(1, 12), st.sampled_from([1, 5, 33, 300]), st.integers(0, 2**31))


@pytest.fixture(autouse=True, scope="module")
def taken_for_a_device():
    """Where kernels are interpreted: tensors of the CPU go to them, as those of a device do."""
    with pytest.MonkeyPatch.context() as patch:
        if not NATIVE:
            patch.setattr(devices, "on_cuda", lambda *tensors: all(t.dtype in devices.KERNELS_READ for t in tensors))
        yield


def numbers(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def random_code(n: int, n_features: int, seed: int) -> Code:
    """Ragged rows; the first has every feature, the last none; the first feature is on no other row."""
    dense = torch.rand(n, n_features, generator=torch.Generator().manual_seed(seed))
    dense = torch.where(dense > 0.6, dense, 0)
    dense[:, 0] = 0
    dense[:1] = 0.5
    dense[1:][-1:] = 0
    return Code.from_dense(dense.to(DEVICE))


def close(mine: torch.Tensor, wanted: torch.Tensor, dtype: torch.dtype = torch.float32) -> None:
    """Equal up to the rounding of sums of some hundred numbers."""
    eps = torch.finfo(dtype).eps
    torch.testing.assert_close(mine.double(), wanted.double(), rtol=64 * eps, atol=64 * eps * float(1 + size(wanted)))


def size(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().abs().max() if tensor.numel() else torch.zeros(())


@quick
@given(shapes, dtypes)
def test_products_equal_their_references(shape, dtype):
    n, n_features, d, seed = shape
    code = random_code(n, n_features, seed)
    by = transpose.transpose(code)
    w, x = numbers(seed, n_features, d).to(dtype), numbers(seed + 1, n, d).to(dtype)
    found = weighted_rows.gather(code, w)
    assert found.dtype == dtype and weighted_rows.scatter(by, code.values, x).dtype == dtype
    close(found, code.to_dense().double() @ w.double(), dtype)
    close(weighted_rows.scatter(by, code.values, x), code.to_dense().double().T @ x.double(), dtype)
    close(weighted_rows.dots(code, x, w), weighted_rows.reference_dots(code, x.double(), w.double()), dtype)


@quick
@given(shapes.filter(lambda shape: shape[0] > 0), st.sampled_from([(), ("w_enc",), ("w_dec",)]))
def test_the_squared_error_and_its_gradients_equal_the_reference(shape, frozen):
    n, n_features, d, seed = shape
    x, y = numbers(seed, n, d), numbers(seed + 1, n, d + 1).requires_grad_()
    weights = {
        "w_enc": numbers(seed + 2, n_features, d), "b_enc": numbers(seed + 3, n_features),
        "w_dec": numbers(seed + 4, n_features, d + 1), "b_dec": numbers(seed + 5, d + 1),
    }  # fmt: skip
    code = random_code(n, n_features, seed)
    by = transpose.transpose(code)
    trained = [y, *(w.requires_grad_() for name, w in weights.items() if name not in frozen)]
    error, left = reconstruct.squared_error(x, y, tuple(weights.values()), code, by)
    mine = torch.autograd.grad(3 * error, trained)
    values = code.values + (sparse.active(x, weights["w_enc"], weights["b_enc"], code, by) - code.values)
    dense = torch.zeros(n, n_features, device=DEVICE).index_put((code.rows(), code.indices), values)
    rest = y - dense @ weights["w_dec"] - weights["b_dec"]
    wanted = torch.autograd.grad(3 * rest.square().mean(), trained)
    close(left, rest)
    close(error, rest.square().mean())
    for a, b in zip(mine, wanted, strict=True):
        close(a, b)


@quick
@given(shapes.filter(lambda shape: shape[0] > 0), st.integers(1, 4))
def test_the_error_in_stages_and_its_gradients_equal_the_reference(shape, n_stages):
    n, n_features, d, seed = shape
    code = random_code(n, n_features, seed)
    stages = torch.randint(0, n_stages, (len(code.indices),), generator=torch.Generator().manual_seed(seed)).to(DEVICE)
    parts = [numbers(seed, n, d), code.values.clone(), numbers(seed + 1, n_features, d), numbers(seed + 2, d)]
    y, values, weight, bias = parts = [part.requires_grad_() for part in parts]
    by = transpose.transpose(code)
    total, left = nested.squared(*parts, code, by, stages, n_stages)
    wanted, wanted_left = nested.reference(y - bias, values, weight, code, stages, n_stages)
    close(total, wanted)
    close(left, wanted_left)
    for a, b in zip(torch.autograd.grad(total, parts), torch.autograd.grad(wanted, parts), strict=True):
        close(a, b)


@pytest.mark.parametrize("epsilon", [1e-8, 0.1])
@pytest.mark.parametrize("unit_rows", [False, True])
@pytest.mark.parametrize("shape", [(3, 33), (1, 2500)])
def test_adam_equals_its_reference(shape, unit_rows, epsilon):
    start = torch.nn.functional.normalize(numbers(0, *shape))
    mine, wanted = ([start.clone(), torch.zeros_like(start), torch.zeros_like(start)] for _ in range(2))
    for step in range(1, 4):
        gradient = numbers(step, *shape)
        scale = torch.tensor(0.5, device=DEVICE) if step == 2 else 0.5
        how = {"step": step, "rate": 0.01, "epsilon": epsilon, "scale": scale, "unit_rows": unit_rows}
        adam.adam(mine[0], gradient, *mine[1:], **how)
        adam.reference(wanted[0], gradient, *wanted[1:], **how)
    for a, b in zip(mine, wanted, strict=True):
        close(a, b)


def whole(seed: int, *shape: int) -> torch.Tensor:
    """Small whole numbers, so that bf16 holds them, every product is exact, and there are many ties."""
    return torch.randint(-2, 3, shape, generator=torch.Generator().manual_seed(seed)).float().to(DEVICE)


def best(scores: torch.Tensor, k: int) -> torch.Tensor:
    """Each row's k largest positive scores, ties to the lower index, by a stable sort."""
    values, indices = scores.sort(dim=1, descending=True, stable=True)
    return torch.zeros_like(scores).scatter(1, indices[:, :k], values[:, :k].relu())


selections = st.tuples(st.integers(0, 9), st.sampled_from([1, 7, 130, 300]), st.integers(1, 70), st.integers(0, 2**31))


@few
@given(selections, dtypes, st.data())
def test_the_selected_are_exactly_the_k_largest(shape, dtype, data):
    n, n_features, d, seed = shape
    k = data.draw(st.one_of(st.integers(1, min(8, n_features)), st.just(n_features)))
    x, weight, bias = whole(seed, n, d), whole(seed + 1, n_features, d), whole(seed + 2, n_features)
    bias -= 1000 * (seed % 3 == 0)  # now and then no score is positive
    code = select.topk(x, weight, bias, k, dtype)
    wanted = best(x @ weight.T + bias, k)
    assert torch.equal(code.to_dense(), wanted)
    assert torch.equal(code.counts(), (wanted > 0).sum(1))
    assert code.values.dtype == torch.float32


@few
@given(selections, dtypes, st.sampled_from([0.0, 3.0, 1e9]))
def test_those_above_a_floor_are_exactly_those(shape, dtype, floor):
    n, n_features, d, seed = shape
    x, weight, bias = whole(seed, n, d), whole(seed + 1, n_features, d), whole(seed + 2, n_features)
    counts, columns, values = select.above(x, weight, bias, floor, 2, dtype)
    scores = x @ weight.T + bias
    wanted = Code.from_dense(torch.where(scores > floor, scores, 0))
    assert torch.equal(counts, wanted.counts())
    assert torch.equal(columns.long(), wanted.indices.long())  # by column within a row: the same every time
    assert torch.equal(values, wanted.values)


def test_a_sample_that_misleads_and_rows_that_overflow_do_not_change_the_selection(monkeypatch):
    x, weight, bias = whole(0, 5, 3), whole(1, 400, 3), whole(2, 400) + 20
    wanted = best(x @ weight.T + bias, 2)
    asked = []
    monkeypatch.setattr(kernels, "_floors", lambda x, *_: asked.append(1) or torch.full((len(x),), 1e6, device=DEVICE))
    assert torch.equal(
        select.topk(x, weight, bias, 2, torch.bfloat16).to_dense(), wanted
    )  # 32 places for 400 candidates
    monkeypatch.setattr(kernels, "MOST", 64)  # more than a program can hold: blocks of scores, by torch
    assert torch.equal(
        select.topk(x, weight, bias, 2, torch.float32).values.sort().values, wanted[wanted > 0].sort().values
    )
    assert len(asked) == 2


def test_scores_are_rounded_as_operands_and_summed_in_fp32():
    x, weight, bias = numbers(0, 4, 200), numbers(1, 140, 200), numbers(2, 140)
    found = select.topk(x, weight, bias, 140, torch.bfloat16).to_dense()
    close(found, (x.bfloat16().double() @ weight.bfloat16().double().T + bias).relu())


def test_nothing_outside_the_kernels_imports_triton_at_its_top():
    root = Path(monoscope.__file__).parent
    for path in root.rglob("*.py"):
        if "triton_kernels" not in path.parts:
            assert not re.search(r"^(import|from)\b.*triton", path.read_text(), re.MULTILINE), path


@pytest.mark.parametrize("sizes", [[], pytest.param(["--tiny"], marks=pytest.mark.slow)])
def test_kernels_compile_for_devices_that_are_not_here(sizes, tmp_path):
    """To machine code for A100 and H100: the interpreter accepts what the compiler does not."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment |= {"TRITON_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(monoscope.__file__).parents[1])}
    script = Path(__file__).with_name("compile_kernels.py")
    done = subprocess.run([sys.executable, script, *sizes], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    made = json.loads(done.stdout)
    assert {(kernel["name"], kernel["capability"]) for kernel in made} == {
        (name, capability)
        for capability in (80, 90)
        for name in (
            "_adam", "_dots_of_rows", "_kth_of_rows", "_order", "_pack", "_residual", "_score_and_append", "_stages",
            "_sums_of_rows",
        )
    }  # fmt: skip
    assert max(kernel["shared"] for kernel in made) <= 99 << 10  # what consumer cards of these generations have too


@pytest.mark.gpu
def test_the_precision_on_a_device_is_that_of_its_matrix_units():
    wanted = torch.bfloat16 if torch.cuda.get_device_capability()[0] >= 8 else torch.float32
    assert product.fastest("cuda") is wanted
