"""Small projects to deploy in tests."""

from __future__ import annotations

from textwrap import dedent

CONFIG = """
integrations:
  tracker:
    syncs:
      issues:
        description: All issues
        runs: every day
        sync_type: full
        output: Issue
        endpoint: GET /issues
        auto_start: {auto_start}
    actions:
      echo:
        description: Returns its input
{typed}        endpoint: POST /echo
models:
  Issue:
    id: string
    title: string
  Echo:
    text: string
"""

PAGINATED = """
from perdure import NangoSync
from models import Issue


async def fetch_data(nango: NangoSync) -> None:
    async for page in nango.paginate(
        endpoint="/issues",
        paginate={
            "type": "cursor",
            "cursor_name_in_request": "cursor",
            "cursor_path_in_response": "next",
            "response_path": "items",
        },
    ):
        await nango.batch_save([Issue(id=i["id"], title=i["title"]) for i in page], "Issue")
"""

ECHO = """
async def run_action(nango, input):
    return {"text": input["text"]}
"""

WAITING = """
import asyncio

async def fetch_data(nango):
    await nango.batch_save([{"id": "1", "title": "saved"}], "Issue")
    while not (await nango.get_metadata()).get("go"):
        await asyncio.sleep(0.2)
    await nango.batch_save([{"id": "2", "title": "old"}], "Issue")
"""
"""A sync that goes on when it is let go: see `Stack.go`."""


def project(
    sync: str = PAGINATED, action: str = ECHO, *, auto_start: bool = False, typed: bool = False
) -> dict[str, str]:
    """Return a project whose integration `tracker` has the sync `issues` and the action `echo`.

    Args:
        sync: Script of the sync.
        action: Script of the action.
        auto_start: Whether the sync starts by itself.
        typed: Whether the action declares its input and output, both `Echo`.
    """
    models = "        input: Echo\n        output: Echo\n" if typed else ""
    return {
        "nango.yaml": CONFIG.format(auto_start=str(auto_start).lower(), typed=models),
        "tracker/syncs/issues.py": dedent(sync),
        "tracker/actions/echo.py": dedent(action),
    }
