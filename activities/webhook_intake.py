"""Takes what providers send: checked, attributed and written down before they are answered."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

import structlog

from activities.bundles import BundleCache
from activities.coalescing import Coalesced
from activities.webhook_routes import WebhookRoutes
from perdure.clock import utcnow
from perdure.db.database import Database
from perdure.db.integrations import WebhookEndpoint
from perdure.db.pool import DbConnection
from perdure.db.webhook_arrivals import NewEvent, NewTask, WantedTargets, WebhookTarget
from perdure.db.webhook_events import OpenConnection, WebhookEvent
from perdure.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    PerdureError,
    UnauthorizedError,
)
from perdure.ids import EnvironmentId
from perdure.observability.metrics import RECEIVED_WEBHOOKS
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.providers.webhook_rules import ChallengeRule, WebhookRules, webhook_rules
from perdure.webhooks.forwarding import forwarded
from perdure.webhooks.incoming import (
    IncomingWebhook,
    asked_challenge,
    events_of,
    kept,
    wanted_connections,
)
from perdure.webhooks.signatures import verify

__all__ = ["Taken", "WebhookIntake"]

_LONGEST_NAME = 255
_AT_ONCE = 250

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a request of a provider.

    Attributes:
        answer: Text to answer, None for none.
        has_rules: Whether anything is known of the provider's webhooks.
        events: Ids of the events that it holds, those that were known before among them.
        connections: Connections for which there is something to do now.
        deliveries: Ids of webhooks to the application that are to be started.
        environment: Name of the environment.
    """

    environment: str
    answer: str | None = None
    has_rules: bool = True
    events: tuple[UUID, ...] = ()
    connections: tuple[OpenConnection, ...] = ()
    deliveries: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True)
class _Routed:
    """What is to be done about an event."""

    types: tuple[str, ...]
    targets: Sequence[WebhookTarget]
    tasks: tuple[NewTask, ...]


@dataclass(frozen=True, slots=True)
class _Address:
    """Where providers send webhooks, and what holds for them there."""

    endpoint: WebhookEndpoint
    rules: WebhookRules | None


