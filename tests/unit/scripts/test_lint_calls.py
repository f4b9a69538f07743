"""Calls of the helper: awaited, existing, and about models of the sync."""

from __future__ import annotations

import pytest

from perdure.scripts.lint import LintCode
from tests.unit.scripts.lints import ACTION, SYNC, action, body, lint, lint_sync, said, sync

AWAITED = [
    "await nango.get('/x')",
    "return await nango.get('/x')",
    "return nango.get('/x')",
    "a, b = await asyncio.gather(nango.get('/1'), nango.get('/2'))",
    "await asyncio.gather(*[nango.get(str(i)) for i in range(3)])",
    "await asyncio.gather(*(nango.get(str(i)) for i in range(3)))",
    "task = asyncio.create_task(nango.get('/x'))",
    "async with asyncio.TaskGroup() as group:\n    group.create_task(nango.log('x'))",
    "await asyncio.wait_for(nango.get('/x'), timeout=5)",
    "await asyncio.wait_for(fut=nango.get('/x'), timeout=5)",
    "later = nango.get('/x')\nawait later",
    "later: object = nango.get('/x')\nawait later",
    "later = nango.get('/x') if nango.run_id else nango.get('/y')\nawait later",
    "later = nango.get('/x')\nothers = [later]\nawait asyncio.gather(*others)",
    "waiting = {}\nwaiting['x'] = nango.get('/x')\nawait waiting['x']",
    "one, two = nango.get('/x'), nango.get('/y')\nawait one\nawait two",
    "data = (await nango.get('/x')).data",
    "fetch = lambda path: nango.get(path)\nawait fetch('/x')",
    "if (answer := await nango.get('/x')).data:\n    pass",
    "if nango.last_sync_date is not None:\n    pass",
    "first = second = nango.get('/x')\nfirst = second\nawait first",
    "async for page in nango.paginate('/x'):\n    await nango.batch_save(page, 'Issue')",
    "pages = [page async for page in nango.paginate('/x')]",
    "pages = nango.paginate('/x')\nasync for page in pages:\n    pass",
    "await nango.paginate('/x').save('Issue')",
    "pages = nango.paginate('/x')\nawait pages.save('Issue')",
]

FORGOTTEN = [
    ("nango.log('x')", "nango.log('x')"),
    ("data = nango.get('/x').data", "nango.get('/x')"),
    ("answer = nango.get('/x')\nprint(answer.data)", "nango.get('/x')"),
    ("answer = nango.get('/x')", "nango.get('/x')"),
    ("if nango.get('/x'):\n    pass", "nango.get('/x')"),
    ("if not nango.get('/x'):\n    pass", "nango.get('/x')"),
    ("for item in nango.get('/x'):\n    pass", "nango.get('/x')"),
    ("items = [item for item in nango.get('/x')]", "nango.get('/x')"),
    ("text = f'{nango.get(1)}'", "nango.get(1)"),
    ("both = nango.get('/x') or nango.get('/y')\nawait both", "nango.get('/x')"),
    ("async def inner():\n    nango.log('x')\nawait inner()", "nango.log('x')"),
    ("nango.paginate('/x').save('Issue')", "nango.paginate('/x').save('Issue')"),
]


@pytest.mark.parametrize("text", AWAITED)
def test_call_that_is_awaited_somehow_is_fine(text: str) -> None:
    assert lint_sync(body(text)) == []


@pytest.mark.parametrize(("text", "call"), FORGOTTEN)
def test_call_that_nobody_awaits_is_underlined(text: str, call: str) -> None:
    source = body(text)

    found = lint_sync(source)[0]

    assert (found.code, found.severity) == (LintCode.MISSING_AWAIT, "error")
    line = source.splitlines()[found.line - 1]
    assert line[found.column - 1 : found.end_column - 1] == call
    assert found.hint is not None
    assert "await nango." in found.hint


@pytest.mark.parametrize(
    "text",
    [
        "for page in nango.paginate('/x'):\n    pass",
        "pages = [page for page in nango.paginate('/x')]",
        "pages = await nango.paginate('/x')",
        "nango.paginate('/x')",
    ],
)
def test_pages_are_iterated_over(text: str) -> None:
    [found] = lint_sync(body(text))

    assert (found.code, found.line) == (LintCode.PAGES_NOT_ITERATED, 3)


def test_columns_count_characters() -> None:
    [found] = lint_sync(body("x = 'äöü😀'; nango.log('é')"))

    assert (found.column, found.end_column) == (17, 31)


@pytest.mark.parametrize(
    "text",
    [
        "await nango.batch_save([], 'Issues')",
        "await nango.batch_save([], model='Issues')",
        "await nango.batch_delete(records=[], model='Issues')",
        "await save(nango)\nasync def save(nango):\n    await nango.batch_save([], 'Issues')",
    ],
)
def test_model_that_is_not_an_output_is_refused(text: str) -> None:
    [found] = lint_sync(body(text))

    assert (found.code, found.severity) == (LintCode.UNKNOWN_MODEL, "error")
    assert found.message == "`Issues` is not an output of the sync `issues`."
    assert found.hint == "did you mean `Issue`?"


@pytest.mark.parametrize(
    "call",
    [
        "await nango.batch_update([], 'User')",
        "await nango.get_records_by_ids(['1'], 'User')",
        "[r async for r in nango.list_records('User')]",
        "await nango.set_merging_strategy('override', 'User')",
        "await nango.delete_records_from_previous_executions('User')",
    ],
)
def test_every_method_about_records_is_known(call: str) -> None:
    codes = [found.code for found in lint_sync(body(call))]

    assert LintCode.UNKNOWN_MODEL in codes


