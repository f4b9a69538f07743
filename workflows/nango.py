"""The durable helper: what stands behind `nango` when a script runs as workflow code.

Every call is an activity with a sentence as its summary. What a call needs of the outside world
(credentials, the provider's rules, the database) is looked up by the activity; here only what
must be remembered is kept: pages, counts and the script's own values.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, ParamSpec, TypeVar, Unpack, get_type_hints

from pydantic import BaseModel, PydanticUserError, TypeAdapter
from pydantic_core import PydanticSerializationError, to_json
from temporalio import workflow
from temporalio.common import Priority
from temporalio.exceptions import ActivityError
from temporalio.workflow import ActivityConfig

with workflow.unsafe.imports_passed_through():
    from activities.connections import ConnectionActivities, ConnectionRef
    from activities.http import FetchedPage, FetchPageInput, HttpActivities, ProxyAnswer, ProxyInput
    from activities.records import BatchInput, BatchOutcome, RecordActivities
    from activities.runs import LogEntry, LogInput, RunActivities
    from activities.steps import StepActivities, StepInput
    from perdure.errors import InvalidInputError
    from perdure.nango import (
        HelperError,
        LogLevel,
        NangoAction,
        NangoSync,
        Pages,
        PaginateOptions,
        Record,
        RequestOptions,
        Response,
    )
    from perdure.proxy.pagination import PageState
    from perdure.proxy.redaction import is_sensitive_name
    from perdure.proxy.requests import HttpRequest
    from perdure.records.prepare import check_ids
    from perdure.scripts.loader import bundle_file, is_script_file
    from perdure.scripts.secrets import KnownSecrets
    from perdure.scripts.text import clean, shown
    from perdure.temporal import policies
    from perdure.temporal.payloads import RunContext
    from workflows.helper_errors import (
        raise_helper_error,
        raise_http_error,
        wait_before_repeating,
    )
    from workflows.log_buffer import LogBuffer
    from workflows.pages import DurablePages, as_request, as_response
    from workflows.steps import run_step, shortened
    from workflows.validation import Validation

__all__ = ["DurableAction", "DurableSync"]

P = ParamSpec("P")
T = TypeVar("T")
ArgumentT = TypeVar("ArgumentT")
ResultT = TypeVar("ResultT")

_LOG_LENGTH = 99_000
_RECORDS_PER_BATCH = 1_000
_LOG_LEVELS: Mapping[str, LogLevel] = {
    "debug": "debug",
    "info": "info",
    "warn": "warn",
    "error": "error",
    "verbose": "debug",
    "silly": "debug",
    "http": "info",
    "warning": "warn",
}
_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


class DurableAction(NangoAction):
    """The helper of actions and on-event scripts.

    Args:
        context: The run.
        limit: How long one step goes on trying while its failures are transient.
        priority: Fairness key of the run's steps.
    """

    def __init__(self, context: RunContext, *, limit: timedelta, priority: Priority) -> None:
        self.connection_id = context.connection_id
        self.provider_config_key = context.integration
        self.provider = context.provider
        self.environment_name = context.environment
        self.run_id = context.run_id
        self.bundle = context.bundle
        self.secrets = KnownSecrets()
        self._context = context
        self._limit = limit
        self._priority = priority
        self._log = LogBuffer(self._write_log)
        self.validation: Validation | None = None

    async def close(self) -> None:
        """Wait for what is written behind."""
        await self._log.close()

    async def proxy(
        self,
        endpoint: str,
        *,
        method: Literal["GET", "POST", "PUT", "PATCH", "DELETE"] = "GET",
        **options: Unpack[RequestOptions],
    ) -> Response:
        """See base class."""
        request = as_request(endpoint, method, options)
        if method not in _IDEMPOTENT:
            # The same for every attempt, so that a provider that knows such keys acts once.
            request = request.model_copy(update={"idempotency_key": str(workflow.uuid4())})
        call = ProxyInput(
            connection=self._ref(request), request=request, sealed=self._is_secret(request)
        )
        summary = f"{method} {endpoint}"
        if method in _IDEMPOTENT:
            answer = await self._repeatable(HttpActivities.proxy, call, summary, request)
        else:
            answer = await self._not_repeatable(call, summary, request)
        self.secrets.learn(answer.response.echoed)
        return as_response(answer.response)

    def paginate(
        self,
        endpoint: str,
        *,
        method: Literal["GET", "POST", "PUT", "PATCH"] = "GET",
        paginate: PaginateOptions | None = None,
        **options: Unpack[RequestOptions],
    ) -> Pages:
        """See base class."""
        return DurablePages(self.fetch_page, as_request(endpoint, method, options), paginate or {})

    async def fetch_page(
        self,
        request: HttpRequest,
        paginate: Mapping[str, Any],
        state: PageState | None,
        number: int,
    ) -> FetchedPage:
        """Fetch one page; the step is repeatable whatever the method, since it only reads."""
        call = FetchPageInput(
            connection=self._ref(request),
            request=request,
            paginate=dict(paginate),
            state=state,
            sealed=self._is_secret(request) or self.secrets.within(state),
        )
        summary = f"{request.method} {request.endpoint} · page {number}"
        page = await self._repeatable(HttpActivities.fetch_page, call, summary, request)
        self.secrets.learn(page.echoed)
        return page

    async def warn(self, message: str) -> None:
        """Write a warning of the engine's own to the run's log."""
        await self.log(message, level="warn")

    async def log(self, *args: Any, level: LogLevel = "info") -> None:
        """See base class."""
        words = (arg if isinstance(arg, str) else _as_text(arg) for arg in args)
        message = self.secrets.mask(clean(" ".join(words)))
        known = _LOG_LEVELS.get(level)
        if known is None:
            msg = f"There is no log level {level!r}; there are: {', '.join(_LOG_LEVELS)}"
            raise HelperError(msg, code="invalid_options")
        self._log.add(LogEntry(at=workflow.now(), level=known, message=message[:_LOG_LENGTH]))

    async def get_connection(
        self, provider_config_key: str | None = None, connection_id: str | None = None
    ) -> dict[str, Any]:
        """See base class."""
        ref = self._ref_of(provider_config_key, connection_id)
        view = await self._lookup(
            ConnectionActivities.get_connection, ref, f"connection {ref.connection_id}"
        )
        self.secrets.learn({k: v for k, v in view.credentials.items() if k != "type"})
        return dict(view.connection, credentials=view.credentials)

    async def get_metadata(self) -> dict[str, Any]:
        """See base class."""
        ref = self._ref_of(None, None)
        found = await self._lookup(
            ConnectionActivities.get_metadata, ref, f"metadata of {ref.connection_id}"
        )
        return dict(found.metadata)

    async def run(
        self, fn: Callable[P, Awaitable[T]] | Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """See base class."""
        path, name = _located(fn)
        result_type = _result_type(fn)
        call = StepInput(
            bundle=self.bundle,
            path=path,
            function=name,
            arguments=list(args),
            keywords=dict(kwargs),
            sealed=self.secrets.within([args, kwargs]),
        )
        try:
            result = await self._step(
                StepActivities.run, call, f"run {name}", policies.step(self._limit)
            )
        except ActivityError as error:
            raise_helper_error(error)
        return result_type.validate_python(result.value)  # type: ignore[no-any-return]  # as declared

    async def _lookup(
        self,
        activity: Callable[[Any, ArgumentT], Awaitable[ResultT]],
        argument: ArgumentT,
        summary: str,
    ) -> ResultT:
        try:
            return await self._step(activity, argument, summary)
        except ActivityError as error:
            raise_helper_error(error)

    def _is_secret(self, request: HttpRequest) -> bool:
        return self.secrets.within(request) or any(map(is_sensitive_name, request.headers))

    def _ref(self, request: HttpRequest) -> ConnectionRef:
        return self._ref_of(request.provider_config_key, request.connection_id)

    def _ref_of(self, integration: str | None, connection_id: str | None) -> ConnectionRef:
        return ConnectionRef(
            environment_id=self._context.environment_id,
            integration=integration or self._context.integration,
            connection_id=connection_id or self._context.connection_id,
        )

    async def _step(
        self,
        activity: Callable[[Any, ArgumentT], Awaitable[ResultT]],
        argument: ArgumentT,
        summary: str,
        policy: ActivityConfig = policies.BOOKKEEPING,
    ) -> ResultT:
        return await run_step(
            activity,
            argument,
            summary=self.secrets.mask(summary),
            policy=policy,
            priority=self._priority,
        )

    async def _repeatable(
        self,
        activity: Callable[[Any, ArgumentT], Awaitable[ResultT]],
        call: ArgumentT,
        summary: str,
        request: HttpRequest,
    ) -> ResultT:
        """Let Temporal repeat a request until it succeeds or the limit is over."""
        policy = policies.http_until(self._limit, request.timeout_s)
        try:
            return await self._step(activity, call, summary, policy)
        except ActivityError as error:
            raise_http_error(error)

    async def _not_repeatable(
        self, call: ProxyInput, summary: str, request: HttpRequest
    ) -> ProxyAnswer:
        """Repeat only what provably was not processed, waiting with durable timers."""
        deadline = workflow.now() + self._limit
        attempt = 0
        while True:
            attempt += 1
            try:
                return await self._step(
                    HttpActivities.proxy, call, summary, policies.http_once(request.timeout_s)
                )
            except ActivityError as error:
                wait = wait_before_repeating(error, attempt)
                if wait is None or workflow.now() + wait > deadline:
                    raise_http_error(error)
            await workflow.sleep(
                wait, summary=shortened(self.secrets.mask(f"wait before repeating {summary}"))
            )

    async def _write_log(self, batch: int, lines: Sequence[LogEntry]) -> None:
        await self._step(
            RunActivities.write_log,
            LogInput(context=self._context, batch=batch, lines=list(lines)),
            f"log {len(lines)} lines",
        )


class DurableSync(DurableAction, NangoSync):
    """The helper of syncs."""

    def __init__(self, context: RunContext, *, limit: timedelta, priority: Priority) -> None:
        super().__init__(context, limit=limit, priority=priority)
        self.sync_id = context.sync_id
        self.variant = context.variant
        self.last_sync_date: datetime | None = context.last_sync_date
        self._counts: dict[str, dict[str, int]] = {}

    async def batch_save(self, records: Sequence[Record], model: str) -> bool:
        """See base class."""
        await self._batches(RecordActivities.batch_save, "save", records, model)
        return True

    async def batch_delete(self, records: Sequence[Record], model: str) -> bool:
        """See base class."""
        await self._batches(RecordActivities.batch_delete, "delete", records, model)
        return True

    async def _batches(
        self,
        activity: Callable[[Any, BatchInput], Awaitable[BatchOutcome]],
        verb: str,
        records: Sequence[Record],
        model: str,
    ) -> None:
        if model not in self._context.models:
            known = ", ".join(self._context.models) or "none"
            msg = f"{model!r} is not an output model of {self._context.script!r}; it has: {known}"
            raise HelperError(msg, code="unknown_model")
        plain = [_plain_record(record, index) for index, record in enumerate(records)]
        try:
            check_ids(plain)
        except InvalidInputError as error:
            raise HelperError(error.message, code=error.code) from error
        if self.validation is not None and verb == "save":
            await self.validation.check_records(model, plain)
        for start in range(0, len(plain), _RECORDS_PER_BATCH):
            batch = plain[start : start + _RECORDS_PER_BATCH]
            step = BatchInput(
                context=self._context,
                model=model,
                records=batch,
                sealed=self.secrets.within(batch),
            )
            try:
                result = await self._step(
                    activity, step, f"{verb} {len(batch):,} {model}", policies.RECORDS
                )
            except ActivityError as error:
                raise_helper_error(error)
            self._count(model, result.counts)
            if result.duplicates:
                ids = ", ".join(result.duplicates[:10])
                await self.log(
                    f"{len(result.duplicates)} records of {model} had an id that was in the same "
                    f"batch already; the first of each was kept: {ids}",
                    level="warn",
                )

    def _count(self, model: str, counts: Mapping[str, int]) -> None:
        total = self._counts.setdefault(model, {})
        for name, number in counts.items():
            total[name] = total.get(name, 0) + number
        rows = (
            f"| {name} | " + " | ".join(f"{c.get(k, 0):,}" for k in _COUNTED) + " |"
            for name, c in self._counts.items()
        )
        header = "| model | " + " | ".join(_COUNTED) + " |\n" + "|---" * (len(_COUNTED) + 1) + "|"
        workflow.set_current_details("\n".join((header, *rows)))


_COUNTED = ("added", "updated", "deleted", "unchanged")


def _plain_record(record: Record, index: int) -> dict[str, Any]:
    if isinstance(record, BaseModel):
        # What does not fit the model is told by validation, not by pydantic's warning.
        return record.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    if isinstance(record, Mapping):
        return dict(record)
    msg = f"records[{index}] is a {type(record).__name__}, not a model or a mapping"
    raise HelperError(msg, code="invalid_record")


def _located(fn: Callable[..., Any]) -> tuple[str, str]:
    code = getattr(inspect.unwrap(fn), "__code__", None)
    name = getattr(fn, "__qualname__", "")
    if code is None or not is_script_file(code.co_filename) or "<locals>" in name:
        msg = (
            f"nango.run needs a function defined at the top level of the script or of a module "
            f"of the project, not {name or fn!r}. Wrap the call in one: `def step(): ...`."
        )
        raise HelperError(msg, code="invalid_step")
    return bundle_file(code.co_filename), name


def _as_text(value: Any) -> str:
    try:
        return to_json(value, fallback=shown).decode()
    except (PydanticSerializationError, UnicodeError, ValueError):
        return shown(value)


def _result_type(fn: Callable[..., Any]) -> TypeAdapter[Any]:
    """What a step's JSON becomes again. Hints that only type checkers can read do not count."""
    try:
        return TypeAdapter(get_type_hints(inspect.unwrap(fn)).get("return", Any))
    except (NameError, TypeError, PydanticUserError):
        return TypeAdapter(Any)
