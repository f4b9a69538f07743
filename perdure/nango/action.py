"""The helper of actions and on-event scripts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, Unpack, overload

from perdure.nango.connection import ConnectionMethods
from perdure.nango.errors import ActionError
from perdure.nango.long_runs import LongRunMethods
from perdure.nango.naming import python_name
from perdure.nango.orchestration import OrchestrationMethods
from perdure.nango.values import (
    LoggerLevel,
    LogLevel,
    Pages,
    PaginateOptions,
    RequestOptions,
    Response,
)

__all__ = ["NangoAction"]

P = ParamSpec("P")
T = TypeVar("T")


class NangoAction(ConnectionMethods, LongRunMethods, OrchestrationMethods):
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

    if not TYPE_CHECKING:  # what type checkers do not find does not exist

        def __getattr__(self, name: str) -> Any:
            """Say how something is called that was looked for by its name in camelCase."""
            python = python_name(name)
            exists = python != name and not name.startswith("_") and hasattr(self, python)
            hint = f"; in Python it is nango.{python}" if exists else ""
            raise AttributeError(f"there is no nango.{name}{hint}")

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
        """Write a line to the run's log, unless it is less grave than `set_logger` asks for.

        Args:
            *args: Joined by spaces; what is not a string is written as JSON.
            level: `debug`, `info`, `warn` or `error`.

        Raises:
            HelperError: `invalid_options`, there is no such level.
        """

    @abstractmethod
    def set_logger(self, *, level: LoggerLevel) -> None:
        """Say which lines the run's log keeps from now on.

        Without it that is said by the environment's variable `NANGO_LOGGER_LEVEL`, and where
        there is none, `info`. What the engine itself has to say is always kept.

        Args:
            level: The least grave lines to keep: `debug`, `info`, `warn`, `error`, or `off`.

        Raises:
            HelperError: `invalid_options`, there is no such level.
        """

    @abstractmethod
    async def uncontrolled_fetch(
        self,
        *,
        url: str,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> Response:
        """Make one request to anywhere, without the connection's credentials.

        It follows at most five redirects; headers that are secret by their name do not follow
        one to another origin. Private networks are closed to it, as to every other request.

        What got no answer is tried again as by `proxy` where the method is idempotent. Everything
        else is sent once. An answer is an answer, whatever its status.

        Args:
            url: An absolute URL of http or https.
            method: HTTP method.
            headers: Headers of the request.
            body: Text is sent as it is; other values as JSON, or as the `content-type` header
                says.

        Raises:
            ActionError: With the `code` `url_not_allowed`, `too_many_redirects` or
                `invalid_redirect`.
            HttpError: Nothing answered.
            HelperError: `invalid_options`.
        """

    @overload
    async def validate_input(self, model: type[T], input: Any) -> T: ...

    @overload
    async def validate_input(self, model: str, input: Any) -> Any: ...

    @abstractmethod
    async def validate_input(self, model: Any, input: Any) -> Any:
        """Return a value as an instance of a model, however strict the environment is.

        The value is held against the model as the JSON that it is: `"5"` is no number.

        Args:
            model: A class of `models.py`, or its name in `nango.yaml`; any other pydantic model
                will do.
            input: The value.

        Raises:
            ActionError: It does not fit: `{"code": "invalid_input", "message", "errors"}`, where
                each error has `field` and `message`. Each is a line of the run's log, too.
            HelperError: `unknown_model`.
        """

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
