"""YAML as it is read here: scalars, positions, and what is refused."""

from __future__ import annotations

import math

import pytest

from config.nango_yaml import parse_nango_yaml
from config.problems import FileCode
from perdure.documents.nodes import Mapping, Node, Scalar, Sequence, YamlError, describe, read_yaml
from perdure.documents.scalars import Timestamp


def plain(node: Node | None) -> object:
    match node:
        case Scalar(value=value):
            return value
        case Sequence(items=items):
            return [plain(item) for item in items]
        case Mapping(entries=entries):
            return {key: plain(entry.value) for key, entry in entries.items()}
    return None


def read(text: str) -> object:
    return plain(read_yaml(text, "nango.yaml"))


def refusal(text: str) -> YamlError:
    with pytest.raises(YamlError) as caught:
        read_yaml(text, "nango.yaml")
    return caught.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("yes", "yes"),
        ("on", "on"),
        ("True", True),
        ("FALSE", False),
        ("tRUE", "tRUE"),
        ("~", None),
        ("Null", None),
        ("nULL", "nULL"),
        ("017", 17),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0b11", -3),
        ("1_000", 1000),
        ("1_", "1_"),
        ("_1", "_1"),
        ("0x", "0x"),
        ("+5", 5),
        ("1.0", 1),
        ("1.50", 1.5),
        ("1e3", 1000),
        (".5", 0.5),
        ("1.2.3", "1.2.3"),
        ("10foo", "10foo"),
        ("9007199254740993", 9007199254740992.0),
        ("9" * 5000, math.inf),
        ("-.inf", -math.inf),
        ("190:20:30", "190:20:30"),
        ("2020-01-31", Timestamp("2020-01-31")),
        ("2020-1-3 10:00:00 +01:00", Timestamp("2020-1-3 10:00:00 +01:00")),
        ("'5'", "5"),
        ('"true"', "true"),
        ("! 5", "5"),
        ("!!str 5", "5"),
        ("!!int 5", 5),
        ("!!float 5", 5),
        ("!!null ''", None),
        ("=", "="),
    ],
)
def test_scalar_is_read_as_yaml_1_2_does(text: str, value: object) -> None:
    found = read(text)
    assert found == value
    assert type(found) is type(value)


def test_whole_floats_are_integers_and_nan_is_a_number() -> None:
    number = read(".nan")
    assert isinstance(number, float)
    assert math.isnan(number)
    assert type(read("2.0")) is int


def test_keys_are_text_and_small_numbers_come_first() -> None:
    found = read("b: 1\n10: 2\nnull: 3\n2: 4\ntrue: 5\n'1': 6\n-1: 7\n1.5: 8")
    assert isinstance(found, dict)
    assert [*found] == ["1", "2", "10", "b", "null", "true", "-1", "1.5"]


def test_merge_keys_fill_in_what_is_not_there() -> None:
    text = "base: &b {p: 1, q: 2}\nother: &o {q: 3, r: 4}\nall:\n  q: 0\n  <<: [*b, *o]\n  p: 9"
    found = read(text)
    assert isinstance(found, dict)
    assert found["all"] == {"q": 0, "p": 9, "r": 4}
    assert read("'<<': 1") == {"<<": 1}


def test_aliases_stand_for_what_they_name() -> None:
    assert read("a: &x [1, 2]\nb: *x\nc: &y word\nd: *y") == {
        "a": [1, 2],
        "b": [1, 2],
        "c": "word",
        "d": "word",
    }


def test_positions_count_characters_from_one() -> None:
    root = read_yaml("é: 😀 \nlist:\n  - 'x y'\n", "f.yaml")
    assert isinstance(root, Mapping)
    key, value = root.entries["é"]
    assert (key.position.line, key.position.column, key.position.end_column) == (1, 1, 2)
    assert (value.position.column, value.position.end_column) == (4, 5)
    items = root.get("list")
    assert isinstance(items, Sequence)
    assert (items.items[0].position.line, items.items[0].position.column) == (3, 5)
    assert items.items[0].position.file == "f.yaml"


def test_part_of_a_scalar_has_a_position_where_it_can_be_told() -> None:
    root = read_yaml("a: x | yy\nb: 'x | yy'\nc: \"x \\u007c yy\"\nd: |\n  x | yy\n", "f")
    assert isinstance(root, Mapping)
    columns = [
        node.part(4, 6).column if isinstance(node := root.get(key), Scalar) else None
        for key in "abcd"
    ]
    assert columns == [8, 9, 4, 4]


@pytest.mark.parametrize(
    "text", ["a: 1\n\t\nb: 2", "\t\na: 1\nb: 2", "a: 1\r\n  \t\r\nb: 2\t", "a: 1\n\t# c\nb: 2\n\t"]
)
def test_tabs_that_indent_nothing_are_passed_over(text: str) -> None:
    root = read_yaml(text, "x")
    assert isinstance(root, Mapping)
    assert [entry.value.position.line for entry in root.entries.values()] in ([1, 3], [2, 3])


