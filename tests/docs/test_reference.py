"""What is written from the code has everything of it, and says something of each part."""

from __future__ import annotations

import re

from config.settings import Settings
from docs.reference import PAGES
from docs.reference.helper import camel_names, public_names
from perdure import NangoAction, NangoSync
from perdure.app.cli.main import app
from perdure.nango.naming import python_name


def test_every_command_has_a_section() -> None:
    page = PAGES["cli.md"]()
    names = [name for name in app if not name.startswith("-")]
    assert len(names) > 25
    for name in names:
        assert re.search(
            rf"^## `perdure {name}`\n\n(```console\nperdure {name}[ \n]|\w)", page, re.M
        )


def test_no_placeholder_is_taken_for_html() -> None:
    prose = re.sub(r"```.*?```|`[^`]*`", "", PAGES["cli.md"](), flags=re.DOTALL)
    assert re.findall(r"<[A-Za-z]+>", prose) == []


def test_every_setting_has_a_row_that_says_what_it_is() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| (.+?) \| (.+) \|$", PAGES["settings.md"](), re.M)
    assert len(rows) == len(Settings.model_fields)
    assert [name for name, _, meaning in rows if not meaning.strip()] == []


def test_every_call_of_the_helper_is_described() -> None:
    page = PAGES["helper.md"]()
    for name in {*public_names(NangoAction), *public_names(NangoSync)}:
        assert re.search(rf"^### `nango\.{name}`.*\n\n```python\n.+\n```\n\n\w", page, re.M), name


def test_page_of_the_helper_has_every_call_and_the_names_it_goes_by_elsewhere() -> None:
    told = camel_names()
    attributes = {*NangoAction.__annotations__, *NangoSync.__annotations__}
    shortcuts = {"post", "put", "patch", "delete"}
    assert {*public_names(NangoSync), *attributes} - shortcuts == told.keys()
    assert {name: python_name(camel) for name, camel in told.items() if camel} == {
        name: name for name, camel in told.items() if camel
    }


def test_requests_and_answers_lead_to_objects_that_are_there() -> None:
    page = PAGES["rest.md"]()
    names = set(re.findall(r"\]\(#(\w+)\)", page))
    assert len(names) > 100
    assert names <= {"objects", *(name.lower() for name in re.findall(r"^### (\w+)$", page, re.M))}
