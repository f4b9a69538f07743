"""The engine's steps in memory: what activities do in a run, done without server and network."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping
from functools import cache
from typing import Any

from activities.connections import ConnectionRef, ConnectionView, MetadataView, TokenView
from activities.delete_tracks import TrackOf
from activities.dry_runs import AbsentPreview
from activities.fetch import FetchAnswer, FetchInput
from activities.http import FetchedPage, FetchPageInput, ProxyAnswer, ProxyInput
from activities.integrations import (
    EnvironmentRef,
    EnvironmentVariables,
    IntegrationRef,
    IntegrationView,
)
from activities.page_mapping import page_mapping
from activities.record_reads import RecordsOf, RecordsRead
from activities.records import BatchInput, BatchOutcome
from activities.save_pages import SavedSlice, SavePagesInput
from perdure.connections.credentials import token_of
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.proxy.pagination import Page, extract_items, next_page, page_request
from perdure.proxy.recording import asked_by, asked_of_url
from perdure.proxy.requests import HttpResponse, LinkPaginate, merge_paginate
from perdure.records.delete_guard import must_be_confirmed
from perdure.records.prepare import PreparedBatch
from perdure.scripts.bundle import Bundle
from perdure.scripts.execution import modules_for_steps
from perdure.scripts.secrets import KnownSecrets
from perdure.temporal.payloads import RunContext
from perdure.testing.answers import Answers
from perdure.testing.cache import MemoryCache, Written
from perdure.testing.fixture import Helper

__all__ = ["MemorySteps"]

# What a script is given in the place of credentials; it looks like what it is.
_CREDENTIALS = {"type": "API_KEY", "apiKey": "test-credential"}


class MemorySteps:
    """Steps by the names of their activities.

    Args:
        context: The run.
        told: What the helper returns.
        answers: Answers of the external API.
        bundle: The project.

    Attributes:
        cache: The records.
    """

    def __init__(self, context: RunContext, told: Helper, answers: Answers, bundle: Bundle) -> None:
        self._context = context
        self._bundle = bundle
        self._modules = modules_for_steps(bundle)
        self._told = told
        self._answers = answers
        self.cache = MemoryCache(told.records)

    async def take(self, activity: Callable[..., Awaitable[Any]], argument: Any) -> Any:
        """Do what an activity does in a run.

        Raises:
            PerdureError: As the activity does.
            UnknownRequestError: The fixture does not hold what is asked for.
        """
        # As every real step does, so that concurrent parts of a script take turns.
        await asyncio.sleep(0)
        result = getattr(self, activity.__name__)(argument)
        return await result if inspect.isawaitable(result) else result

    def proxy(self, call: ProxyInput) -> ProxyAnswer:
        """As `HttpActivities.proxy`."""
        answer = self._answers.find(asked_by(call.request))
        response = HttpResponse(
            status=answer.status,
            headers=answer.headers,
            data=answer.response,
            is_base64=answer.is_base64,
        )
        return ProxyAnswer(response=response)

    def fetch_page(self, call: FetchPageInput) -> FetchedPage:
        """As `HttpActivities.fetch_page`."""
        paginate = merge_paginate(self._paginate(), call.paginate)
        answer = self._answers.find(asked_by(page_request(call.request, paginate, call.state)))
        items = extract_items(answer.response, paginate)
        following = next_page(
            call.request,
            paginate,
            call.state,
            body=answer.response,
            headers=answer.headers,
            items=items,
        )
        return FetchedPage(
            items=items,
            next=following,
            status=answer.status,
            headers=answer.headers,
            deliver=bool(items) or isinstance(paginate, LinkPaginate),
        )

    def uncontrolled_fetch(self, call: FetchInput) -> FetchAnswer:
        """As `FetchActivities.uncontrolled_fetch`."""
        answer = self._answers.find(asked_of_url(call.request.method, call.request.url))
        response = HttpResponse(
            status=answer.status,
            headers=answer.headers,
            data=answer.response,
            is_base64=answer.is_base64,
        )
        return FetchAnswer(response=response)

    def batch_save(self, batch: BatchInput) -> BatchOutcome:
        """As `RecordActivities.batch_save`."""
        return _outcome(self.cache.save(batch.model, batch.records))

    def batch_update(self, batch: BatchInput) -> BatchOutcome:
        """As `RecordActivities.batch_update`."""
        return _outcome(self.cache.update(batch.model, batch.records))

    def batch_delete(self, batch: BatchInput) -> BatchOutcome:
        """As `RecordActivities.batch_delete`."""
        return _outcome(self.cache.delete(batch.model, batch.records))

    def save_pages(self, call: SavePagesInput) -> SavedSlice:
        """As `SavePagesActivities.save_pages`, with all pages at once."""
        mapping = page_mapping(
            self._bundle,
            call.functions,
            self._modules.function,
            context=call.context,
            verb=call.verb,
            model=call.model,
            secrets=KnownSecrets(call.secrets),
        )
        counts = dict.fromkeys(("added", "updated", "deleted", "unchanged"), 0)
        state, number = None, 0
        while number == 0 or state is not None:
            number += 1
            fetched = self.fetch_page(call.page.model_copy(update={"state": state}))
            page = Page(
                items=fetched.items,
                next=fetched.next,
                status=fetched.status,
                headers=fetched.headers,
                deliver=fetched.deliver,
            )
            mapped = mapping.apply(page, number)
            for batch in mapped.batches:
                if isinstance(batch, PreparedBatch):
                    written = self.cache.save_prepared(call.model, batch)
                else:
                    written = self.cache.delete_prepared(call.model, batch)
                counts = {name: counts[name] + written.counts[name] for name in counts}
            state = None if mapped.is_last else page.next
        return SavedSlice(done=True, pages=number, counts=counts)

    def read_records(self, wanted: RecordsOf) -> RecordsRead:
        """As `RecordReadActivities.read_records`."""
        found = self.cache.read(wanted.model, wanted.ids)
        if wanted.cursor is not None:
            after = int(wanted.cursor)
            found = [r for r in found if int(r["_nango_metadata"]["cursor"]) > after]
        return RecordsRead(records=found)

    def last_place(self, of: TrackOf) -> int:
        """As `DeleteTrackActivities.last_place`."""
        del of
        return 0

    def preview_absent(self, of: TrackOf) -> AbsentPreview:
        """As `DryRunActivities.preview_absent`."""
        seen = self.cache.written.get(of.model, {})
        live = self.cache.live(of.model)
        absent = [record for record in live if record["id"] not in seen]
        share = of.context.delete_guard
        if must_be_confirmed(live=len(live), absent=len(absent), saw_any=bool(seen), share=share):
            return AbsentPreview(live=len(live), absent=len(absent), held=True)
        ids = self.cache.delete_absent(of.model)
        return AbsentPreview(live=len(live), absent=len(ids), held=False, ids=ids)

    def get_connection(self, ref: ConnectionRef) -> ConnectionView:
        """As `ConnectionActivities.get_connection`."""
        own = {k: v for k, v in self._told.connection.items() if k != "credentials"}
        connection = {
            "id": 1,
            "connection_id": ref.connection_id,
            "provider_config_key": ref.integration,
            "provider": self._context.provider,
            "metadata": self._told.metadata,
            "connection_config": {},
            "tags": {},
            "end_user": None,
            **own,
        }
        return ConnectionView(connection=connection, credentials=self._credentials())

    def get_token(self, ref: ConnectionRef) -> TokenView:
        """As `ConnectionActivities.get_token`."""
        del ref
        return TokenView(token=token_of(self._credentials()))

    def get_metadata(self, ref: ConnectionRef) -> MetadataView:
        """As `ConnectionActivities.get_metadata`."""
        del ref
        return MetadataView(metadata=self._told.metadata)

    def get_integration(self, ref: IntegrationRef) -> IntegrationView:
        """As `IntegrationActivities.get_integration`."""
        integration = {
            "unique_key": ref.integration,
            "provider": self._context.provider,
            "display_name": None,
            **self._told.integration,
        }
        if "webhook" in ref.include:
            integration.setdefault("webhook_url", None)
        if "credentials" in ref.include:
            integration.setdefault("credentials", None)
        return IntegrationView(integration=integration)

    def get_environment_variables(self, ref: EnvironmentRef) -> EnvironmentVariables:
        """As `IntegrationActivities.get_environment_variables`."""
        del ref
        return EnvironmentVariables(variables=self._told.variables)

    def _credentials(self) -> dict[str, Any]:
        return dict(self._told.connection.get("credentials") or _CREDENTIALS)

    def _paginate(self) -> Mapping[str, Any] | None:
        if self._told.paginate is not None:
            return self._told.paginate
        name = self._context.provider
        return _catalog().get(name).proxy.paginate if name in _catalog() else None


@cache
def _catalog() -> ProviderCatalog:
    return ProviderCatalog.load()


def _outcome(written: Written) -> BatchOutcome:
    return BatchOutcome(
        counts=written.counts, duplicates=written.duplicates, ignored=written.ignored
    )
