"""Pages that are saved past the script: their model, and functions that can be found by name."""

from __future__ import annotations

import pytest

from perdure.scripts.lint import LintCode
from tests.unit.scripts.lints import ACTION, SYNC, action, lint, lint_sync, said

HEAD = """import time, uuid
def plain(raw):
    time.sleep(0)
    return {"id": uuid.getnode(), **raw}
async def awaited(raw):
    return raw
async def fetch_data(nango):
    def inside(raw):
        return raw
    pages = nango.paginate("/x")
"""


@pytest.mark.parametrize(
    "call",
    [
        'await pages.save("Issue", map=plain)',
        'await pages.delete("Issue", map=plain, where=plain, on_page=plain)',
        'await nango.paginate("/x").save("Issue", where=plain)',
        'await nango.paginate("/x").save(model="Issue")',
    ],
)
def test_functions_at_the_top_level_may_do_what_steps_may(call: str) -> None:
    assert lint_sync(f"{HEAD}    {call}\n") == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("lambda raw: raw", "a function with a name"),
        ("inside", "`inside` stands inside"),
        ("awaited", "`awaited` is async"),
    ],
)
@pytest.mark.parametrize("keyword", ["map", "where", "on_page"])
def test_function_that_cannot_be_called_by_name_is_underlined(
    given: str, words: str, keyword: str
) -> None:
    found = lint_sync(f'{HEAD}    await pages.save("Issue", {keyword}={given})\n')

    assert said(found) == [(LintCode.INVALID_STEP, 11)]
    assert words in found[0].message
    assert found[0].severity == "error"


def test_model_of_another_sync_is_underlined() -> None:
    found = lint_sync(f'{HEAD}    await pages.save("Isue")\n')

    assert said(found) == [(LintCode.UNKNOWN_MODEL, 11)]
    assert found[0].hint == "did you mean `Issue`?"


def test_actions_have_nothing_to_save() -> None:
    text = 'async def run_action(nango, input):\n    await nango.paginate("/x").save("Issue")\n'

    found = lint({SYNC: HEAD, ACTION: text}, action(takes_input=True))

    assert said(found) == [(LintCode.RECORDS_OUTSIDE_SYNC, 2)]


def test_save_of_anything_else_is_nobodys_business() -> None:
    text = HEAD + "    form = nango.connection_id\n    form.save(1, map=lambda x: x)\n"

    assert lint_sync(text) == []


def test_saving_that_nobody_awaits_is_underlined() -> None:
    found = lint_sync(f'{HEAD}    pages.save("Issue")\n')

    assert said(found) == [(LintCode.MISSING_AWAIT, 11)]
    assert found[0].hint == "write `await pages.save(...)`"
