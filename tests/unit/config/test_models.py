"""The models of a file: fields, inheritance, and what is said about them."""

from __future__ import annotations

from textwrap import dedent, indent

import pytest

from config.nango_yaml import parse_nango_yaml
from config.project import (
    ArrayType,
    Field,
    LiteralType,
    Model,
    NativeType,
    ObjectType,
    ParseResult,
    ReferenceType,
    TypeExpr,
    UnionType,
)

STRING = NativeType("string")
NUMBER = NativeType("number")


def parse(models: str) -> ParseResult:
    return parse_nango_yaml(f"integrations: {{}}\nmodels:\n{indent(dedent(models), '  ')}")


def read(models: str) -> dict[str, Model]:
    result = parse(models)
    assert result.config, result.errors
    return {model.name: model for model in result.config.models}


def fields(models: str, name: str = "M") -> list[Field]:
    return [*read(models)[name].fields]


def test_fields_keep_their_order_and_know_whether_they_may_be_missing() -> None:
    assert fields("M: {b: string, a?: number, 'use?r': string, 'c??': string}") == [
        Field("b", STRING),
        Field("a", NUMBER, optional=True),
        Field("use?r", STRING),
        Field("c?", STRING, optional=True),
    ]


def test_yaml_values_are_literals() -> None:
    found = fields("M: {a: true, b: 5, c: 1.5, d: null, e: , f: ~, g: 'null', h: '5'}")
    assert [field.type for field in found] == [
        *(LiteralType(value=True), LiteralType(5), LiteralType(1.5)),
        *(LiteralType(None), LiteralType(None), LiteralType(None), LiteralType(None)),
        LiteralType(5),
    ]


def test_list_is_an_array_of_any_of_its_items() -> None:
    found = fields("M: {a: [string, M], b: [], c: [{x: string}]}")
    assert [field.type for field in found] == [
        ArrayType(UnionType((STRING, ReferenceType("M")))),
        ArrayType(UnionType(())),
        ArrayType(UnionType((ObjectType((Field("x", STRING),)),))),
    ]


def test_mapping_is_an_object_in_place() -> None:
    [field] = fields("M: {a: {x?: string, y: {z: 'M[]'}}}")
    inner = ObjectType((Field("z", ArrayType(ReferenceType("M"))),))
    assert field.type == ObjectType((Field("x", STRING, optional=True), Field("y", inner)))


def test_field_for_all_other_keys_stands_last() -> None:
    assert fields("M: {__string: 'M[] | null', id: string}") == [
        Field("id", STRING),
        Field(
            "__string",
            UnionType((ArrayType(ReferenceType("M")), LiteralType(None))),
            dynamic=True,
        ),
    ]


def test_own_fields_win_over_those_of_parents_and_earlier_parents_over_later() -> None:
    found = fields(
        """
        M:
          __extends: " A ,B"
          own: string
          both: string
        A: {both: number, shared: number, a: string}
        B: {__extends: C, shared: string, b: string}
        C: {c: string}
        """
    )
    assert found == [
        *(Field("both", STRING), Field("shared", NUMBER), Field("a", STRING)),
        *(Field("c", STRING), Field("b", STRING), Field("own", STRING)),
    ]


@pytest.mark.parametrize(
    ("model", "names"),
    [
        ("{__extends: Base, z: string}", ["a", "b", "c", "z"]),
        ("{z: string, __extends: Base}", ["z", "a", "b", "c"]),
        ("{y: string, __extends: Base, z: string}", ["y", "a", "b", "c", "z"]),
        ("{c: string, __extends: Base, b: string, z: string}", ["c", "a", "b", "z"]),
        ("{y: string, '__extends?': Base}", ["y", "a", "b", "c"]),
    ],
)
def test_inherited_fields_stand_where_they_are_asked_for(model: str, names: list[str]) -> None:
    found = fields(f"M: {model}\nBase: {{a: number, b: number, c: number}}")
    assert [field.name for field in found] == names
    assert all(field.type == NUMBER or field.name in model for field in found)


