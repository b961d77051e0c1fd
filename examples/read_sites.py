"""Read the packaged model at several sites, and write into it: what does it cost to silence its neurons?"""

from __future__ import annotations

import tempfile

import torch

import monoscope as ms
from monoscope.text import pack, store
from monoscope.types import Document, TokenBlock

TEXT = '''
def read_lines(path):
    """Return the lines of a file."""
    with open(path, encoding="utf-8") as file:
        return [line.rstrip() for line in file]
'''


def loss(logits: torch.Tensor, block: TokenBlock) -> float:
    """Mean loss of the next token, in nats."""
    counted = block.is_text[:, 1:]
    return float(torch.nn.functional.cross_entropy(logits[:, :-1][counted], block.tokens[:, 1:][counted]))


def main() -> None:
    """One text, one block, three passes."""
    lm = ms.load_model("reference-a")
    print("sites:", ", ".join(map(str, lm.sites())))
    with tempfile.TemporaryDirectory() as folder:
        text = store.build([("test", Document("example", TEXT))], lm.tokeniser, folder)
        block = next(pack.blocks(text, text.documents(), lm.tokeniser, lm.context))

    with torch.no_grad():
        found = lm.run(block, read=["mlp_act.0", "logits"])
        silenced = lm.run(block, read=["logits"], write={"mlp_act.0": torch.zeros_like})
    neurons = found["mlp_act.0"][block.is_text]
    print(f"{len(neurons)} tokens × {neurons.shape[1]} neurons, {(neurons > 0).float().mean():.0%} of them active")
    print(
        f"loss {loss(found['logits'], block):.2f} nats; with the neurons silenced {loss(silenced['logits'], block):.2f}"
    )


if __name__ == "__main__":
    main()
