"""Dead features: silence is counted in tokens, AuxK moves and revives what is silent."""

from __future__ import annotations

import torch
from planted import data_of, planted

from monoscope.dictionary.base import architecture
from monoscope.train import dead
from monoscope.train.fit import Recipe
from monoscope.train.loop import train


def test_auxk_moves_encoder_and_decoder_of_dead_features_also_below_zero():
    dictionary = architecture("topk")(8, 20, k=2)
    generator = torch.Generator().manual_seed(0)
    for p in dictionary.parameters():
        p.data = torch.randn(p.shape, generator=generator)
    dictionary.b_enc.data -= 100  # every score is far below zero
    x = torch.randn(30, 8, generator=generator)
    marked = torch.zeros(20, dtype=torch.bool)
    marked[[3, 7]] = True
    loss = dead.auxk(dictionary, x, torch.randn(30, 8, generator=generator), marked)
    loss.backward()
    for parameter in (dictionary.w_enc, dictionary.b_enc, dictionary.w_dec):
        moved = parameter.grad.reshape(20, -1).abs().sum(1) > 0
        assert torch.equal(moved, marked)


def test_auxk_revives_dead_features():
    """Features buried by a large negative bias come back with AuxK and stay dead without."""
    alive = {}
    for weight in (0.0, 1 / 8):
        data = data_of(180_000)
        trainee = Recipe.of("topk", 64, k=4, auxk=weight, dead_after=1000, rate=3e-2).trainee(data)
        trainee.dictionary.b_enc.data[:32] = -6
        made = train(data, {"main": trainee})["main"]
        alive[weight] = len(made.encode(planted(4000, 1)[0]).indices.unique())
    assert alive[1 / 8] > alive[0.0] + 10


def test_silence_counts_tokens_since_a_feature_fired():
    data = data_of(2000)
    dictionary = Recipe.of("topk", 16, k=4).trainee(data).dictionary
    silence = dead.Silence(16)
    x = data.sample[0][:100] - data.sample[0].mean(0)
    code = dictionary.encode(x)
    silence.hear(len(code), torch.bincount(code.indices, minlength=code.n_features) > 0)
    fired = torch.zeros(16, dtype=torch.bool)
    fired[code.indices.long()] = True
    assert torch.equal(silence.tokens == 0, fired)
    assert torch.equal(silence.dead(100), ~fired)
