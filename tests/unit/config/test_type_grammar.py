"""The words of types, read and written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.project import (
    ArrayType,
    Field,
    LiteralType,
    NativeType,
    ObjectType,
    ReferenceType,
    TypeExpr,
    UnionType,
    references,
)
from config.type_grammar import Finding, format_type, parse_type

MODELS = {"Issue", "User", "Date", "3things", "Empty"}
STRING = NativeType("string")
NUMBER = NativeType("number")


def read(text: str) -> TypeExpr:
    type_, findings = parse_type(text, MODELS)
    assert not [finding for finding in findings if finding.kind == "syntax"]
    return type_


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("string", STRING),
        ("char", STRING),
        ("VarChar", STRING),
        ("int", NUMBER),
        ("integer", NUMBER),
        ("float", NUMBER),
        ("bigint", NativeType("bigint")),
        ("bool", NativeType("boolean")),
        ("object", NativeType("object")),
        ("array", NativeType("array")),
        ("any", NativeType("any")),
        ("undefined", NativeType("undefined")),
        ("never", NativeType("never")),
        ("void", NativeType("void")),
        ("null", LiteralType(None)),
        ("true", LiteralType(value=True)),
        ("false", LiteralType(value=False)),
        ("5", LiteralType(5)),
        ("-1.5", LiteralType(-1.5)),
        ("Issue", ReferenceType("Issue")),
        ("issue", LiteralType("issue")),
        ("hello world", LiteralType("hello world")),
        (" string", LiteralType(" string")),
        ("{ x: string }", LiteralType("{ x: string }")),
        ("string[]", ArrayType(STRING)),
        ("Issue[]", ArrayType(ReferenceType("Issue"))),
        ("true[]", ArrayType(LiteralType(value=True))),
        ("string []", ArrayType(LiteralType("string "))),
        ("string[][]", ArrayType(ArrayType(STRING))),
        ("Issue | null", UnionType((ReferenceType("Issue"), LiteralType(None)))),
        ("string|User[]", UnionType((STRING, ArrayType(ReferenceType("User"))))),
        ("1 | 2.5", UnionType((LiteralType(1), LiteralType(2.5)))),
    ],
)
def test_type_is_read(text: str, type_: TypeExpr) -> None:
    assert read(text) == type_


def test_built_in_type_wins_over_a_model_of_its_name() -> None:
    assert read("Date") == read("date") == NativeType("date")


def test_model_wins_over_the_number_its_name_begins_with() -> None:
    assert read("3things") == ReferenceType("3things")


def test_word_that_begins_with_a_digit_is_text() -> None:
    assert read("1d | 7d") == UnionType((LiteralType("1d"), LiteralType("7d")))


def test_words_that_name_nothing_are_found_with_their_place() -> None:
    _, findings = parse_type("open | string |  Isue[]", MODELS)
    assert findings == [Finding("literal", "open", 0), Finding("literal", "Isue", 17)]


@pytest.mark.parametrize(
    ("text", "word", "start"),
    [
        ("", "", 0),
        ("[]", "[]", 0),
        ("Array<string>", "Array<string>", 0),
        ("Record<string, string>[]", "Record<string, string>[]", 0),
        ("string | Partial<User>", "Partial<User>", 9),
        ("string | ", "", 8),
        ("a" * 30_000, "a" * 30_000, 0),
        ("string" + "[]" * 9, "string" + "[]" * 9, 0),
    ],
)
def test_what_is_no_type_is_found_once(text: str, word: str, start: int) -> None:
    _, findings = parse_type(text, MODELS)
    assert [finding for finding in findings if finding.kind == "syntax"] == [
        Finding("syntax", word, start)
    ]


def test_types_that_have_no_words_can_be_shown() -> None:
    field = Field("a", ArrayType(UnionType((STRING, LiteralType(value=False)))), optional=True)
    assert format_type(ObjectType((field, Field("b", LiteralType(None))))) == (
        "{a?: [string, false], b: null}"
    )


_words = st.sampled_from(
    [
        *(STRING, NUMBER, NativeType("date"), NativeType("array"), NativeType("void")),
        *(LiteralType(None), LiteralType(value=True), ReferenceType("User")),
    ]
) | st.builds(
    LiteralType,
    st.text("abcXYZ _-.{}", min_size=1, max_size=8).filter(
        lambda text: text == text.strip() and not text.endswith("[]")
    )
    | st.integers(-(2**52), 2**52),
)


def _arrays(words: st.SearchStrategy[TypeExpr]) -> st.SearchStrategy[TypeExpr]:
    def wrap(type_: TypeExpr, depth: int) -> TypeExpr:
        for _ in range(depth):
            type_ = ArrayType(type_)
        return type_

    return st.builds(wrap, words, st.integers(0, 3))


_types = _arrays(_words) | st.builds(
    UnionType, st.lists(_arrays(_words), min_size=2, max_size=5).map(tuple)
)


@given(_types)
def test_written_type_is_read_back(type_: TypeExpr) -> None:
    assert read(format_type(type_)) == type_


@given(st.text(alphabet="ab|[]<>?, {}()\n\t0", max_size=60) | st.text(max_size=60))
def test_any_text_is_read_to_a_type_that_reads_back(text: str) -> None:
    type_, findings = parse_type(text, MODELS)
    assert set(references(type_)) <= MODELS
    if not any(finding.kind == "syntax" for finding in findings):
        assert parse_type(format_type(type_), MODELS)[0] == type_
