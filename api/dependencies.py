"""What the routers need, as the composition root hands it to `create_app`."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import Depends, Request
from temporalio.client import Client

from activities.bundles import BundleCache
from activities.connections import ConnectionResolver
from activities.credential_keeper import CredentialKeeper
from activities.sync_schedules import SyncSchedules
from activities.webhook_intake import WebhookIntake
from api.access import Access, Gate
from api.background import AppTasks
from api.webhook_waker import WebhookWaker
from config.settings import Settings
from perdure.crypto.keyring import KeyRing
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.errors import NotFoundError, UnauthorizedError
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.proxy.exchange import StreamingTransport

__all__ = [
    "Background",
    "Caller",
    "CallerAccess",
    "Dependencies",
    "Deps",
    "Keys",
    "Waker",
    "environment_of",
]


class Dependencies(Protocol):
    """The parts of a process that the API speaks to."""

    @property
    def settings(self) -> Settings:
        """As read from the environment."""

    @property
    def keyring(self) -> KeyRing:
        """Encrypts what is secret."""

    @property
    def database(self) -> Database:
        """Our own data."""

    @property
    def temporal(self) -> Client:
        """A client that connects at its first call."""

    @property
    def bundles(self) -> BundleCache:
        """Bundles by hash."""

    @property
    def schedules(self) -> SyncSchedules:
        """Schedules of syncs."""

    @property
    def catalog(self) -> ProviderCatalog:
        """Providers."""

    @property
    def connections(self) -> ConnectionResolver:
        """Connections with their credentials, for requests to providers."""

    @property
    def transport(self) -> StreamingTransport:
        """The one way out."""

    @property
    def webhooks(self) -> WebhookIntake:
        """Takes what providers send."""

    @property
    def keeper(self) -> CredentialKeeper:
        """Keeps credentials good for use."""


async def _dependencies(request: Request) -> Dependencies:
    deps: Dependencies = request.app.state.dependencies
    return deps


async def _background(request: Request) -> AppTasks:
    tasks: AppTasks = request.app.state.background
    return tasks


async def _waker(request: Request) -> WebhookWaker:
    waker: WebhookWaker = request.app.state.waker
    return waker


async def environment_of(request: Request) -> Environment:
    """Return the environment that a request's key opens, as it was when the request came.

    Raises:
        UnauthorizedError: `unknown_account`, it was deleted.
    """
    environment: Environment | None = request.state.environment
    if environment is None:
        access: Access = request.state.access
        deps: Dependencies = request.app.state.dependencies
        try:
            environment = await deps.database.environments.by_id(access.environment_id)
        except NotFoundError as error:
            raise UnauthorizedError(error.message) from error
        request.state.environment = environment
    return environment


async def _access(request: Request) -> Access:
    access: Access = request.state.access
    return access


async def _gate(request: Request) -> Gate:
    gate: Gate = request.app.state.gate
    return gate


Deps = Annotated[Dependencies, Depends(_dependencies)]
"""What the process is made of."""

Background = Annotated[AppTasks, Depends(_background)]
"""Work that outlives its request."""

Waker = Annotated[WebhookWaker, Depends(_waker)]
"""Has what providers sent worked off."""

Caller = Annotated[Environment, Depends(environment_of)]
"""The environment that the caller's key opens, as it is now: this may cost a query."""

CallerAccess = Annotated[Access, Depends(_access)]
"""Id and name of the environment that the caller's key opens, and what the key may do.

It costs no query; what needs no more of the environment than its id takes this.
"""

Keys = Annotated[Gate, Depends(_gate)]
"""Finds what keys open."""
