"""How problems are told."""

from __future__ import annotations

from textwrap import dedent

from config.nango_yaml import parse_nango_yaml
from config.problems import Position, Problem, ProblemLog, format_problem, shorten


def test_problem_shows_the_line_underlined_and_what_to_do() -> None:
    source = "models:\n  M:\n    a: string | Isue\n  Issue: {}\nintegrations: {}\n"
    [warning] = parse_nango_yaml(source).warnings
    assert format_problem(warning, source) == dedent(
        """\
        nango.yaml:3:17: warning[model_not_found_fallback]: `Isue` is no type and no model, so it \
stands for itself, as text.
           |
        3  |     a: string | Isue
           |                 ^^^^
           = hint: did you mean `Issue`?"""
    )


def test_problem_without_a_place_is_one_line() -> None:
    problem = Problem("file_not_found", "There is no nango.yaml here.", hint="run `perdure init`")
    assert format_problem(problem) == (
        "error[file_not_found]: There is no nango.yaml here.\n  = hint: run `perdure init`"
    )


def test_long_line_is_shown_around_the_problem() -> None:
    source = "a" * 500 + "X" + "b" * 500
    text = format_problem(Problem("c", "m", (), Position("f", 1, 501, 1, 502)), source)
    _, _, line, marks = text.splitlines()
    assert len(line) < 160
    assert line[marks.index("^")] == "X"


def test_terminal_codes_of_a_file_do_not_reach_the_terminal() -> None:
    source = "a: \x1b[31m\tred"
    problem = Problem("c", "of \x1b[1m", (), Position("f", 1, 4, 1, 5), "try \x07")
    assert "\x1b" not in format_problem(problem, source)
    assert "\x07" not in format_problem(problem, source)
    assert "a:  [31m red" in format_problem(problem, source)


def test_place_behind_the_end_of_the_file_is_told_without_a_line() -> None:
    text = format_problem(Problem("c", "m", (), Position("f", 9, 1, 9, 2)), "one line")
    assert text == "f:9:1: error[c]: m"


def test_problem_over_many_lines_is_underlined_to_the_end_of_the_first() -> None:
    source = "a:\n  - b: c\n    d: e\n"
    text = format_problem(Problem("c", "m", (), Position("f", 2, 3, 3, 9)), source)
    assert text.splitlines()[-1].endswith("   ^^^^^^")


def test_suggestions_end_when_a_file_has_too_many_mistakes() -> None:
    log = ProblemLog()
    hints = [log.did_you_mean("strng", ["string"]) for _ in range(100)]
    assert hints[0] == "did you mean `string`?"
    assert hints[-1] is None


def test_text_is_shortened_to_one_line() -> None:
    assert shorten("a\n  b") == "a b"
    assert shorten("x" * 100, 10) == "xxxxxxx..."
