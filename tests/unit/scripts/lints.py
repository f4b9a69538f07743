"""Scripts to check, in a few words."""

from __future__ import annotations

from collections.abc import Mapping
from textwrap import dedent

from perdure.scripts.bundle import ScriptKind
from perdure.scripts.lint import DeclaredScript, Finding, lint_scripts

SYNC = "acme/syncs/issues.py"
ACTION = "acme/actions/create.py"


def sync(path: str = SYNC, *models: str, webhooks: bool = False) -> DeclaredScript:
    name = path.rpartition("/")[2].removesuffix(".py")
    return DeclaredScript(
        path, ScriptKind.SYNC, name, models=models or ("Issue",), takes_webhooks=webhooks
    )


def action(path: str = ACTION, *, takes_input: bool = True) -> DeclaredScript:
    return DeclaredScript(path, ScriptKind.ACTION, "create", takes_input=takes_input)


def lint(files: Mapping[str, str], *scripts: DeclaredScript) -> list[Finding]:
    """Return what is found in a project; its files may be indented."""
    return lint_scripts({path: dedent(text) for path, text in files.items()}, scripts)


def lint_sync(text: str, **others: str) -> list[Finding]:
    """Return what is found in the one sync of a project, which saves the model `Issue`."""
    return lint({SYNC: text, **others}, sync())


def body(text: str) -> str:
    """Return a sync that does what `text` says; its first line is the third one of the file."""
    lines = dedent(text).strip("\n").splitlines()
    head = ["import asyncio", "async def fetch_data(nango):"]
    return "\n".join([*head, *(f"    {line}" for line in lines), ""])


def said(findings: list[Finding]) -> list[tuple[str, int]]:
    return [(found.code, found.line) for found in findings]
