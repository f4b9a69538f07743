"""docs/rest.md tells of every endpoint, with the scope that it asks for."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import FastAPI

from api.openapi import openapi_document
from api.scopes import RULES, Rule

DOCS = Path(__file__).parents[2] / "docs"
ROW = re.compile(r"^\| `([A-Z]+) (/\S*)` \| (.+) \|$", re.MULTILINE)


def told() -> dict[tuple[str, str], str]:
    rows = ROW.findall((DOCS / "rest.md").read_text())
    assert len(rows) == len({row[:2] for row in rows}), "an endpoint stands there twice"
    return {("*" if method == "ANY" else method, path): scope for method, path, scope in rows}


def in_words(rule: Rule) -> str:
    if rule.scopes is None:
        return "—"
    return " or ".join(f"`{scope}`" for scope in rule.scopes) or "any key"


def test_page_has_every_endpoint_with_its_scope() -> None:
    rules = {(method, path.replace(":path}", "}")): rule for (method, path), rule in RULES.items()}
    assert told() == {endpoint: in_words(rule) for endpoint, rule in rules.items()}


def test_page_has_everything_that_the_openapi_document_has(app: FastAPI) -> None:
    described = {
        (method.upper(), path)
        for path, operations in openapi_document(app)["paths"].items()
        for method in operations
    }
    assert described <= told().keys()


def test_pages_that_it_names_are_there() -> None:
    text = (DOCS / "rest.md").read_text()
    names = re.findall(r"\]\(([^)#]+\.md)", text)
    assert len(names) > 10
    for name in names:
        assert (DOCS / name).is_file(), name
