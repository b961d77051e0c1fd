"""Executable predicates over tokens: what a token is, and where it stands in its text and in its syntax tree.

A *concept* says of every token of a document whether it holds. One family is one file of this folder, with
``concepts() -> list[Concept]``; a further file is a further family, and everything that lists concepts finds it.
Files that begin with ``_`` hold what the families share; what the rest of the house uses is named here.
"""

from monoscope.concepts._analysed import Analysed, Lexicon
from monoscope.concepts._bits import ConceptBits, compile_bits
from monoscope.concepts._concept import Concept, every
from monoscope.concepts._expression import Expression, concept, token_literal
from monoscope.concepts._places import PLACES, Place

__all__ = [
    "PLACES",
    "Analysed",
    "Concept",
    "ConceptBits",
    "Expression",
    "Lexicon",
    "Place",
    "compile_bits",
    "concept",
    "every",
    "token_literal",
]
