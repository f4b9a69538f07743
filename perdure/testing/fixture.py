"""The file that a test of a script stands on: what the script was told, and what it did.

It has the shape of Nango's: `input`, `output`, what the helper returned and was given under
`nango`, and the answers of the external API under `api`, by method and path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from perdure.errors import InvalidInputError

__all__ = ["Answer", "Fixture", "Helper", "read_fixture"]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Answer(_Part):
    """One answer of the external API.

    Attributes:
        response: The decoded body, base64 where `is_base64` says so.
        status: HTTP status.
        headers: Headers with lower-case names.
        params: Query parameters it answers; None answers any.
    """

    response: Any = None
    status: int = 200
    headers: dict[str, str] = {}
    params: dict[str, Any] | None = None
    is_base64: bool = False


class Helper(_Part):
    """What the helper returns, and what it was given when the fixture was recorded.

    Attributes:
        connection: What `get_connection` returns, over what a test's connection has by itself.
        paginate: How the provider paginates by itself; by default as the catalogue says.
        metadata: What `get_metadata` returns.
        integration: What `get_integration` returns, likewise.
        variables: Environment variables by name.
        checkpoint: The checkpoint that the script finds.
        last_sync_date: `nango.last_sync_date`.
        variant: `nango.variant`.
        records: What the cache holds before, by model.
        outputs: What triggered actions return, by name; of a list each call gets the next one.
        saved: Expected: records that were saved, by model, as they are in the end.
        deleted: Expected: records that were deleted, by model.
        left_checkpoint: Expected: the checkpoint that is left.
    """

    connection: dict[str, Any] = Field(default={}, alias="getConnection")
    paginate: dict[str, Any] | None = None
    metadata: dict[str, Any] = Field(default={}, alias="getMetadata")
    integration: dict[str, Any] = Field(default={}, alias="getIntegration")
    variables: dict[str, str] = Field(default={}, alias="getEnvironmentVariables")
    checkpoint: dict[str, Any] | None = Field(default=None, alias="getCheckpoint")
    last_sync_date: datetime | None = Field(default=None, alias="lastSyncDate")
    variant: str = "base"
    records: dict[str, list[dict[str, Any]]] = Field(default={}, alias="listRecords")
    outputs: dict[str, Any] = Field(default={}, alias="triggerAction")
    saved: dict[str, list[dict[str, Any]]] = Field(default={}, alias="batchSave")
    deleted: dict[str, list[dict[str, Any]]] = Field(default={}, alias="batchDelete")
    left_checkpoint: dict[str, Any] | None = Field(default=None, alias="saveCheckpoint")

    @field_validator("variables", mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        if isinstance(value, Sequence) and not isinstance(value, str):
            return {entry["name"]: entry["value"] for entry in value}
        return value


class Fixture(_Part):
    """All that a test of a script stands on; every part may be left out.

    Attributes:
        input: Input of an action.
        output: Expected: what the action returns.
        script: Path of the script below the project folder, where the file says it.
        helper: `nango` in the file.
        api: Answers by method and path; one answer is given to every request that it fits, of a
            list each is given once, in order.
    """

    input: Any = None
    output: Any = None
    script: str | None = None
    helper: Helper = Field(default=Helper(), alias="nango")
    api: dict[str, dict[str, Answer | list[Answer]]] = {}

    def with_changes(self, **changes: Any) -> Fixture:
        """Return the fixture with some of its values exchanged.

        Args:
            **changes: `input`, `api`, or anything that `Helper` has.
        """
        unknown = changes.keys() - {"input", "api"} - Helper.model_fields.keys()
        if unknown:
            msg = f"A fixture has no {', '.join(sorted(unknown))}"
            raise TypeError(msg)
        helper = {k: v for k, v in changes.items() if k in Helper.model_fields}
        parts = {k: v for k, v in changes.items() if k not in helper}
        whole = {"input": self.input, "output": self.output, "script": self.script, "api": self.api}
        told = Helper.model_validate({**dict(self.helper), **helper})
        return Fixture.model_validate({**whole, **parts, "helper": told})


def read_fixture(source: Path | Mapping[str, Any]) -> Fixture:
    """Read a fixture.

    Args:
        source: A file, or its decoded content.

    Raises:
        InvalidInputError: It cannot be read; the message says where and what to do.
    """
    if isinstance(source, Path):
        try:
            content = json.loads(source.read_text("utf-8"))
        except FileNotFoundError:
            msg = f"There is no fixture {source}. `perdure dryrun ... --save` records one."
            raise InvalidInputError(msg, code="fixture_not_found") from None
        except ValueError as error:
            msg = f"The fixture {source} is no JSON: {error}"
            raise InvalidInputError(msg, code="invalid_fixture") from error
    else:
        content = source
    try:
        return Fixture.model_validate(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        name = source if isinstance(source, Path) else "that was given"
        msg = f"The fixture {name}, {where}: {first['msg']}"
        raise InvalidInputError(msg, code="invalid_fixture") from error
