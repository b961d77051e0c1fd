"""All concepts over all rows as one matrix of bits: what a search over labels reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numba
import numpy as np
from jaxtyping import Bool, Int, UInt64

from monoscope.concepts._analysed import Analysed, Lexicon
from monoscope.concepts._concept import Concept, every
from monoscope.concepts._places import PLACES, place_spellings
from monoscope.text.rows import Rows


@dataclass(frozen=True)
class ConceptBits:
    """``words[row, c // 64]`` has bit ``c % 64`` set where concept ``c`` holds on that row.

    ``places[row, p]`` is the number, among ``lexicon`` (bytes), of the token that stands at place ``p`` of the row's
    token, -1 where none does; place 0 is the token itself. ``slots[row]`` is the row's document among the documents of
    the rows; ``counts[c]`` on how many rows concept ``c`` holds.
    """

    concepts: tuple[Concept, ...]
    words: UInt64[np.ndarray, "n_rows n_words"]
    counts: Int[np.ndarray, " n_concepts"]
    places: Int[np.ndarray, "n_rows n_places"]
    slots: Int[np.ndarray, " n_rows"]
    lexicon: tuple[bytes, ...]

    def __len__(self) -> int:
        return len(self.words)

    @property
    def spellings(self) -> Int[np.ndarray, " n_rows"]:
        """The number of each row's own token."""
        return self.places[:, 0]

    def mask(self, concept: int) -> Bool[np.ndarray, " n_rows"]:
        """One concept over all rows."""
        return (self.words[:, concept // 64] >> np.uint64(concept % 64)) & np.uint64(1) != 0


def compile_bits(
    rows: Rows, concepts: Sequence[Concept] | None = None, progress: Callable[[int], None] = lambda tokens: None
) -> ConceptBits:
    """Ask every concept (all there are, when none is named) of every row.

    ``progress`` is told the number of tokens of each document. Memory: 8 bytes per row and 64 concepts, and 4 per
    row and place.
    """
    chosen = every() if concepts is None else tuple(concepts)
    words = np.zeros((len(rows), max(1, -(-len(chosen) // 64))), dtype=np.uint64)
    counts = np.zeros(len(chosen), dtype=np.int64)
    places = np.zeros((len(rows), len(PLACES)), dtype=np.int32)
    bits = [np.uint64(1 << i) for i in range(64)]
    lexicon = Lexicon()
    for slot, index in enumerate(rows.documents.tolist()):
        document = Analysed(rows.store.document(index), lexicon)
        part = slice(rows.offsets[slot], rows.offsets[slot + 1])
        places[part] = place_spellings(document)
        here = words[part]
        for c, concept in enumerate(chosen):
            mask = concept.find(document)
            if mask.any():
                counts[c] += _set_bit(here, mask, c // 64, bits[c % 64])
        progress(len(document))
    return ConceptBits(chosen, words, counts, places, rows.slots().astype(np.int32), tuple(lexicon.spellings))


@numba.njit(cache=True, nogil=True)
def _set_bit(words: np.ndarray, mask: np.ndarray, word: int, bit: np.uint64) -> int:
    count = 0
    for i in range(len(mask)):
        if mask[i]:
            words[i, word] |= bit
            count += 1
    return count
