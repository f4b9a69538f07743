"""Deploys the project folder at start and on every change, and says how it went."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

from perdure.app.dev.contract import DeployOutcome, DeployProject
from perdure.app.dev.folder import DevFile
from perdure.errors import PerdureError

__all__ = ["keep_deployed"]

_SOURCES = frozenset({".py", ".yaml", ".yml"})


class _Sources(DefaultFilter):
    """Lets pass what a deploy reads."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(ignore_paths=[data_dir])

    def __call__(self, change: Change, path: str) -> bool:
        return Path(path).suffix in _SOURCES and super().__call__(change, path)


async def keep_deployed(
    project: Path,
    deploy: DeployProject,
    stack: Callable[[], DevFile],
    *,
    data_dir: Path,
    watch: bool,
    say: Callable[[str, str], None],
) -> None:
    """Deploy a project, and if wanted again whenever it changes; then runs until cancelled.

    A deploy that fails is reported, and the next change tries again.

    Args:
        project: The project folder.
        deploy: Deploys it.
        stack: Returns where the stack is at the moment.
        data_dir: Data folder of the stack; changes in it do not count.
        watch: Whether to deploy again.
        say: Called with what happened, for people.
    """
    if not watch:
        await _deploy(project, deploy, stack(), say)
        return
    changed = asyncio.Event()
    changed.set()

    async def note_changes() -> None:
        async for _ in awatch(
            project, watch_filter=_Sources(data_dir), ignore_permission_denied=True
        ):
            changed.set()

    async with asyncio.TaskGroup() as tasks:
        # Watched from before the first deploy on: a change during a deploy causes another one.
        tasks.create_task(note_changes())
        await asyncio.sleep(0)
        while True:
            await changed.wait()
            changed.clear()
            await _deploy(project, deploy, stack(), say)


async def _deploy(
    project: Path, deploy: DeployProject, stack: DevFile, say: Callable[[str, str], None]
) -> None:
    try:
        outcome = await deploy(project, stack)
    except PerdureError as error:
        outcome = DeployOutcome("the deploy failed", (error.message,))
    except Exception as error:  # noqa: BLE001 - a fault of the deploy must not end the stack
        outcome = DeployOutcome("the deploy failed", (f"{type(error).__name__}: {error}",))
    lines = [outcome.summary, *(f"  {problem}" for problem in outcome.problems)]
    say("deploy", "\n".join(lines))
