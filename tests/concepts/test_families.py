"""What the concepts say of snippets, against tokens written by hand."""

from __future__ import annotations

import pytest

MODULE = '''"""Read things.

Longer text.
"""
import os
from collections.abc import Mapping as Map, Iterable
from . import sibling

LIMIT = 10


@cache(size=3)
def load(path: str, *rest, flag=False) -> list[int]:
    """Load it.

    Args:
        path (str): where it lies.
    """
    # Open the file
    with open(path, mode="rb") as handle:
        data = handle.read()[1:-1]
    if not data:
        raise ValueError(f"empty: {path!r:>10} now") from None
    return [int(x) for x in data if x > 2]


class Reader(Base):
    def __init__(self, name):
        self.name = name
        try:
            table = {"key": name, "other": [1, 2, 3]}
        except (KeyError, OSError) as error:
            print("bad", error)
'''

# expression → tokens of MODULE on which it holds, in order
EXPECTED: dict[str, list[str]] = {
    "in_module_docstring & letters": ["Read", " things", "Longer", " text"],
    "in_function_docstring & letters": ["Load", " it", "Args", "path", "str", " where", " it", " lies"],
    "in_docstring_heading": ["Args", ":"],
    "in_docstring_parameter": ["path"],
    "in_docstring_type": ["str"],
    "docstring_first_word": ["Read", "Load"],
    "in_comment": ["#", " Open", " the", " file"],
    "import_module": [" os"],
    "from_module": [" collections", ".", "abc", " ."],
    "from_module_first_part": [" collections"],
    "from_module_later_part": [".", "abc"],
    "imported_name": [" Mapping", " Iterable", " sibling"],
    "later_imported_name": [" Iterable"],
    "import_alias": [" Map"],
    "relative_dot": [" ."],
    "global_constant": ["LIMIT"],
    "in_decorator": ["@", "cache", "(", "size", "=", "3", ")"],
    "decorator_at": ["@"],
    "decorator_arguments": ["(", "size", "=", "3", ")"],
    "function_name": [" load", " _", "_", "init", "_", "_"],
    "method_name": [" _", "_", "init", "_", "_"],
    "class_name": [" Reader"],
    "base_class": ["Base"],
    "parameter_name": ["path", "rest", " flag", "self", " name"],
    "first_parameter": ["path", "self"],
    "gathering_parameter": ["rest"],
    "self_parameter": ["self"],
    "default_value": ["False"],
    "default_equals": ["="],
    "argument_annotation": [" str"],
    "return_annotation": [" list", "[", "int", "]"],
    "annotation_subscript": ["[", "int", "]"],
    "arrow": [" -", ">"],
    "keyword_name": ["size", " mode"],
    "keyword_equals": ["=", "="],
    "keyword_value & letters": ["rb"],
    "called_method": ["read"],
    "called_builtin": [" open", "int", "print"],
    "called_class": [" ValueError"],
    "empty_call": ["(", ")"],
    "in_slice": ["1", ":", "-", "1"],
    "slice_colon": [":"],
    "unary_sign": ["-"],
    "in_fstring_text & letters": ["empty", " now"],
    "in_fstring_field": [" {", "path", "!", "r", ":", ">", "10", "}"],
    "in_fstring_format": ["!", "r", ":", ">", "10"],
    "string_prefix": ["f"],
    "in_error_message & letters": ["f", "empty", "path", "r", " now"],
    "with_item": [" open", "(", "path", ",", " mode", "=", '"', "rb", '"', ")"],
    "with_target": [" handle"],
    "if_condition": [" not", " data"],
    "negated": [" data"],
    "raised_name": [" ValueError"],
    "except_name": [" (", "KeyError", ",", " OSError", ")"],
    "except_alias": [" error"],
    "raise_cause": [" None"],
    "comprehension_element": ["int", "(", "x", ")"],
    "comprehension_target": [" x"],
    "comprehension_iterable": [" data"],
    "comprehension_condition": [" x", " >", " 2"],
    "comparison_right": [" 2"],
    "return_value_start": [" ["],
    "self_attribute_written": ["name"],
    "attribute_name": ["read", "name"],
    "object_of_attribute": [" handle", "self"],
    "dict_key & letters": ["key", "other"],
    "dict_value & letters": [" name"],
    "dict_colon": [":", ":"],
    "in_number_list": [" [", "1", ",", " 2", ",", " 3", "]"],
    "opening_dict": [" {"],
    "opening_list": [" [", " ["],
    "opening_subscript": ["[", "["],
    "comma_dict": [","],
    "keyword_def": ["def", "def"],
    "keyword_constant": ["False", " None"],
    "python_none": [" None"],
    "parameter_use": ["path", " name", " name"],
    "code_after_self_dot": ["name"],
    "code_after_def & letters": [" load", "init"],
    "in_except_body & letters": ["print", "bad", " error"],
    "bracket_depth_2 & letters": ["x"],
}


@pytest.mark.parametrize("expression", EXPECTED)
def test_python(expression, marked):
    assert marked(expression, MODULE) == EXPECTED[expression]


