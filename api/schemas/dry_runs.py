"""Dry runs: what a script would do, found out by running it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import Field

from api.schemas.base import Answer, Body
from api.schemas.runs import RecordCounts, RunDetail

__all__ = ["DryRunStarted", "DryRunView", "NewDryRun"]


class NewDryRun(Body):
    """Which script is to be tried, for whom, and with what."""

    files: dict[str, str] = Field(
        description="Content by path below the project folder: `nango.yaml` and Python files."
    )
    script: str = Field(description="Name of the script, or the path of its file.")
    connection_id: str = Field(description="The connection it runs for.")
    integration: str | None = Field(None, description="Where several have a script of the name.")
    input: Any = Field(None, description="Input of an action.")
    metadata: dict[str, Any] | None = Field(
        None, description="In place of the connection's metadata."
    )
    checkpoint: dict[str, str | int | float | bool] | None = Field(
        None, description="The checkpoint that it goes on from."
    )
    last_sync_date: datetime | None = Field(
        None, description="Start of the last successful run, as the script is told."
    )
    variant: str = Field("base", pattern=r"^[a-zA-Z0-9_-]+$", max_length=255)
    validate_values: bool = Field(
        default=False,
        alias="validate",
        description="Fail where a value does not fit its model, however strict the environment is.",
    )
    keep_requests: bool = Field(
        default=False, description="Keep requests and answers for the fixture of a test."
    )


class DryRunStarted(Answer):
    """A dry run that goes on by itself."""

    run_id: str
    kind: str
    integration: str
    script: str
    path: str = Field(description="File of the script.")
    bundle: str
    warnings: list[str]


class PreviewRow(Answer):
    """A record and its fate."""

    fate: str
    id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class PreviewOfModel(Answer):
    """What would become of the records of a model; `rows` are the first ones that change."""

    counts: RecordCounts
    rows: list[PreviewRow]


class DryRunView(Answer):
    """A dry run as it stands, and once it has ended what it would have done."""

    run: RunDetail
    records: dict[str, PreviewOfModel] | None
    checkpoint: dict[str, Any] | None
    metadata: dict[str, Any] | None
    output: Any
    fixture: dict[str, Any] | None
    fixture_refused: str | None
