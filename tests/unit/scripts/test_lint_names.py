"""Names that a module of the project does not have."""

from __future__ import annotations

import pytest

from perdure.scripts.bundle import MODELS_FILE
from perdure.scripts.lint import LintCode
from tests.unit.scripts.lints import SYNC, lint, lint_sync, said, sync

API = "def call():\n    return 1\n"
FETCH = "\nasync def fetch_data(nango):\n    "


def test_name_that_is_imported_and_not_there_is_told_with_the_nearest() -> None:
    (found,) = lint_sync(f"from shared.api import cal{FETCH}cal()\n", **{"shared/api.py": API})

    assert (found.code, found.path, found.line, found.severity) == (
        LintCode.IMPORT,
        SYNC,
        1,
        "error",
    )
    assert found.message == "There is no `cal` in shared/api.py."
    assert found.hint == "did you mean `call`?"


def test_module_that_scripts_import_is_looked_at_like_a_script() -> None:
    files = {"shared/api.py": API, "shared/more.py": "from .api import gone\n"}

    (found,) = lint_sync(f"import shared.more{FETCH}pass\n", **files)

    assert (found.code, found.path) == (LintCode.IMPORT, "shared/more.py")


def test_file_that_no_script_imports_is_not_looked_at() -> None:
    files = {"shared/api.py": API, "old.py": "from shared.api import gone\n"}

    assert lint_sync(f"pass{FETCH}pass\n", **files) == []


@pytest.mark.parametrize(
    "text",
    [
        f"from shared import api{FETCH}api.gone()\n",
        f"import shared.api{FETCH}shared.api.gone()\n",
        f"import shared.api as it{FETCH}await nango.run(it.gone)\n",
        f"import shared{FETCH}from shared.api import gone\n",
        f"import sys\nif sys.argv:\n    from shared.api import gone{FETCH}pass\n",
    ],
)
def test_name_that_may_never_be_asked_for_is_told_under_another_code(text: str) -> None:
    (found,) = lint_sync(text, **{"shared/api.py": API})

    assert (found.code, found.message) == (
        LintCode.UNKNOWN_NAME,
        "There is no `gone` in shared/api.py.",
    )


@pytest.mark.parametrize(
    "module",
    [
        "def name(): ...\n",
        "class name: ...\n",
        "name = 1\n",
        "name: int = 1\n",
        "import name\n",
        "from elsewhere import x as name\n",
        "from elsewhere import *\n",
        "from shared.other import *\n",
        "if 1:\n    def name(): ...\n",
        "for name in (): ...\n",
        "with x as name: ...\n",
        "def make():\n    global name\n    name = 1\n",
        "def __getattr__(wanted): return 1\n",
        "globals()['name'] = 1\n",
        "match 1:\n    case name: ...\n",
        "(a, [name]) = 1, [2]\n",
    ],
)
def test_name_that_a_module_has_or_may_have_is_fine(module: str) -> None:
    files = {"shared/api.py": module, "shared/other.py": "name = 1\n"}

    assert lint_sync(f"from shared.api import name{FETCH}pass\n", **files) == []


@pytest.mark.parametrize(
    "text",
    [
        f"try:\n    from shared.api import gone\nexcept ImportError:\n    gone = None{FETCH}pass\n",
        f"from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n"
        f"    from shared.api import gone{FETCH}pass\n",
        f"from shared import api{FETCH}api.__name__\n",
        f"from shared import api{FETCH}api.cache = 1\n    api.cache\n",
        f"from shared import api{FETCH}api = nango\n    api.gone\n",
        f"from shared import api{FETCH}api.call.cache_clear()\n",
        f"from github import Github{FETCH}Github.gone\n",
        f"from shared import *{FETCH}gone()\n",
        f"import os as api\ndef f():\n    from shared import api\n    api.call(){FETCH}api.path\n",
    ],
)
def test_what_is_prepared_for_or_not_certain_is_left_alone(text: str) -> None:
    found = lint_sync(text, **{"shared/api.py": API, "github/syncs/x.py": ""})

    assert {one.code for one in found} <= {LintCode.FORBIDDEN}


def test_modules_below_a_package_are_names_of_it() -> None:
    files = {"shared/__init__.py": "", "shared/api.py": API, "shared/deep/x.py": ""}
    text = f"from shared import api, deep\nimport shared.api{FETCH}shared.api.call()\n"

    assert lint_sync(text, **files) == []


def test_models_are_those_that_are_generated() -> None:
    files = {
        SYNC: f"from models import Issue, Isue{FETCH}pass\n",
        MODELS_FILE: "class Issue: ...\n",
    }

    (found,) = lint(files, sync())

    assert said([found]) == [(LintCode.IMPORT, 1)]
    assert found.message == "There is no `Isue` in models.py."


def test_module_that_does_not_parse_has_any_name() -> None:
    found = lint_sync(f"from shared.api import x{FETCH}pass\n", **{"shared/api.py": "def (\n"})

    assert {one.code for one in found} == {LintCode.SYNTAX}