def test_model_that_is_computed_is_nobodys_business() -> None:
    assert lint_sync(body("await nango.batch_save([], 'Iss' + 'ue')")) == []


SHARED = """
async def save(nango, records):
    await nango.batch_save(records, "Issue")
    await nango.batch_save(records, "User")
"""
USES_SHARED = """
from shared.saving import save

async def fetch_data(nango):
    await save(nango, [])
"""


def test_shared_code_may_name_the_models_of_all_that_use_it() -> None:
    files = {SYNC: USES_SHARED, "acme/syncs/users.py": USES_SHARED, "shared/saving.py": SHARED}
    issues, users = sync(SYNC), sync("acme/syncs/users.py", "User")

    assert lint(files, issues, users) == []
    [found] = lint(files, issues)
    assert (found.path, found.line, found.code) == ("shared/saving.py", 4, LintCode.UNKNOWN_MODEL)


def test_methods_of_a_class_are_judged_mildly() -> None:
    text = """
    class Store:
        def __init__(self, nango):
            self.nango = nango

        async def save_users(self):
            await self.nango.batch_save([], "User")

    async def fetch_data(nango):
        Store(nango)
    """
    [found] = lint_sync(text)

    assert (found.code, found.line, found.severity) == (LintCode.UNKNOWN_MODEL, 7, "warning")


def test_action_has_no_records() -> None:
    text = """
    async def run_action(nango, input):
        await nango.batch_save([], "Issue")
    """
    [found] = lint({ACTION: text}, action())

    assert (found.code, found.severity) == (LintCode.RECORDS_OUTSIDE_SYNC, "error")
    assert found.message == "There is no `nango.batch_save` here: only syncs have records."


def test_code_that_a_sync_shares_with_an_action_is_judged_mildly() -> None:
    shared = "async def save(nango):\n    await nango.batch_save([], 'Issue')\n"
    files = {
        SYNC: "from shared import save\nasync def fetch_data(nango):\n    await save(nango)\n",
        ACTION: "from shared import save\nasync def run_action(nango, input):\n"
        "    await save(nango)\n",
        "shared.py": shared,
    }
    [found] = lint(files, sync(), action())

    assert (found.code, found.severity) == (LintCode.RECORDS_OUTSIDE_SYNC, "warning")


@pytest.mark.parametrize(
    ("call", "hint"),
    [
        ("nango.batchSave([], 'Issue')", "did you mean `nango.batch_save`?"),
        ("nango.getMetadata()", "did you mean `nango.get_metadata`?"),
        ("nango.gett('/x')", "did you mean `nango.get`?"),
        ("nango.quite_something_else()", None),
    ],
)
def test_method_that_does_not_exist_is_told_with_what_was_meant(call: str, hint: str) -> None:
    [found] = lint_sync(body(f"await {call}"))

    assert (found.code, found.severity, found.hint) == (LintCode.UNKNOWN_METHOD, "error", hint)


def test_helper_is_known_by_its_name_its_type_and_its_place() -> None:
    text = """
    from perdure import NangoSync
    import perdure

    async def fetch_data(n):
        n.log("1")
        await one(n)
        await two(n)
        await three(n)
        await four(n)

    async def one(helper: NangoSync):
        helper.log("2")

    async def two(helper: "perdure.NangoSync"):
        helper.log("3")

    async def three(nango):
        nango.log("4")

    async def four(nango):
        nango = {}
        nango.log("something else")
    """
    assert [found.line for found in lint_sync(text)] == [6, 13, 16, 19]


def paired(text: str) -> list[tuple[str, int]]:
    found = lint_sync(body(text))
    return said([one for one in found if one.code is LintCode.TRACK_DELETES])


def test_tracking_of_deletes_is_begun_and_ended() -> None:
    start, end = "await nango.track_deletes_start", "await nango.track_deletes_end"
    code = LintCode.TRACK_DELETES

    assert paired(f"{start}('Issue')\n{end}('Issue')") == []
    assert paired(f"{start}('Issue')\nawait later()\nasync def later():\n    {end}('Issue')") == []
    assert paired(f"{start}('Issue')\n{end}(model)") == []
    assert paired(f"{start}('Issue')") == [(code, 3)]
    assert paired(f"{end}('Issue')") == [(code, 3)]
    assert paired(f"{start}('Issue')\n{end}('User')") == [(code, 3), (code, 4)]


@pytest.mark.parametrize(
    ("name", "python"),
    [
        ("batchSave", "batch_save"),
        ("getWebhookURL", "get_webhook_url"),
        ("zodValidateInput", "validate_input"),
        ("lastSyncDate", "last_sync_date"),
        ("try_aquire_lock", "try_acquire_lock"),
    ],
)
def test_name_in_camel_case_is_told_in_python(name: str, python: str) -> None:
    (found,) = lint_sync(body(f"x = nango.{name}\nprint(x)"))

    assert (found.code, found.hint) == (
        LintCode.UNKNOWN_METHOD,
        f"did you mean `nango.{python}`?",
    )


@pytest.mark.parametrize(
    "before",
    ["await nango.get('/a')", "await nango.batch_save([], 'Issue')"],
)
def test_a_merging_strategy_that_comes_too_late_is_pointed_at(before: str) -> None:
    strategy = "await nango.set_merging_strategy({'strategy': 'override'}, 'Issue')"

    found = lint_sync(body(f"{before}\n{strategy}"))

    assert said(found) == [(LintCode.MERGING_STRATEGY, 4)]
    assert found[0].severity == "warning"
    assert lint_sync(body(f"{strategy}\n{before}")) == []
