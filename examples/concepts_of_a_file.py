"""Concepts are programs: which tokens of this very file are inside a docstring, an import, a number?"""

from __future__ import annotations

from pathlib import Path

import monoscope as ms
from monoscope.concepts import every


def main() -> None:
    """Print the concepts that hold most often, and the tokens on which one of them does."""
    tokeniser = ms.load_model("reference-a").tokeniser
    document = tokeniser.text(Path(__file__).read_text(encoding="utf-8"), name="this file")
    counts = sorted(((int(c.mask(document).sum()), c.words) for c in every()), reverse=True)
    print(f"{len(every())} concepts, {len(document)} tokens")
    for count, words in counts[:10]:
        print(f"{count:5d}  {words}")

    mask = ms.concept("in_docstring").mask(document)
    inside = b"".join(token for token, holds in zip(document.token_bytes(), mask) if holds)
    print(inside.decode())


if __name__ == "__main__":
    main()
