"""Base64, hexadecimal and DNA strings, generated: text whose class is known for certain.

*Towards Monosemanticity* studies features for base64, DNA and rare scripts, because a string's class can be told from
its alphabet. Real source holds such strings, but few; this corpus makes any number, in the settings where they occur
(MIME bodies, assignments, hash lists, hex dumps, FASTA records).
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable, Iterator
from itertools import count, islice

from monoscope.errors import MonoscopeError, unknown_name
from monoscope.types import Document

_WORDS = "the of and value data model index list file name error return size time user path key test node line".split()


def _payload(rng: random.Random) -> bytes:
    """What gets encoded: random bytes, or readable text (the paper's third base64 feature fires on encoded ASCII)."""
    size = rng.randrange(60, 1200)
    if rng.random() < 0.5:
        return rng.randbytes(size)
    return " ".join(rng.choice(_WORDS) for _ in range(size // 4)).encode()


def base64_text(rng: random.Random) -> str:
    """A base64 string in a setting."""
    code = base64.b64encode(_payload(rng)).decode()
    wrapped = "\n".join(code[i : i + 76] for i in range(0, len(code), 76))
    settings = [
        f"Content-Transfer-Encoding: base64\n\n{wrapped}\n",
        f'DATA = b"""\n{wrapped}\n"""\n',
        f'{rng.choice(_WORDS)} = "{code}"\n',
        f"-----BEGIN CERTIFICATE-----\n{wrapped}\n-----END CERTIFICATE-----\n",
    ]
    return rng.choice(settings)


def hex_text(rng: random.Random) -> str:
    """Hexadecimal digits in a setting."""
    digits = rng.randbytes(rng.randrange(64, 700)).hex()
    rows = [digits[i : i + 32] for i in range(0, len(digits), 32)]
    settings = [
        "\n".join(
            f"{i * 16:08x}: {' '.join(row[j : j + 4] for j in range(0, len(row), 4))}" for i, row in enumerate(rows)
        ),
        "\n".join(f"{digits[i : i + 64]}  {rng.choice(_WORDS)}.txt" for i in range(0, len(digits) - 63, 64)),
        f'{rng.choice(_WORDS)} = bytes.fromhex("{digits}")',
        "[" + ", ".join(f"0x{digits[i : i + 8]}" for i in range(0, len(digits) - 7, 8)) + "]",
    ]
    return rng.choice(settings) + "\n"


def dna_text(rng: random.Random) -> str:
    """A DNA sequence in a setting."""
    bases = "".join(rng.choices("ACGT", k=rng.randrange(120, 1500)))
    wrapped = "\n".join(bases[i : i + 60] for i in range(0, len(bases), 60))
    settings = [
        f">seq{rng.randrange(10_000)} chromosome {rng.randrange(1, 23)}\n{wrapped}\n",
        f'sequence = "{bases}"\n',
        f"{bases}\n",
    ]
    return rng.choice(settings)


KINDS: dict[str, Callable[[random.Random], str]] = {"base64": base64_text, "hex": hex_text, "dna": dna_text}


def stream(kind: str, seed: str, strings: int = 4) -> Iterator[Document]:
    """Endless documents of one kind with so many strings each.

    The same ``seed`` gives the same documents; another shares no string with them.

    Raises:
        MonoscopeError: no such kind.
    """
    if kind not in KINDS:
        raise unknown_name("kind of string", kind, KINDS)
    for i in count():
        rng = random.Random(f"{kind}:{seed}:{i}")
        yield Document(f"{kind}/{seed}/{i}", "\n".join(KINDS[kind](rng) for _ in range(strings)))


def documents(source: str = "") -> Iterator[Document]:
    """``KIND:NUMBER[:SEED]``, for example ``dna:500``: that many documents of one kind.

    Raises:
        MonoscopeError: the source does not have that form.
    """
    kind, _, rest = source.partition(":")
    number, _, seed = rest.partition(":")
    if not number.isdigit():
        raise MonoscopeError(
            f"{source!r} does not say which strings and how many", fix="write for example synthetic_strings:dna:500"
        )
    yield from islice(stream(kind, seed or "0"), int(number))