@pytest.mark.parametrize(
    ("model", "type_"),
    [
        ("{__extends: Base, a: string}", NUMBER),
        ("{__extends: Base, __string: string}", STRING),
        ("{__string: string, __extends: Base}", NUMBER),
    ],
)
def test_the_last_of_several_dynamic_fields_counts(model: str, type_: TypeExpr) -> None:
    found = fields(f"M: {model}\nBase: {{__string: number}}")
    assert found[-1] == Field("__string", type_, dynamic=True)


def test_object_in_place_can_extend_a_model() -> None:
    [field] = fields("M: {a: {__extends: Base, y: string}}\nBase: {x: string}")
    assert field.type == ObjectType((Field("x", STRING), Field("y", STRING)))


@pytest.mark.parametrize(
    ("models", "code", "path"),
    [
        ("bad.name: {}", "invalid_model_name", ("bad.name",)),
        ("é: {}", "invalid_model_name", ("é",)),
        ("M: {a: Array<string>}", "type_syntax_error", ("M", "a")),
        ("M: {a: 'string | Record<string, string>'}", "type_syntax_error", ("M", "a")),
        ("M: {a: ''}", "type_syntax_error", ("M", "a")),
        ("M: {a: '[]'}", "type_syntax_error", ("M", "a")),
        ("M: {a: {b: [Partial<M>]}}", "type_syntax_error", ("M", "a", "b")),
        ("M: {a: .inf}", "type_syntax_error", ("M", "a")),
        ("M: {__extends: N}", "model_extends_not_found", ("M", "__extends")),
        ("M: {__extends: 'A,'}\nA: {}", "model_extends_not_found", ("M", "__extends")),
        ("M: {__extends: [A]}\nA: {}", "model_extends_not_found", ("M", "__extends")),
        ("M: {__extends: ''}", "model_extends_not_found", ("M", "__extends")),
        ("M: {__extends: }", "model_extends_not_found", ("M", "__extends")),
        ("M: {__extends: 5}", "model_extends_not_found", ("M", "__extends")),
        ("M: {__extends: M}", "model_extends_cycle", ("M", "__extends")),
        (
            "M: {__extends: A}\nA: {x: {__extends: M}}",
            "model_extends_cycle",
            ("A", "x", "__extends"),
        ),
        ("M: {a: string, 'a?': string}", "duplicate_field", ("M", "a")),
    ],
)
def test_model_that_makes_no_sense_is_refused(models: str, code: str, path: tuple[str]) -> None:
    result = parse(models)
    assert [(problem.code, problem.path) for problem in result.errors] == [(code, path)]
    assert result.config is None


def test_word_that_names_nothing_is_text_with_a_warning_at_its_place() -> None:
    result = parse("M: {a: 'string | Isue', state: open | closed | null}\nIssue: {}")
    assert result.ok
    mistyped, enumeration = result.warnings
    assert (mistyped.code, mistyped.path) == ("model_not_found_fallback", ("M", "Isue"))
    assert mistyped.hint == "did you mean `Issue`?"
    assert mistyped.position
    assert (mistyped.position.column, mistyped.position.end_column) == (20, 24)
    assert "`open`, `closed`" in enumeration.message


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("strng", "did you mean `string`?"),
        ("ISSUE", "did you mean `Issue`?"),
        (" string", "`string` is a type without the spaces around it"),
        ("unknown", "the type for anything is `any`"),
        ("(Issue)", "write a list of several types as `[A, B]`"),
        ("Xyzzy", None),
    ],
)
def test_hint_says_what_was_probably_meant(word: str, hint: str | None) -> None:
    result = parse(f"M: {{a: '{word}'}}\nIssue: {{}}")
    assert [problem.hint for problem in result.warnings] == [hint]