@pytest.mark.parametrize("char", ["\x85", "\u2028", "\u2029", "\ufeff"])
def test_line_breaks_of_older_yaml_are_plain_text(char: str) -> None:
    root = read_yaml(f"a: b{char}c # d{char}e: f\ng: 'h{char}'\n{char}i: |\n  j{char}\n", "x")
    assert isinstance(root, Mapping)
    values = [
        entry.value.value for entry in root.entries.values() if isinstance(entry.value, Scalar)
    ]
    assert [*root.entries] == ["a", "g", f"{char}i"]
    assert values == [f"b{char}c", f"h{char}", f"j{char}\n"]
    assert root.entries["g"].key.position.line == 2


def test_json_is_yaml() -> None:
    assert read('{"a":{"b":"c","d":[1,null]},\n\t"e": "x"}') == {
        "a": {"b": "c", "d": [1, None]},
        "e": "x",
    }


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        ("a: 1\nb: [\n", 2, 5),
        ("a: []M", 1, 6),
        ("a:\n\tb: 1", 2, 1),
        ("runs: cron: 0 6 * * *", 1, 11),
        ("a: 'never\nclosed", 1, 4),
        ("a: @b", 1, 4),
        ("a: 1\na: 2", 2, 1),
        ("1: a\n'1': b", 2, 1),
        ("a: !custom {}", 1, 4),
        ("a: !!python/object/apply:os.system [ls]", 1, 4),
        ("a: !!set {x}", 1, 4),
        ("a: !!int x", 1, 4),
        ("a: {<<: 5}", 1, 9),
        ("? [a]\n: b", 1, 3),
        ("a: *nobody", 1, 4),
        ("a: &a [*a]", 1, 8),
        ("a: 1\n---\nb: 2", 2, 1),
        ("a: 1\nb: \0", 2, 4),
        ("a\x07: 1", 1, 2),
        ("\x1b[31m", 1, 1),
        ("a: 1\r\n\x00", 2, 1),
        ('a: "\\0"', 1, 4),
    ],
)
def test_what_is_not_read_is_refused_where_it_stands(text: str, line: int, column: int) -> None:
    problem = refusal(text).problems[0]
    assert problem.code == FileCode.YAML
    assert problem.position
    assert (problem.position.line, problem.position.column) == (line, column)


def test_all_duplicate_keys_and_tags_are_told_at_once() -> None:
    error = refusal("a: 1\na: 2\nb: {c: 1, c: 2}\nd: !x 1")
    assert [problem.position.line for problem in error.problems if problem.position] == [2, 3, 4]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("a: " + "x" * 10_000_000, FileCode.TOO_LARGE),
        ("[" * 1_000_000, FileCode.TOO_COMPLEX),
        ("{a: " * 1_000_000, FileCode.TOO_COMPLEX),
        ("- " * 1_000_000, FileCode.TOO_COMPLEX),
        ("[" + "1," * 1_000_000, FileCode.TOO_COMPLEX),
        (
            "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
            + "\n".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)),
            FileCode.TOO_COMPLEX,
        ),
        (
            "a: &a {"
            + ", ".join(f"k{i}: 1" for i in range(2_000))
            + "}\n"
            + "\n".join(f"b{i}: {{<<: [*a, *a]}}" for i in range(2_000)),
            FileCode.TOO_COMPLEX,
        ),
        (
            "a0: &a0 {x: y}\n"
            + "\n".join(f"a{i}: &a{i} {{x: {{y: *a{i - 1}}}}}" for i in range(1, 2_000)),
            FileCode.TOO_COMPLEX,
        ),
    ],
    ids=["large", "lists", "mappings", "blocks", "wide", "bomb", "merge bomb", "deep aliases"],
)
def test_file_made_to_exhaust_the_reader_is_refused(text: str, code: FileCode) -> None:
    assert refusal(text).problems[0].code == code


def test_nothing_is_none() -> None:
    assert read_yaml("", "f") is None
    assert read_yaml("# a comment\n", "f") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "a list"),
        ("{}", "a mapping"),
        ("", "empty"),
        ("~", "empty"),
        ("true", "true"),
        ("0x10", "the number 0x10"),
        ("2020-01-01", "the date 2020-01-01"),
        ("word", "the text 'word'"),
    ],
)
def test_node_is_described_in_words(text: str, words: str) -> None:
    root = read_yaml(f"a: {text}", "f")
    assert isinstance(root, Mapping)
    assert describe(root.entries["a"].value) == words


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("a: {b: [c\nd:\n", "close the `[` of line 1"),
        ("a:\n  - {b: c\nd:\n", "close the `{` of line 2"),
        ("a: b: c\n", "put the value in quotes when it holds `: `"),
    ],
)
def test_bracket_that_is_left_open_is_told_with_its_line(text: str, hint: str) -> None:
    (problem,) = parse_nango_yaml(text).errors

    assert problem.hint == hint
