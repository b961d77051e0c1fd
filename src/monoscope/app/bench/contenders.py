"""Who is measured: our architectures, and what other libraries have that does the same."""

from __future__ import annotations

from collections.abc import Iterable

from monoscope.dictionary import architectures
from monoscope.dictionary.base import architecture
from monoscope.errors import MonoscopeError, unknown_name

OURS = "monoscope"
SELECTING = ("topk", "batch_topk", "matching_pursuit")
PEERS = {
    "topk": ("saelens:topk", "dictionary_learning:topk", "sparsify:topk"),
    "batch_topk": ("saelens:batch_topk", "dictionary_learning:batch_topk"),
    "l1": ("saelens:standard", "dictionary_learning:standard_april"),
    "l1_2023": ("dictionary_learning:standard",),
    "gated": ("saelens:gated", "dictionary_learning:gated"),
    "jumprelu": ("saelens:jumprelu", "dictionary_learning:jumprelu"),
    "p_anneal": ("dictionary_learning:p_anneal",),
    "matching_pursuit": ("saelens:matching_pursuit",),
}


def chosen(text: str) -> list[str]:
    """The architectures that ``--architectures`` names: with commas between, or all.

    Raises:
        MonoscopeError: there is no such architecture.
    """
    names = architectures() if text == "all" else [name.strip() for name in text.split(",")]
    for name in names:
        if name not in architectures():
            raise unknown_name("architecture", name, [*architectures(), "all"])
    return names


def contenders(names: Iterable[str], *, peers: bool, only: str | None = None) -> list[str]:
    """``library:kind`` of ours and, with ``peers``, of those that are compared; ``only`` narrows them.

    ``only`` names contenders or libraries, with commas between.

    Raises:
        MonoscopeError: ``only`` leaves nothing, or names a peer where there are none.
    """
    every = [one for name in names for one in (f"{OURS}:{name}", *(PEERS.get(name, ()) if peers else ()))]
    every = list(dict.fromkeys(every))
    if only is None:
        return every
    wanted = [part.strip() for part in only.split(",")]
    libraries = sorted({one.partition(":")[0] for one in every})
    for part in wanted:
        if part not in (*every, *libraries):
            hint = "" if peers else "other libraries need --peers; "
            raise MonoscopeError(f"no contender {part!r}", fix=f"{hint}choose of {', '.join([*libraries, *every])}")
    return [one for one in every if one in wanted or one.partition(":")[0] in wanted]


def is_ours(contender: str) -> bool:
    """Whether it is Monoscope's."""
    return contender.startswith(f"{OURS}:")


def penalised(contender: str) -> bool:
    """Whether a penalty leads it to its L0, so that its codes are dense to begin with."""
    library, _, kind = contender.partition(":")
    selects = "k" in architecture(kind).settings if library == OURS else kind in SELECTING
    return not selects