def test_generic_type_comes_with_what_to_write_instead() -> None:
    result = parse("M: {a: 'Array<string>', b: 'Partial<M>'}")
    hints = [problem.hint for problem in result.errors]
    assert hints == [
        "write a list as `T[]`",
        "mark each field that may be missing with `?`",
    ]


def test_unknown_parent_comes_with_what_was_meant() -> None:
    [problem] = parse("M: {__extends: 'Base, Isue'}\nBase: {}\nIssue: {}").errors
    assert problem.hint == "did you mean `Issue`?"
    assert problem.position
    assert (problem.position.line, problem.position.column) == (3, 25)


def test_date_is_no_type_and_says_so() -> None:
    result = parse("M: {a: 2020-01-01}")
    assert result.ok
    assert [problem.code for problem in result.warnings] == ["date_as_type"]


@pytest.mark.parametrize(
    ("models", "trails"),
    [
        ("M: {a: M}", [("M",)]),
        ("M: {a: A}\nA: {b: B}\nB: {c: 'A[]'}", [("M", "A", "B")]),
        ("M: {a: {b: ['N']}}\nN: {__string: M | null}", [("M", "N")]),
        ("M: {a: A, b: A, c: A | B}\nA: {x: B}\nB: {}", []),
    ],
    ids=["self", "three", "nested", "no cycle"],
)
def test_only_models_that_contain_themselves_are_called_cyclic(
    models: str, trails: list[tuple[str, ...]]
) -> None:
    result = parse(models)
    assert result.ok
    assert [problem.path for problem in result.warnings] == trails
    assert {problem.code for problem in result.warnings} <= {"cyclic_model"}


@pytest.mark.parametrize(
    ("models", "codes"),
    [
        ("M: {a: A, b: A}\nA: {}", ["cyclic_model"]),
        ("M: {a: A, b: B}\nA: {x: B}\nB: {}", ["cyclic_model"]),
        ("M: {a: A | A}\nA: {}", ["cyclic_model"]),
        ("M: {__extends: A, x: A}\nA: {}", ["cyclic_model"]),
        ("A: {}\nM: {a: A, b: A}", []),
        ("M: {__extends: B}\nN: {a: B, b: B}\nB: {}", []),
        ("M: {a: A}\nN: {a: A}\nA: {}", []),
        ("M: {a: A}\nN: {a: A, b: A}\nA: {}", []),
        ("M: {a: 'string[][]'}", ["model_not_found_fallback"]),
    ],
)
def test_what_nango_alone_warns_of_is_no_warning_here(models: str, codes: list[str]) -> None:
    result = parse(models)
    assert result.warnings == ()
    assert [problem.code for problem in result.false_alarms] == codes


def test_chains_of_any_length_do_not_exhaust_the_stack() -> None:
    chain = "\n".join(f"M{i}: {{next: M{i + 1}}}" for i in range(3_000))
    result = parse(f"{chain}\nM3000: {{next: M0}}")
    assert [problem.code for problem in result.warnings] == ["cyclic_model"]


@pytest.mark.parametrize(
    "models",
    [
        "\n".join(f"M{i}: {{__extends: M{i + 1}}}" for i in range(3_000)) + "\nM3000: {}",
        "M0: {}\n"
        + "\n".join(f"M{i}: {{__extends: M{i - 1}, f{i}: string}}" for i in range(1, 2_000)),
    ],
    ids=["deep", "heavy"],
)
def test_inheritance_beyond_measure_is_refused(models: str) -> None:
    assert [problem.code for problem in parse(models).errors] == ["yaml_too_complex"]


def test_broken_models_do_not_make_noise_elsewhere() -> None:
    result = parse_nango_yaml(
        dedent(
            """
            integrations:
              acme:
                syncs:
                  it: {runs: every hour, endpoint: GET /x, output: bad.name}
            models:
              bad.name: {x: Strng}
              M: {a: Strng}
            """
        )
    )
    assert [problem.code for problem in result.errors] == ["invalid_model_name"]
    assert result.warnings == ()