class WebhookIntake:
    """Takes webhooks for integrations.

    What is looked up and what is written is so for all requests that are under way at once. Each
    is still judged by what was in the database after it came, and answered after its own commit.

    Args:
        database: Our own data.
        bundles: Bundles by hash.
        catalog: Providers, with their rules.
    """

    def __init__(self, database: Database, bundles: BundleCache, catalog: ProviderCatalog) -> None:
        self._database = database
        self._catalog = catalog
        self._routes = WebhookRoutes(bundles)
        self._address = Coalesced(self._addresses, _AT_ONCE)
        self._targets = Coalesced(database.webhook_arrivals.targets, _AT_ONCE)
        self._added = Coalesced(self._add, _AT_ONCE)

    async def take(self, environment: str, integration: str, webhook: IncomingWebhook) -> Taken:
        """Take a request of a provider. When this returns, nothing of it can be lost.

        Args:
            environment: Name of the environment, or its public name.
            integration: Key of the integration.
            webhook: As it came.

        Raises:
            NotFoundError: `unknown_environment` or `unknown_provider_config`.
            UnauthorizedError: It is not the provider's; see `perdure.webhooks.signatures.verify`.
            InvalidInputError: It cannot be read.
        """
        address = await self._address((environment, integration))
        endpoint, rules = address.endpoint, address.rules
        if rules is None:
            return Taken(endpoint.environment, has_rules=False)
        outcome = "failed"
        try:
            taken = await self._taken(endpoint, rules, webhook)
            outcome = "taken"
        except (UnauthorizedError, InvalidInputError):
            outcome = "refused"
            raise
        finally:
            RECEIVED_WEBHOOKS.add(integration=endpoint.integration.unique_key, outcome=outcome)
        return taken

    async def again(self, environment: str, event: WebhookEvent) -> Taken:
        """Have an event handled as if it had come now.

        Args:
            environment: Name of its environment.
            event: The event.

        Raises:
            ConflictError: `webhook_event_unroutable`, the integration has no rules any more.
        """
        endpoint = await self._database.integrations.endpoint(environment, event.integration)
        rules = self._rules(endpoint)
        if rules is None:
            msg = f"The integration {event.integration!r} has no rules for webhooks any more."
            raise ConflictError(msg, code="webhook_event_unroutable")
        content = await self._database.webhook_events.content(event.id)
        webhook = IncomingWebhook(content.headers, content.body, content.query)
        routed = await self._routed(endpoint, rules, webhook)
        async with self._database.transaction() as conn:
            await self._database.webhook_arrivals.add_tasks(
                event.id, endpoint.environment, routed.tasks, conn=conn
            )
            deliveries = await self._forwarded(
                endpoint, event.id, webhook, routed, step=f"webhook/{uuid4()}", conn=conn
            )
        return Taken(
            endpoint.environment,
            events=(event.id,),
            connections=_connections(endpoint, routed.tasks),
            deliveries=tuple(deliveries),
        )

    async def _taken(
        self, endpoint: WebhookEndpoint, rules: WebhookRules, webhook: IncomingWebhook
    ) -> Taken:
        challenge = asked_challenge(rules, webhook)
        if challenge is None or challenge.signed:
            verify(rules, webhook, endpoint.secret, now=utcnow())
        webhook = kept(rules, webhook)
        if challenge is not None:
            return await self._challenged(endpoint, challenge, webhook)
        return await self._written(endpoint, rules, webhook)

    async def _addresses(self, asked: Sequence[tuple[str, str]]) -> list[_Address | Exception]:
        different = list(dict.fromkeys(asked))
        found = await asyncio.gather(*(self._address_of(*one) for one in different))
        by_name = dict(zip(different, found, strict=True))
        return [by_name[one] for one in asked]

    async def _address_of(self, environment: str, integration: str) -> _Address | Exception:
        try:
            endpoint = await self._database.integrations.endpoint(environment, integration)
            return _Address(endpoint, self._rules(endpoint))
        except PerdureError as error:
            return error

    async def _add(self, events: Sequence[NewEvent]) -> Sequence[UUID | Exception | None]:
        try:
            return await self._database.webhook_arrivals.add_all(events)
        except Exception as error:
            if len(events) == 1:
                raise
            log.info("webhooks_written_one_by_one", count=len(events), error=type(error).__name__)
        # What cannot be written, such as one for an integration that has just been deleted, takes
        # no other one with it.
        return [await self._add_alone(event) for event in events]

    async def _add_alone(self, event: NewEvent) -> UUID | Exception | None:
        try:
            return await self._database.webhook_arrivals.add(event)
        except Exception as error:  # noqa: BLE001 - it is raised where its request is answered
            return error

    def _rules(self, endpoint: WebhookEndpoint) -> WebhookRules | None:
        try:
            of_provider = self._catalog.get(endpoint.integration.provider).webhook
        except NotFoundError:
            of_provider = None
        return webhook_rules(of_provider, endpoint.integration.webhook_rules)

    async def _challenged(
        self, endpoint: WebhookEndpoint, rule: ChallengeRule, webhook: IncomingWebhook
    ) -> Taken:
        secret = webhook.text(rule.keeps_secret) if rule.keeps_secret else None
        if secret:
            integration = endpoint.integration
            await self._database.integrations.keep_webhook_secret(
                integration.environment_id, integration.unique_key, secret
            )
        return Taken(endpoint.environment, answer=webhook.text(rule.answer) or "")

    async def _written(
        self, endpoint: WebhookEndpoint, rules: WebhookRules, webhook: IncomingWebhook
    ) -> Taken:
        integration = endpoint.integration
        events: list[tuple[NewEvent, IncomingWebhook, _Routed]] = []
        for item in events_of(rules, webhook):
            routed = await self._routed(endpoint, rules, item)
            event = NewEvent(
                id=uuid4(),
                environment_id=integration.environment_id,
                environment=endpoint.environment,
                integration_id=integration.id,
                integration=integration.unique_key,
                delivery_id=_name(item.first(rules.delivery_id)),
                types=routed.types,
                headers=item.headers,
                query=item.query,
                body=item.body,
                tasks=routed.tasks,
            )
            events.append((event, item, routed))
        ids, tasks, deliveries = [], [], []
        if len(events) == 1 and not integration.forward_webhooks:
            known = await self._added(events[0][0])
            ids = [known or events[0][0].id]
            tasks = [] if known else list(events[0][0].tasks)
        else:
            async with self._database.transaction() as conn:
                for event, item, routed in events:
                    known = await self._database.webhook_arrivals.add(event, conn=conn)
                    ids.append(known or event.id)
                    if known is None:
                        tasks += event.tasks
                        step = f"webhook/{event.id}"
                        deliveries += await self._forwarded(
                            endpoint, event.id, item, routed, step=step, conn=conn
                        )
        return Taken(
            endpoint.environment,
            events=tuple(ids),
            connections=_connections(endpoint, tasks),
            deliveries=tuple(deliveries),
        )

    async def _routed(
        self, endpoint: WebhookEndpoint, rules: WebhookRules, webhook: IncomingWebhook
    ) -> _Routed:
        found = [webhook.text(template) for template in rules.types]
        types = tuple(dict.fromkeys(name for name in found if name and len(name) <= _LONGEST_NAME))
        integration = endpoint.integration
        syncs = await self._routes.handlers(endpoint.active_bundle, integration.unique_key, types)
        targets: list[WebhookTarget] = []
        # A body that says nothing of JSON is read here at the latest.
        if syncs or integration.forward_webhooks:
            wanted = wanted_connections(rules.connections, webhook)
            targets = await self._targets(
                WantedTargets(integration.id)
                if wanted is None
                else WantedTargets(integration.id, wanted.column, wanted.values)
            )
        tasks = tuple(
            NewTask(target.key, target.connection_id, sync) for sync in syncs for target in targets
        )
        return _Routed(types, targets, tasks)

    async def _forwarded(
        self,
        endpoint: WebhookEndpoint,
        event_id: UUID,
        webhook: IncomingWebhook,
        routed: _Routed,
        *,
        step: str,
        conn: DbConnection,
    ) -> list[UUID]:
        integration = endpoint.integration
        if not integration.forward_webhooks:
            return []
        environment_id = EnvironmentId(integration.environment_id)
        settings = await self._database.webhook_settings.get(environment_id, conn=conn)
        deliveries = forwarded(
            event_id,
            webhook,
            settings,
            provider=integration.provider,
            integration=integration.unique_key,
            subject=next(iter(routed.types), "webhook"),
            targets=routed.targets,
        )
        if not deliveries:
            return []
        return await self._database.deliveries.add(environment_id, step, deliveries, conn=conn)


def _name(text: str | None) -> str | None:
    if text is None or len(text) <= _LONGEST_NAME:
        return text
    return hashlib.sha256(text.encode()).hexdigest()


def _connections(endpoint: WebhookEndpoint, tasks: Sequence[NewTask]) -> tuple[OpenConnection, ...]:
    integration = endpoint.integration.unique_key
    found = {
        task.connection_key: OpenConnection(
            endpoint.environment, integration, task.connection_id, task.connection_key
        )
        for task in tasks
    }
    return tuple(found.values())
