"""Strings that show what they are by their alphabet or form: base64, hexadecimal, DNA, addresses, paths, markup."""

from __future__ import annotations

import re

from monoscope.concepts._analysed import Analysed
from monoscope.concepts._concept import Concept, Spans, painted

FAMILY = "patterns"

WORDS = {
    "in_base64": "inside base64",
    "in_hex_run": "inside a run of hexadecimal digits",
    "in_dna": "inside a DNA sequence",
    "in_url": "inside a web address",
    "in_url_scheme": "in the scheme of a web address",
    "in_email": "inside an e-mail address",
    "in_path": "inside a file path",
    "in_file_extension": "in a file extension",
    "in_date": "inside a date",
    "in_time": "inside a time of day",
    "in_uuid": "inside a UUID",
    "in_tag": "inside an XML or HTML tag",
    "in_rst_role": "inside a reStructuredText role",
    "in_rst_directive": "on the line of a reStructuredText directive",
    "in_double_backticks": "between double backticks",
    "in_backticks": "between single backticks",
    "in_latex_command": "in a LaTeX command",
    "in_doctest_prompt": "in a doctest prompt",
    "in_doctest": "in a doctest line",
    "in_underline": "in a rule of repeated marks",
    "in_markdown_heading": "in a Markdown or wiki heading",
    "in_bullet": "in the mark of a list item",
    "in_prose": "in running prose",
    "in_prose_sentence_start": "at the start of a sentence",
    "in_parenthesis_of_prose": "in a parenthesis in running prose",
    "in_quoted_word": "in a quoted word",
    "in_percent_format": "in a %-format placeholder",
    "in_brace_format": "in a {}-format placeholder",
    "in_escape": "in an escape sequence",
    "in_regex": "in a regular-expression class or group",
    "in_licence": "on a line about copyright or licence",
    "in_todo": "on a line marked TODO, FIXME or XXX",
    "in_noqa": "in a directive to a linter or type checker",
    "in_repeated_word": "in a word just repeated",
    "in_all_caps_phrase": "in a phrase of capitals",
}

_BASE64 = re.compile(rb"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{40,}+={0,2}(?:\r?\n[A-Za-z0-9+/]{4,}={0,2})*")
_HEX = re.compile(
    rb"(?<![0-9A-Za-z])(?:[0-9a-f]{32,}+|[0-9A-F]{32,}+"
    rb"|(?:0x)?[0-9a-f]{8}:?(?:[ ,]+(?:0x)?[0-9a-f]{4,8}){3,}+)(?![0-9A-Za-z])"
)
_DNA = re.compile(rb"(?<![A-Z])[ACGTN]{12,}+(?:\r?\n[ACGTN]{6,}+)*(?![A-Z])")

