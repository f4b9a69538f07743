"""The helper that every script receives, as its authors see it.

The classes here are the contract only: in a run the durable implementation of
`workflows.nango` stands behind them, and in tests a fake may. Everything a script needs to
import from Perdure is re-exported by the package itself: `from perdure import NangoSync`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, ParamSpec, Protocol, TypeAlias, TypedDict, TypeVar, Unpack

__all__ = [
    "ActionError",
    "HelperError",
    "HttpError",
    "JsonObject",
    "LogLevel",
    "NangoAction",
    "NangoSync",
    "Pages",
    "PaginateOptions",
    "Record",
    "RequestOptions",
    "Response",
]

P = ParamSpec("P")
T = TypeVar("T")

JsonObject: TypeAlias = Mapping[str, Any]
"""A decoded JSON object."""

LogLevel: TypeAlias = Literal["debug", "info", "warn", "error"]


class _Model(Protocol):
    """A pydantic model, as far as the helper looks at it."""

    @property
    def model_dump(self) -> Callable[..., dict[str, Any]]: ...


Record: TypeAlias = JsonObject | _Model
"""One record: an instance of a generated model, or a plain mapping with an `id`."""


class ActionError(Exception):
    """Raise it in a script to end the run with a payload of your own for the caller.

    Args:
        payload: Any JSON value. What is not an object is wrapped as `{"message": payload}`.
    """

    def __init__(self, payload: Any = None) -> None:
        self.payload: JsonObject = payload if isinstance(payload, Mapping) else {"message": payload}
        super().__init__(str(self.payload.get("message", dict(self.payload))))


class HelperError(Exception):
    """A helper call was used wrongly, or what it needs does not exist.

    Attributes:
        code: Stable name of the error, such as `missing_id` or `unknown_model`.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


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


class HttpError(Exception):
    """The external API refused a request, or could not be reached for as long as policy allows.

    Attributes:
        status: Status of the answer, None when none came.
        response: The answer itself, None when none came.
    """

    def __init__(self, message: str, response: Response | None = None) -> None:
        super().__init__(message)
        self.response = response
        self.status = response.status if response else None


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


class Pages(ABC):
    """The pages of a paginated endpoint: iterate over it with `async for`."""

    @abstractmethod
    def __aiter__(self) -> AsyncIterator[list[Any]]: ...


class NangoAction(ABC):
    """The helper of actions and on-event scripts; syncs get `NangoSync`, which adds records.

    Attributes:
        connection_id: Name of the connection the run works for.
        provider_config_key: Key of the integration.
        provider: Name of the provider.
        environment_name: Name of the environment.
        run_id: Id of the run, the same as in the Temporal UI.
        bundle: Content hash of the deployed bundle the run is pinned to.
    """

    connection_id: str
    provider_config_key: str
    provider: str
    environment_name: str
    run_id: str
    bundle: str

    ActionError = ActionError

    @abstractmethod
    async def proxy(
        self,
        endpoint: str,
        *,
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET",
        **options: Unpack[RequestOptions],
    ) -> Response:
        """Make one request to the external API with the connection's credentials.

        Args:
            endpoint: Path below the provider's base URL, or an absolute URL that starts with it.
            method: HTTP method.
            **options: See `RequestOptions`.

        Raises:
            HttpError: The API answered with a lasting refusal, or the attempts are used up.
        """

    async def get(self, endpoint: str, **options: Unpack[RequestOptions]) -> Response:
        """Make a GET request; see `proxy`."""
        return await self.proxy(endpoint, method="GET", **options)

    async def post(self, endpoint: str, **options: Unpack[RequestOptions]) -> Response:
        """Make a POST request; see `proxy`."""
        return await self.proxy(endpoint, method="POST", **options)

    async def put(self, endpoint: str, **options: Unpack[RequestOptions]) -> Response:
        """Make a PUT request; see `proxy`."""
        return await self.proxy(endpoint, method="PUT", **options)

    async def patch(self, endpoint: str, **options: Unpack[RequestOptions]) -> Response:
        """Make a PATCH request; see `proxy`."""
        return await self.proxy(endpoint, method="PATCH", **options)

    async def delete(self, endpoint: str, **options: Unpack[RequestOptions]) -> Response:
        """Make a DELETE request; see `proxy`."""
        return await self.proxy(endpoint, method="DELETE", **options)

    @abstractmethod
    def paginate(
        self,
        endpoint: str,
        *,
        method: Literal["GET", "POST", "PUT", "PATCH"] = "GET",
        paginate: PaginateOptions | None = None,
        **options: Unpack[RequestOptions],
    ) -> Pages:
        """Iterate over all pages of an endpoint; each page is a list.

        Args:
            endpoint: Path below the provider's base URL.
            method: HTTP method.
            paginate: Overrides of the provider's pagination, or all of it where the provider
                has none. Additive to Nango's: `cursor_path_in_last_item` and
                `has_more_path_in_response`.
            **options: See `RequestOptions`.

        Raises:
            HttpError: As `proxy`.
            HelperError: Neither the provider nor the call says how the endpoint is paginated,
                or the answer has no list where `response_path` says.
        """

    @abstractmethod
    async def log(self, *args: Any, level: LogLevel = "info") -> None:
        """Write a line to the run's log.

        Args:
            *args: Joined by spaces; what is not a string is written as JSON.
            level: `debug`, `info`, `warn` or `error`.

        Raises:
            HelperError: `invalid_options`, there is no such level.
        """

    @abstractmethod
    async def get_connection(
        self, provider_config_key: str | None = None, connection_id: str | None = None
    ) -> dict[str, Any]:
        """Return a connection with its credentials, by default the run's own.

        The result is encrypted in the run's history, and so is every later step that carries
        one of its secrets.
        """

    @abstractmethod
    async def get_metadata(self) -> dict[str, Any]:
        """Return the connection's metadata, `{}` where it has none."""

    @abstractmethod
    async def run(
        self, fn: Callable[P, Awaitable[T]] | Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Run a function of the script as a step of its own, outside the deterministic sandbox.

        Files, threads, other libraries and network access are allowed there. Arguments and
        result must be JSON-able. The step is retried when its process dies, so it may run more
        than once.

        Args:
            fn: A function defined at the top level of the script or of a module of the project.
            *args: Its arguments.
            **kwargs: Its keyword arguments.
        """


class NangoSync(NangoAction):
    """The helper of syncs: everything of `NangoAction`, and the records cache.

    Attributes:
        sync_id: Id of the sync of this connection.
        variant: Variant of the sync, `base` where it has none.
        last_sync_date: Start of the last successful run, None before the first one.
    """

    sync_id: str
    variant: str
    last_sync_date: datetime | None

    @abstractmethod
    async def batch_save(self, records: Sequence[Record], model: str) -> bool:
        """Insert or update records; what is unchanged is left alone.

        Args:
            records: Any number of them, each with an `id` (string or integer).
            model: One of the sync's output models.

        Raises:
            HelperError: A record has no usable `id` (its index is named), or the model is not
                one of the sync's. Nothing of the call is saved then.
        """

    @abstractmethod
    async def batch_delete(self, records: Sequence[Record], model: str) -> bool:
        """Mark records as deleted; their last payload is kept.

        Args:
            records: Each with an `id`.
            model: One of the sync's output models.
        """
