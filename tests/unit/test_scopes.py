"""Scopes: what each stands for."""

from __future__ import annotations

import pytest

from api.scopes import SCOPES, expand, is_scope


def test_a_scope_stands_for_itself_only() -> None:
    assert expand(["environment:connections:read"]) == {"environment:connections:read"}


def test_an_asterisk_stands_for_all_below_it() -> None:
    granted = expand(["environment:connections:*"])

    assert "environment:connections:read_credentials" in granted
    assert all(name.startswith("environment:connections:") for name in granted)
    assert "environment:syncs:variant:create" in expand(["environment:syncs:variant:*"])
    assert expand(["*"]) == set(SCOPES)


def test_an_environment_is_not_the_account() -> None:
    assert not any(name.startswith("account:") for name in expand(["environment:*"]))


@pytest.mark.parametrize(
    "text", ["", "environment", "environment:conn*", "environment:nothing:*", "read", ":*", "**"]
)
def test_what_is_no_scope_is_known_as_none(text: str) -> None:
    assert not is_scope(text)
