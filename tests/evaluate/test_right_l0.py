"""The verdict on L0: dictionaries trained in a world whose L0 is known, and the rule by itself."""

from __future__ import annotations

import pytest
import torch

import monoscope as ms
from monoscope.evaluate.batches import Reconstructed
from monoscope.evaluate.intervals import Estimate
from monoscope.evaluate.measure import Facts, SumsByDocument
from monoscope.evaluate.measures import decoder_geometry, l0, mixing
from monoscope.evaluate.right_l0 import CRITERIA, least, verdict, verdicts
from monoscope.types import Code

N_FEATURES, WIDTH, HELD = 24, 48, 6000


@pytest.fixture(scope="module")
def world() -> tuple[torch.Tensor, float]:
    """Orthogonal features that fire together in groups, 6.6 of them at a time."""
    g = torch.Generator().manual_seed(0)
    features = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=g))[0][:N_FEATURES]
    common = torch.nn.functional.normalize(torch.randn(N_FEATURES, 5, generator=g), dim=1)
    covariance = 0.6 * common @ common.T + 0.4 * torch.eye(N_FEATURES)
    drawn = torch.randn(100_000, N_FEATURES, generator=g) @ torch.linalg.cholesky(covariance).T
    on = drawn < torch.special.ndtri(torch.linspace(0.45, 0.1, N_FEATURES))
    strength = (1 + 0.15 * torch.randn(on.shape, generator=g)).clamp(min=0)
    return (strength * on) @ features, float(on.sum(1).float().mean())


@pytest.fixture(scope="module")
def judged(world) -> dict:
    found = {}
    for k in (3, 7, 12):
        d = ms.fit(world[0], N_FEATURES, "batch_topk", k=k, batch_size=256, rate=5e-3, show_progress=False)
        x = world[0][:HELD]
        code = d.encode(x)
        rows = torch.arange(HELD)
        batch = Reconstructed(x, d.decode(code), code, rows // 100, rows)
        facts = Facts(HELD // 100, N_FEATURES, 0, SumsByDocument(HELD // 100), HELD, d.directions, d.rest)
        found[k] = {}
        for measure in (l0, mixing, decoder_geometry):
            tally = measure.start(facts)
            tally.add(batch)
            found[k] |= tally.estimates()
    return found


def test_a_sweep_around_the_truth_gives_each_its_verdict(world, judged):
    assert 6 < world[1] < 7
    says = {k: v.says for k, v in verdicts(judged, comparable=judged).items()}
    assert says == {3: "too low", 7: "about right", 12: "too high"}
    for criterion in CRITERIA:
        assert least(judged, criterion) == judged[7]["l0"].value


def test_too_low_shows_in_one_dictionary_alone(judged):
    alone = {k: verdicts({k: m}, comparable=[k])[k] for k, m in judged.items()}
    assert alone[3].says == "too low" and "next feature" in alone[3].because[0]
    assert alone[7].says == alone[12].says == "not known"
    assert "compare three" in alone[7].because[-1]


def test_an_end_of_a_sweep_is_no_minimum(judged):
    two = {k: judged[k] for k in (7, 12)}
    assert least(two, CRITERIA[0]) is None
    rising = {i: {**judged[7], "l0": Estimate(float(i)), CRITERIA[0]: Estimate(float(i))} for i in (1, 2, 3, 4)}
    assert least(rising, CRITERIA[0]) is None
    assert verdicts(judged, comparable=())[12].says == "not known"


def test_a_fine_sweep_is_more_than_one_point(judged):
    """Each L0 is 8 % above the one before it, and the last is thrice the first."""
    fine = {i: {**judged[7], "l0": Estimate(10 * 1.08**i), CRITERIA[0]: Estimate(abs(i - 8) / 10)} for i in range(16)}
    assert least(fine, CRITERIA[0]) == pytest.approx(10 * 1.08**8)
    near = {i: fine[i] for i in (0, 1)} | {8: fine[8], 15: fine[15]}
    assert least({i: near[i] for i in (0, 1, 8)}, CRITERIA[0]) is None  # the first two are one


def test_evidence_that_disagrees_is_no_verdict(judged):
    """The same numbers say the same every time: nothing depends on an order of words."""
    said = verdict(judged[7], {CRITERIA[0]: 100.0, CRITERIA[1]: 1.0})
    assert said.says == "not known" and said.because[-1] == "these disagree"
    assert verdict(judged[7], {CRITERIA[0]: 100.0}).says == "too low"


def test_mixing_equals_brute_force():
    g = torch.Generator().manual_seed(3)
    directions, x = torch.randn(7, 5, generator=g), torch.randn(40, 5, generator=g)
    dense = torch.relu(torch.randn(40, 7, generator=g))
    code, x_hat = Code.from_dense(dense), 0.3 * torch.randn(40, 5, generator=g)
    tally = mixing.start(Facts(4, 7, 0, SumsByDocument(4), 40, directions, torch.ones_like))
    tally.add(Reconstructed(x, x_hat, code, torch.arange(40) // 10, torch.arange(40)))
    found = tally.estimates()
    unit = directions / directions.norm(dim=1, keepdim=True)
    best, seen = 0.0, 0.0
    for i in range(40):
        off = (dense[i] == 0).nonzero()[:, 0].tolist()
        best += max([float((x[i] - x_hat[i]) @ unit[f]) for f in off] + [0.0]) ** 2
        centred = x[i] - 1
        seen += sum(float(centred @ unit[f]) ** 2 for f in off) / max(1, len(off)) / float(centred @ centred)
    assert found["missed_feature"].value == pytest.approx(best / float((x - x_hat).square().sum()), rel=1e-5)
    assert found["inactive_projection"].value == pytest.approx((seen / 40) ** 0.5, rel=1e-5)


def test_random_directions_are_worth_nothing_beyond_random_ones():
    g = torch.Generator().manual_seed(4)
    directions, x = torch.randn(60, 30, generator=g), torch.randn(3000, 30, generator=g)
    code = Code.from_dense(torch.zeros(3000, 60))
    tally = mixing.start(Facts(30, 60, 0, SumsByDocument(30), 3000, directions))
    tally.add(Reconstructed(x, torch.zeros_like(x), code, torch.arange(3000) // 100, torch.arange(3000)))
    assert tally.estimates()["missed_over_random"].value == pytest.approx(1, abs=0.1)
    assert tally.estimates()["inactive_projection"].value == pytest.approx(30**-0.5, rel=0.02)
