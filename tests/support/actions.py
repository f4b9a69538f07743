"""Actions in a few words, for tests of what the helper does."""

from __future__ import annotations

from textwrap import dedent, indent
from typing import Any

from temporalio.client import WorkflowHandle

from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack


def action(body: str) -> str:
    """Return the script of an action with this body."""
    return f"async def run_action(nango, input=None):\n{indent(dedent(body), '    ')}"


async def start(
    stack: Stack, source: Source, body: str, value: Any = None, **connection: Any
) -> WorkflowHandle[Any, Any]:
    """Start an action with this body."""
    await stack.deploy(project(action=action(body)))
    return await stack.start_action(await stack.connect(source.url, **connection), value)


async def call(
    stack: Stack, source: Source, body: str, value: Any = None, **connection: Any
) -> Any:
    """Run an action with this body and return its output."""
    return (await (await start(stack, source, body, value, **connection)).result())["output"]
