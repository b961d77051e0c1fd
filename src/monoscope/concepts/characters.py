"""Character classes: what a token is made of, the white space around it aside."""

from __future__ import annotations

from monoscope.concepts._concept import Concept, matching, spelled

FAMILY = "characters"

_PATTERNS: dict[str, tuple[str, bytes]] = {
    "starts_with_space": ("starting with a space", rb" [\s\S]*"),
    "letters": ("letters alone", rb"\s*[A-Za-z]+\s*"),
    "letters_after_space": ("a word after a space", rb" [A-Za-z]+"),
    "letters_without_space": ("letters without a space before", rb"[A-Za-z]+"),
    "one_letter": ("a single letter", rb"\s*[A-Za-z]\s*"),
    "two_letters": ("two letters", rb"\s*[A-Za-z]{2}\s*"),
    "three_letters": ("three letters", rb"\s*[A-Za-z]{3}\s*"),
    "long_letters": ("seven letters or more", rb"\s*[A-Za-z]{7,}\s*"),
    "one_capital": ("a single capital letter", rb"\s*[A-Z]\s*"),
    "two_capitals": ("two capital letters", rb"\s*[A-Z]{2}\s*"),
    "digits": ("digits alone", rb"\s*[0-9]+\s*"),
    "one_digit": ("a single digit", rb"\s*[0-9]\s*"),
    "has_digit": ("holding a digit", rb"[\s\S]*[0-9][\s\S]*"),
    "letters_and_digits": ("letters and digits mixed", rb"\s*(?=[A-Za-z]*[0-9])(?=[0-9]*[A-Za-z])[A-Za-z0-9]+\s*"),
    "hex_letters": ("letters from a to f alone", rb"\s*(?:[a-f]+|[A-F]+)\s*"),
    "dna_letters": ("letters A, C, G and T alone", rb"\s*[ACGT]+\s*"),
    "vowelless": ("consonants alone, two or more", rb"\s*[b-df-hj-np-tv-xzB-DF-HJ-NP-TV-XZ]{2,}\s*"),
    "has_underscore": ("holding an underscore", rb"[\s\S]*_[\s\S]*"),
    "underscores": ("underscores alone", rb"\s*_+\s*"),
    "punctuation": ("punctuation alone", rb"\s*[!-/:-@\[-`{-~]+\s*"),
    "several_marks": ("two or more punctuation marks", rb"\s*[!-/:-@\[-`{-~]{2,}\s*"),
    "repeated_mark": ("one mark repeated", rb"\s*([!-/:-@\[-`{-~])\1+\s*"),
    "has_opening_bracket": ("holding an opening bracket", rb"[\s\S]*[(\[{][\s\S]*"),
    "has_closing_bracket": ("holding a closing bracket", rb"[\s\S]*[)\]}][\s\S]*"),
    "empty_brackets": ("brackets opened and closed at once", rb"[\s\S]*(?:\(\)|\[\]|\{\})[\s\S]*"),
    "ends_with_opening_bracket": ("ending with an opening bracket", rb"[\s\S]*[(\[{]"),
    "has_quote": ("holding a quotation mark", rb"[\s\S]*['\"][\s\S]*"),
    "has_triple_quote": ("holding a triple quotation mark", rb"[\s\S]*(?:'''|\"\"\")[\s\S]*"),
    "has_double_quote": ("holding a double quotation mark", rb"[\s\S]*\"[\s\S]*"),
    "has_apostrophe": ("holding an apostrophe", rb"[\s\S]*'[\s\S]*"),
    "has_backtick": ("holding a backtick", rb"[\s\S]*`[\s\S]*"),
    "has_backslash": ("holding a backslash", rb"[\s\S]*\\[\s\S]*"),
    "has_slash": ("holding a slash", rb"[\s\S]*/[\s\S]*"),
    "has_hash": ("holding a hash sign", rb"[\s\S]*#[\s\S]*"),
    "has_dot": ("holding a dot", rb"[\s\S]*\.[\s\S]*"),
    "has_comma": ("holding a comma", rb"[\s\S]*,[\s\S]*"),
    "has_colon": ("holding a colon", rb"[\s\S]*:[\s\S]*"),
    "has_semicolon": ("holding a semicolon", rb"[\s\S]*;[\s\S]*"),
    "has_equals": ("holding an equals sign", rb"[\s\S]*=[\s\S]*"),
    "has_hyphen": ("holding a hyphen", rb"[\s\S]*-[\s\S]*"),
    "has_angle": ("holding an angle bracket", rb"[\s\S]*[<>][\s\S]*"),
    "has_currency_or_percent": ("holding %, $, & or @", rb"[\s\S]*[%$&@][\s\S]*"),
    "ends_sentence": ("ending a sentence", rb"[\s\S]*[.!?]\s*"),
    "not_ascii": ("beyond ASCII", rb"[\s\S]*[\x80-\xff][\s\S]*"),
    "four_bytes": ("exactly four bytes long", rb"[\s\S]{4}"),
    "one_byte": ("exactly one byte long", rb"[\s\S]"),
    "nine_bytes": ("nine bytes or longer", rb"[\s\S]{9,}"),
}


def concepts() -> list[Concept]:
    """The family's concepts."""
    return [spelled(FAMILY, name, words, matching(pattern)) for name, (words, pattern) in _PATTERNS.items()]
