"""Builds of the worker, as people and programs read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from perdure.app.cli.render.answers import moment
from perdure.app.cli.render.terminal import print_json, print_table

if TYPE_CHECKING:
    from perdure.temporal.worker_builds import Build

__all__ = ["builds", "plain_builds"]


def builds(found: Iterable[Build]) -> None:
    """Print builds, the newest first."""
    print_table(
        ("Build", "Status", "Share", "Since"),
        [
            (
                build.name,
                build.status,
                f"{build.percent:g} %" if build.percent else "",
                moment(build.since.isoformat()) if build.since else "",
            )
            for build in found
        ],
        whole=("Build", "Status"),
        empty="No worker has asked for work yet.",
    )


def plain_builds(found: Iterable[Build]) -> None:
    """Print builds as JSON, the newest first."""
    data = [
        {
            "build": build.name,
            "status": build.status,
            "percent": build.percent,
            "since": build.since.isoformat() if build.since else None,
        }
        for build in found
    ]
    print_json({"data": data})
