"""Learn a dictionary of a synthetic array whose true features are known, and see how many of them it found."""

from __future__ import annotations

import tempfile

import torch

import monoscope as ms


def main() -> None:
    """Rows are sums of 3 of 64 random directions in 32 dimensions."""
    torch.manual_seed(0)
    truth = torch.nn.functional.normalize(torch.randn(64, 32), dim=1)
    strength = torch.zeros(60_000, 64)
    active = torch.rand_like(strength).topk(3, dim=1).indices
    strength.scatter_(1, active, torch.rand(60_000, 3) + 0.5)
    x = strength @ truth

    d = ms.fit(x, n_features=96, architecture="batch_topk", k=3, n_tokens=120_000, batch_size=512)
    code = d.encode(x[:1000])
    left = x[:1000] - d.decode(code)
    fvu = left.square().sum() / (x[:1000] - x[:1000].mean(0)).square().sum()
    cosine = (torch.nn.functional.normalize(d.directions, dim=1) @ truth.T).amax(0)
    print(f"{len(code.indices) / len(code):.1f} active features a row, {fvu:.1%} of the variance unexplained")
    print(f"{int((cosine > 0.9).sum())} of 64 true directions found (cosine above 0.9)")

    with tempfile.TemporaryDirectory() as folder:
        d.save(folder)
        same = torch.equal(ms.load(folder)(x[:10]), d(x[:10]))
        print(f"saved and loaded: {'the same' if same else 'not the same'}")


if __name__ == "__main__":
    main()
