"""Named worlds."""

from __future__ import annotations

from monoscope.errors import unknown_name
from monoscope.worlds.synthetic import Settings, build
from monoscope.worlds.world import World

PRESETS = {
    # Small enough for continuous integration. Per row, 4 of 512 features in 64 dimensions: others disturb a feature's
    # score as much (√4 / √64) as the 34 of 16,384 in 768 dimensions do below.
    "small": Settings(
        n_true=512,
        d=64,
        exponent=0.6,
        most=0.25,
        least=1e-3,
        n_trees=16,
        branching=3,
        depth=2,
        topics=8,
        tilt=0.5,
        magnitudes=(5.0, 4.0),
        spreads=(0.5, 0.5),
        follow=True,
        bias=1.0,
    ),
    # After SynthSAEBench-16k (arXiv 2602.14687): its sizes, Zipf law, trees, exclusive children, magnitudes. It
    # correlates features by a Gaussian copula of rank 25 and thins trees as it samples; here topics correlate, and
    # trees are thinned beforehand, so that each frequency is known exactly. The directions are not its own.
    "synth_sae_bench": Settings(
        n_true=16_384,
        d=768,
        exponent=0.5,
        most=0.4,
        least=5e-4,
        n_trees=128,
        branching=4,
        depth=3,
        topics=26,
        tilt=0.3,
        magnitudes=(5.0, 4.0),
        spreads=(0.5, 0.5),
        follow=True,
        bias=0.5,
    ),
}


def preset(name: str, seed: int = 0) -> World:
    """The world of that name.

    Raises:
        MonoscopeError: there is none.
    """
    if name not in PRESETS:
        raise unknown_name("world", name, PRESETS)
    return build(PRESETS[name], seed)
