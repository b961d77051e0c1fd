"""The texts of the detection study: strings of known kinds, put into source and prose, or found there."""

from __future__ import annotations

import base64
import random
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib import metadata

from monoscope.studies.detection.examples import Example
from monoscope.types import Document

SHORT, LONG = 8, 32  # lines of a snippet
HOME = 2 / 3  # of the packages
PLAIN = "words"
LETTERS, DIGITS = "abcdefghijklmnopqrstuvwxyz", "0123456789"
SOME = "data value result user index path config token client buffer field entry model cache".split()


def letters(rng: random.Random, low: int, high: int, among: str = LETTERS) -> str:
    """So many characters, drawn at random."""
    return "".join(rng.choices(among, k=rng.randint(low, high)))


def email(rng: random.Random) -> str:
    """An address."""
    who, where = f"{letters(rng, 3, 8)}{rng.choice(('.', '_', ''))}{letters(rng, 2, 8)}", letters(rng, 3, 9)
    return f"{who}@{where}.{rng.choice(('com', 'org', 'de', 'io'))}"


def url(rng: random.Random) -> str:
    """An address of a page."""
    path = "/".join(letters(rng, 3, 8) for _ in range(rng.randint(1, 3)))
    host = f"{rng.choice(('', 'www.'))}{letters(rng, 4, 9)}.{rng.choice(('com', 'org', 'net'))}"
    return f"http{rng.choice(('', 's'))}://{host}/{path}"


def secret(rng: random.Random) -> str:
    """A key in the form in which services give them out; made up."""
    mixed = LETTERS + LETTERS.upper() + DIGITS
    forms = (
        lambda: "ghp_" + letters(rng, 36, 36, mixed),
        lambda: "AKIA" + letters(rng, 16, 16, LETTERS.upper() + DIGITS),
        lambda: "sk-" + letters(rng, 40, 40, mixed),
        lambda: "-".join(("xoxb", letters(rng, 11, 11, DIGITS), letters(rng, 24, 24, mixed))),
    )
    return rng.choice(forms)()


KINDS: dict[str, Callable[[random.Random], str]] = {
    "email": email,
    "url": url,
    "hex": lambda rng: rng.randbytes(rng.choice((16, 20, 32))).hex(),
    "base64": lambda rng: base64.b64encode(rng.randbytes(rng.randint(24, 72))).decode(),
    "secret": secret,
    "dna": lambda rng: letters(rng, 40, 120, "ACGT"),
}
WORDS = {PLAIN: lambda rng: " ".join(rng.choices(SOME, k=rng.randint(2, 8)))}
REAL = {
    "email": re.compile(r"\b[\w.+-]+@[\w-]+\.(?:com|org|net|edu|de|io|fr|uk)\b"),
    "url": re.compile(r"\bhttps?://[\w.-]+"),
    "hex": re.compile(r"\b(?=[0-9a-f]*[a-f])(?=[0-9a-f]*[0-9])[0-9a-f]{24,}\b"),
    "base64": re.compile(
        r"(?<![\w+/=-])(?=[\w+/]*[a-z])(?=[\w+/]*[A-Z])(?=[\w+/]*[0-9][\w+/]*[0-9])[A-Za-z0-9+/]{40,}={0,2}(?![\w+/=])"
    ),
    "secret": re.compile(r"\b(?:ghp_\w{36}|AKIA[0-9A-Z]{16}|sk-\w{40}|xoxb-\w+)\b"),
    "dna": re.compile(r"\b[ACGT]{20,}\b"),
}  # fmt: skip
CERTAIN = ("email", "url", "hex")  # the others' patterns find names and paths too: they only keep strings out


def found_in(text: str) -> list[str]:
    """The kinds of string that really stand in a text."""
    return [kind for kind, pattern in REAL.items() if pattern.search(text)]


def package(document: Document) -> str:
    """Whose file it is."""
    return document.name.split("/")[0]


def at_home(document: Document) -> bool:
    """Whether detectors are fitted on its package."""
    return zlib.crc32(f"home:{package(document)}".encode()) / 2**32 < HOME


def snippet(document: Document, lines: int, rng: random.Random) -> list[str] | None:
    """Some lines in a row, at least half of them not empty."""
    rows = document.text.split("\n")
    if len(rows) < lines + 2:
        return None
    first = rng.randrange(len(rows) - lines)
    held = [row[:120] for row in rows[first : first + lines]]
    return held if sum(bool(row.strip()) for row in held) * 2 >= lines else None


def told(rng: random.Random) -> tuple[str, str]:
    """A kind, plain words four times in ten, and a string of it."""
    kind = PLAIN if rng.random() < 0.4 else rng.choice(list(KINDS))
    return kind, (KINDS | WORDS)[kind](rng)


def inserted(documents: Sequence[Document], lines: int, seed: str) -> Iterator[tuple[str, Example]]:
    """A snippet of each document with a string in its first lines; those that hold a string of a kind are left out."""
    for document in documents:
        rng = random.Random(f"{seed}:{document.name}")
        rows = snippet(document, lines, rng)
        if rows is None or found_in("\n".join(rows)):
            continue
        kind, said = told(rng)
        place = rng.randrange(1, SHORT)
        indent = re.match(r"\s*", rows[place])[0]  # type: ignore[index]
        line = rng.choice((f'{indent}{rng.choice(SOME)} = "{said}"', f"{indent}# {said}", f'{indent}"{said}",'))
        rows.insert(place, line)
        yield kind, _example(rows, place, said, document)


def _example(rows: list[str], place: int, said: str, document: Document) -> Example:
    text = "\n".join(rows)
    first = text.index(said, sum(len(row) + 1 for row in rows[:place]))
    return Example(text, True, ((first, first + len(said)),), document.name)


def real(documents: Sequence[Document], seed: str) -> Iterator[tuple[str, Example]]:
    """Snippets of source as it is: one around a string of each kind that a file holds, and one that holds none."""
    for document in documents:
        rng = random.Random(f"{seed}:{document.name}")
        rows = document.text.split("\n")
        for kind, pattern in REAL.items():
            places = [i for i, row in enumerate(rows) if pattern.search(row[:120])]
            if places:
                first = max(0, rng.choice(places) - rng.randrange(SHORT))
                held = "\n".join(row[:120] for row in rows[first : first + SHORT])
                yield kind, Example(held, True, document=document.name)
        plain = snippet(document, SHORT, rng)
        if plain and not found_in("\n".join(plain)):
            yield PLAIN, Example("\n".join(plain), False, document=document.name)


def prose(seed: str) -> Iterator[tuple[str, Example]]:
    """Paragraphs of what installed packages say of themselves, with a string between two words."""
    for one in sorted(metadata.distributions(), key=lambda d: str(d.metadata["Name"])):
        text = str(one.metadata.get("Description") or one.metadata.get_payload() or "")
        able = [p for p in re.split(r"\n\s*\n", text) if len(p) > 200 and re.match(r"[A-Z][a-z]+ ", p)]
        for i, paragraph in enumerate(p[:500] for p in able if not found_in(p)):
            rng = random.Random(f"{seed}:{one.metadata['Name']}:{i}")
            kind, said = told(rng)
            parts = paragraph.split(" ")
            parts.insert(rng.randrange(2, len(parts)), said)
            yield kind, Example(" ".join(parts), True, document=f"{one.metadata['Name']}/{i}")


def one_kind(texts: Sequence[tuple[str, Example]], kind: str) -> list[Example]:
    """The same texts, of which those with strings of a kind are the positives."""
    return [replace(e, label=k == kind, spans=e.spans if k == kind else ()) for k, e in texts]
