"""What `perdure dev` is told, and what it needs from the code that deploys a project."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from perdure.app.dev.folder import DevFile

__all__ = ["DeployOutcome", "DeployProject", "DevOptions", "Programs"]


@dataclass(frozen=True, slots=True)
class DevOptions:
    """What to run, and where.

    Attributes:
        data_dir: Folder of all state; created when missing, taken up again later.
        project: Project folder to deploy, None for none.
        port: Port of the API; like the other two 0 for any free one.
        temporal_port: Port of Temporal.
        ui_port: Port of Temporal's web interface.
        watch: Whether the project is deployed again when it changes.
    """

    data_dir: Path
    project: Path | None = None
    port: int = 3003
    temporal_port: int = 7233
    ui_port: int = 8233
    watch: bool = True


@dataclass(frozen=True, slots=True)
class DeployOutcome:
    """How a deploy went.

    Attributes:
        summary: One line that says what was deployed, or that nothing was.
        problems: What has to be mended, a line each; empty when it went well.
    """

    summary: str
    problems: tuple[str, ...] = ()


class DeployProject(Protocol):
    """Deploys a project folder to the running stack."""

    async def __call__(self, project: Path, stack: DevFile) -> DeployOutcome:
        """Deploy.

        Args:
            project: The project folder.
            stack: Where the API is, and the key for it.

        Raises:
            PerdureError: It could not be done; shown as a problem, the stack stays up.
        """
        ...


@dataclass(frozen=True, slots=True)
class Programs:
    """The commands of our own processes.

    Attributes:
        api: Serves the API; ready when `GET /health` answers 200.
        worker: Runs the workers; ready when it has created the file `PERDURE_READY_FILE`.
        migrate: Brings database and Temporal up to date and ends; may be run again and again.
    """

    api: tuple[str, ...] = (sys.executable, "-m", "perdure", "api")
    worker: tuple[str, ...] = (sys.executable, "-m", "perdure", "worker")
    migrate: tuple[str, ...] = (sys.executable, "-m", "perdure", "migrate")
