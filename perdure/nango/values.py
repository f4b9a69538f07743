"""Values that scripts hand to the helper and get from it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NotRequired, Protocol, TypeAlias, TypedDict

__all__ = [
    "LOG_LEVELS",
    "CheckpointValue",
    "DeletedKeys",
    "EnvironmentVariable",
    "JsonObject",
    "LogLevel",
    "LoggerLevel",
    "MergingStrategy",
    "NamedSync",
    "Pages",
    "PaginateOptions",
    "Record",
    "RequestOptions",
    "Response",
    "SavedPages",
]

JsonObject: TypeAlias = Mapping[str, Any]
"""A decoded JSON object."""

CheckpointValue: TypeAlias = str | int | float | bool
"""One value of a checkpoint."""

LogLevel: TypeAlias = Literal["debug", "info", "warn", "error"]

LoggerLevel: TypeAlias = LogLevel | Literal["off"]
"""The least grave lines that are kept; `off` keeps none."""

LOG_LEVELS: Mapping[str, LogLevel] = {
    "debug": "debug",
    "info": "info",
    "warn": "warn",
    "error": "error",
    "verbose": "debug",
    "silly": "debug",
    "http": "info",
    "warning": "warn",
}
"""Levels by each of their names."""


class _Model(Protocol):
    """A pydantic model, as far as the helper looks at it."""

    @property
    def model_dump(self) -> Callable[..., dict[str, Any]]: ...


Record: TypeAlias = JsonObject | _Model
"""One record: an instance of a generated model, or a plain mapping with an `id`."""


class MergingStrategy(TypedDict):
    """What becomes of records that others changed while a run is under way.

    Attributes:
        strategy: `override` writes over them, as it is without a strategy.
            `ignore_if_modified_after` leaves those alone that others changed after the call.
    """

    strategy: Literal["override", "ignore_if_modified_after"]


class DeletedKeys(TypedDict):
    """What was deleted because it was not seen.

    Attributes:
        deletedKeys: Ids, the first 10,000.
        deletedCount: How many there are in all.
        held: Whether nothing was deleted, because it was to be so much that somebody has to
            confirm it.
    """

    deletedKeys: list[str]
    deletedCount: int
    held: bool


@dataclass(frozen=True, slots=True)
class Response:
    """The answer of the external API.

    Attributes:
        status: HTTP status.
        headers: Headers with lower-case names.
        data: Decoded body: JSON where the answer says so, text otherwise, bytes where
            `response_type="arraybuffer"` was asked for.
    """

    status: int
    headers: Mapping[str, str]
    data: Any


class EnvironmentVariable(TypedDict):
    """A variable of the environment."""

    name: str
    value: str


class NamedSync(TypedDict):
    """A sync in one of its variants."""

    name: str
    variant: NotRequired[str]


class RequestOptions(TypedDict, total=False):
    """Options of the HTTP methods; all are optional.

    Attributes:
        params: Query parameters, as a mapping or as `"a=b"`.
        headers: Headers, over those of the provider.
        data: Body: JSON, or a form where `content-type` says so.
        retries: Further attempts on transient failures. What a sync does without it is in
            `docs/helper.md`: idempotent requests are retried until the policy's limit.
        retry_on: Further status codes that count as transient.
        retry_header: Where the waiting time stands: `{"at": name(s), "after": name(s)}`.
        base_url_override: Instead of the provider's base URL.
        response_type: How the body is decoded.
        decompress: Whether a compressed body is decompressed even without a header saying so.
        forward_headers_on_redirect: Whether credentials follow a redirect to another origin.
        provider_config_key: Another integration than the script's own.
        connection_id: Another connection than the run's own.
        timeout: Seconds one attempt may take. Default 60.
    """

    params: str | Mapping[str, Any]
    headers: Mapping[str, str]
    data: Any
    retries: int
    retry_on: Sequence[int]
    retry_header: Mapping[str, str | Sequence[str]]
    base_url_override: str
    response_type: Literal["json", "text", "arraybuffer", "blob", "document", "stream"]
    decompress: bool
    forward_headers_on_redirect: bool
    provider_config_key: str
    connection_id: str
    timeout: float


PaginateOptions: TypeAlias = Mapping[str, Any]
"""How an endpoint is paginated; see `docs/helper.md` for the fields of each type."""


@dataclass(frozen=True, slots=True)
class SavedPages:
    """What became of pages that were saved, or deleted, past the script.

    Attributes:
        pages: How many there were.
        added: Records that are new, or back after a deletion.
        updated: Records that were there with another content.
        deleted: Records that were marked as deleted.
        unchanged: Records that were there already as they came.
    """

    pages: int
    added: int = 0
    updated: int = 0
    deleted: int = 0
    unchanged: int = 0


class Pages(ABC):
    """The pages of a paginated endpoint: iterate over it with `async for`, or `save` them."""

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[list[Any]]: ...

    @abstractmethod
    async def save(
        self,
        model: str,
        *,
        map: Callable[[Any], Any] | None = None,
        where: Callable[[Any], bool] | None = None,
        on_page: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> SavedPages:
        """Save all pages as records, without having them go through the script.

        It does what a loop with `batch_save` does, many times faster: pages are fetched, mapped,
        checked and saved in steps of some seconds to minutes, and the next page is fetched while
        one is saved. Records and the place of the next page are committed together, so a run
        that is interrupted goes on at its page.

        The functions must stand at the top level of the script or of a module of the project, and
        neither be async nor call `nango`. They run outside the workflow and may be called again
        for a page after an interruption, so they should do nothing but compute.

        Args:
            model: One of the sync's output models.
            map: Makes of an element of a page a record, a list of records, or None for no record.
                Default: the elements are the records.
            where: Is given each record as `map` made it, and says whether it is kept.
            on_page: Is given `{"next_page_param", "response"}` for each page before it is saved.
                Where it returns False, that page is the last one.

        Returns:
            What became of the records, from the first page on.

        Raises:
            HttpError: The API refused a page. The pages before it are saved.
            HelperError: `invalid_step`, a function cannot be found by its name; `invalid_record`,
                `missing_id` or `invalid_sync_record`, where nothing of the page is saved; or the
                code of what a function raised, with its file and line.
            ActionError: A function raised it.
        """

    @abstractmethod
    async def delete(
        self,
        model: str,
        *,
        map: Callable[[Any], Any] | None = None,
        where: Callable[[Any], bool] | None = None,
        on_page: Callable[[Mapping[str, Any]], Any] | None = None,
    ) -> SavedPages:
        """Mark the records that all pages name as deleted, as `batch_delete` does.

        Args:
            model: One of the sync's output models.
            map: As of `save`. Of what it makes, only `id` and `deletedAt` matter.
            where: As of `save`.
            on_page: As of `save`.

        Raises:
            HttpError: As `save`.
            HelperError: As `save`, or a `deletedAt` is no moment.
            ActionError: As `save`.
        """