TEXTS: list[tuple[str, str, list[str]]] = [
    ("starts_with_space", "a b\nc", [" b"]),
    ("digits", "a1 22 b", ["1", " 22"]),
    ("in_hex_literal", "x = 0xFF + 12", [" 0", "xFF"]),
    ("in_float", "3.14 and 7", ["3", ".", "14"]),
    ("after_decimal_point", "3.14", ["14"]),
    ("in_exponent_number", "1e-9 2", ["1", "e", "-", "9"]),
    ("in_integer", "3.14 and 7", [" 7"]),
    ("in_version", "numpy 1.26.4 x", [" 1", ".", "26", ".", "4"]),
    ("in_octal_literal | in_binary_literal", "0o17 0b101 9", ["0", "o", "17", " 0", "b", "101"]),
    ("in_snake_case", "my_name Name other", ["my", "_", "name"]),
    ("identifier_last_part", "my_long_name x", ["_", "name"]),
    ("in_upper_snake_case", "MAX_SIZE max_size", ["MAX", "_", "SIZE"]),
    ("in_pascal_case", "HttpServer Server http", ["HttpServer"]),
    ("in_camel_case", "getName get", ["getName"]),
    ("in_dunder", "__init__ _x", ["_", "_", "init", "_", "_"]),
    ("in_private_name", "__init__ _x", [" _", "x"]),
    ("first_on_line", "ab c\n    de f\n", ["ab", "de"]),
    ("last_on_line", "ab c\n    de f\n", [" c", " f"]),
    ("line_indent_1 & letters", "a\n    b\n        c", ["b"]),
    ("first_on_deeper_line", "a\n    b\n    c\nd", ["b"]),
    ("first_on_shallower_line", "a\n    b\n    c\nd", ["d"]),
    ("first_after_blank_line", "a\n\nb\nc", ["b"]),
    ("in_dna", "x = 'ACGTACGTACGTACGT' THE CAT", ["ACGTACGTACGTACGT"]),
    ("in_hex_run", "sha aaaabbbbccccddddaaaabbbbccccdddd ok", [" aaaabbbbccccddddaaaabbbbccccdddd"]),
    ("in_url_scheme", "see https://a.org/b", [" https", ":", "/", "/"]),
    ("after_dot & letters", "os.path x", ["path"]),
    ("after_comma_and_space", "a, b", [" b"]),
    ("continues_word", "ab1 c", ["1"]),
    ("whole_word", "ab1 c", [" c"]),
    ("token_seen_before", "x y y", [" y"]),
    ("in_repeated_word", "the the end", [" the"]),
    ("in_word_ending_ing", "a string bring x", [" string", " bring"]),
    ("python_text", "def f(:", []),
]  # fmt: skip


@pytest.mark.parametrize(("expression", "text", "expected"), TEXTS, ids=[t[0] for t in TEXTS])
def test_any_text(expression, text, expected, marked):
    assert marked(expression, text) == expected


def test_base64(marked):
    code = "TWFuIGlzIGRpc3Rpbmd1aXNoZWQsIG5vdCBvbmx5IGJ5IGhpcyByZWFzb24sIGJ1dA=="
    assert "".join(marked("in_base64", f"data {code} end")).strip() == code
    assert marked("in_base64", "averylongidentifierwithoutanydigitsorcapitalletters") == []


@pytest.mark.parametrize(
    ("script", "letters"),
    [("cherokee", "Ꭰ"), ("gujarati", "ગ"), ("syriac", "ܐ"), ("cyrillic", "ж"), ("cjk", "中"), ("emoji", "😀")],
)
def test_scripts_own_every_byte_of_their_letters(script, letters, tokenised):
    from monoscope.concepts import concept

    document = tokenised(f"ab {letters} c")
    n = len(letters.encode())
    assert concept(f"script_{script}").mask(document).sum() == n
    assert concept("partial_code_point").mask(document).sum() == n
    assert concept("completes_code_point").mask(document).sum() == 1


@pytest.mark.parametrize(
    "text", ["", " ", "Plain English prose, no code.", "def broken(:\n", "a\rb = 1", "\x00", "x = (" * 300]
)
def test_syntax_is_silent_where_there_is_none(text, tokenised):
    from monoscope.concepts import concept

    for name in ("py_name", "in_docstring", "in_call", "bracket_depth_0", "code_after_name"):
        assert not concept(name).mask(tokenised(text)).any()


def test_offsets_survive_letters_beyond_ascii_and_a_byte_order_mark(marked):
    text = '\ufeffgrüße = "ж"  # ß\r\nzwölf(weg=1)\r\n'
    assert marked("keyword_name", text) == ["weg"]
    assert marked("in_comment & ~not_ascii", text) == [" #", " "]
    assert len(marked("in_string", text)) == 4  # two quotes and two bytes
    assert "".join(marked("called_name & letters", text)) == "zwlf"


def test_a_token_is_judged_by_its_first_ink(tokenised):
    import numpy as np

    from monoscope.concepts import concept
    from monoscope.types import TokenisedDocument

    text = 'f("a", b)'
    spans = np.array([(0, 2), (2, 4), (4, 6), (6, 8), (8, 9)])  # f( | "a | ", | ·b | )
    document = TokenisedDocument("d", text, np.arange(5), spans[:, 0], spans[:, 1])
    assert concept("in_string").mask(document).tolist() == [False, True, True, False, False]
    assert concept("called_name").mask(document).tolist() == [True, False, False, False, False]
    assert concept("name_argument").mask(document).tolist() == [False, False, False, True, False]