_FORMS: list[tuple[str, re.Pattern[bytes], int]] = [
    (name, re.compile(pattern, re.M), group)
    for name, pattern, group in (
        ("in_hex_run", _HEX.pattern, 0),
        ("in_dna", _DNA.pattern, 0),
        ("in_url", rb"(?:https?|ftp|file)://[^\s'\"<>`]+", 0),
        ("in_url_scheme", rb"(?:https?|ftp|file)://(?:www\.)?", 0),
        ("in_email", rb"(?<![\w.+-])[\w.+-]++@[\w-]+(?:\.[\w-]+)+", 0),
        ("in_path", rb"(?<![\w/:.<-])(?:\.{0,2}/|[\w.-]++/)[\w.-]++/[\w./-]*\w", 0),
        (
            "in_file_extension",
            rb"\w\.(py|txt|json|md|html?|c|h|cpp|cc|so|toml|ya?ml|cfg|ini|csv|zip|gz|png|rst|sh|js|css|xml)\b",
            1,
        ),
        ("in_date", rb"\b\d{4}-\d\d-\d\d\b|\b\d{1,2}/\d{1,2}/\d{2,4}\b", 0),
        ("in_time", rb"\b\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)?\b", 0),
        ("in_uuid", rb"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b", 0),
        ("in_tag", rb"</?[A-Za-z][\w:-]*(?:\s+[\w:-]+=(?:\"[^\"\n]*\"|'[^'\n]*'))*\s*/?>", 0),
        ("in_rst_role", rb":[a-z:]+:`[^`\n]+`", 0),
        ("in_rst_directive", rb"^[ \t]*\.\. [\w:-]+::[^\n]*", 0),
        ("in_double_backticks", rb"``[^`\n]+``", 0),
        ("in_backticks", rb"(?<!`)`[^`\n]+`(?!`)", 0),
        ("in_latex_command", rb"\\[a-zA-Z]{3,}(?=[ {_^])", 0),
        ("in_doctest_prompt", rb"^[ \t]*(>>>|\.\.\. )", 1),
        ("in_doctest", rb"^[ \t]*(?:>>>|\.\.\. )[^\n]*", 0),
        ("in_underline", rb"([-=~^*#+_.])\1{3,}", 0),
        ("in_markdown_heading", rb"^(?:#{1,6} [^\n]+| ?=+ [^\n]+ =+ ?$)", 0),
        ("in_bullet", rb"^[ \t]*([-*+]|\d+[.)])[ \t]", 1),
        ("in_quoted_word", rb"(?<!\w)(['\"])[\w-]++\1", 0),
        ("in_percent_format", rb"%(?:\(\w+\))?[-+0#]*\d*(?:\.\d+)?[sdrfgxcieX](?![\w])", 0),
        ("in_brace_format", rb"\{(?:\w+(?:\.\w+|\[\w+\])*)?(?:![rsa])?(?::[^{}\s]*)?\}", 0),
        ("in_escape", rb"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|[abfnrtv0\\'\"])", 0),
        ("in_regex", rb"\(\?(?:P<\w+>|[:=!<])|\[\^?(?:[\w]-[\w]|\\[wsdWSD])[^\]\n]*\]|\\[wsdbWSDB](?![a-z])[+*?]?", 0),
        ("in_noqa", rb"# ?(?:noqa|type: ?ignore|pragma|pylint|mypy|pyright|fmt|isort|ruff)\b[^\n]*", 0),
        ("in_repeated_word", rb"\b([A-Za-z]\w+)\W{1,3}(\1)\b", 2),
        ("in_all_caps_phrase", rb"\b[A-Z]{2,}(?:[ ,;]+[A-Z]{2,}){2,}\b", 0),
    )
]
_PROSE = re.compile(
    rb"(?<![A-Za-z])(?:[A-Za-z][a-z'-]*+[,;:.)]{0,2}+(?: |\n[ \t]*+(?:# )?)\(?){6,}+(?:[A-Za-z][a-z]*+[.,;:)]?)?"
)
_LINES: list[tuple[str, re.Pattern[bytes]]] = [
    ("in_licence", re.compile(rb"opyright|icen[sc]e|WARRANT|LICENSE")),
    ("in_todo", re.compile(rb"TODO|FIXME|XXX")),
]
_SENTENCE = re.compile(rb"(?:\A|[.!?][ \n]+)([A-Z][a-z]*)")
_PARENTHESIS = re.compile(rb"\([^()\n]*\)")


def _looks_encoded(run: bytes) -> bool:
    """A run of the base64 alphabet is base64 when it mixes cases and digits as no word, path or hash does."""
    head = run[:400]
    return (
        re.search(rb"[a-z]", head) is not None
        and re.search(rb"[A-Z]", head) is not None
        and re.search(rb"[0-9]", head) is not None
        and len(re.findall(rb"[a-z][A-Z0-9+/]", head)) > len(head) / 16
    )


def _collect(document: Analysed) -> Spans:
    spans, data = Spans(WORDS), document.data
    for name, pattern, group in _FORMS:
        for match in pattern.finditer(data):
            spans[name] += match.span(group)
    for name, pattern in _LINES:
        for match in pattern.finditer(data):
            line_end = data.find(b"\n", match.end())
            spans[name] += (data.rfind(b"\n", 0, match.start()) + 1, line_end if line_end >= 0 else len(data))
    for match in _BASE64.finditer(data):
        if _looks_encoded(match[0]):
            spans["in_base64"] += match.span()
    for match in _PROSE.finditer(data):
        spans["in_prose"] += match.span()
        for name, inner in (("in_prose_sentence_start", _SENTENCE), ("in_parenthesis_of_prose", _PARENTHESIS)):
            for part in inner.finditer(data, *match.span()):
                spans[name] += part.span(part.lastindex or 0)
    return spans


def concepts() -> list[Concept]:
    """The family's concepts."""
    return painted(FAMILY, WORDS, _collect)
