"""What the routers need, as the composition root hands it to `create_app`."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import Depends, Request
from temporalio.client import Client

from activities.bundles import BundleCache
from activities.sync_schedules import SyncSchedules
from activities.webhook_intake import WebhookIntake
from api.background import AppTasks
from api.webhook_waker import WebhookWaker
from config.settings import Settings
from perdure.db.database import Database
from perdure.db.environments import Environment
from perdure.providers.provider_catalog import ProviderCatalog

__all__ = ["Background", "Caller", "Dependencies", "Deps", "Waker"]


class Dependencies(Protocol):
    """The parts of a process that the API speaks to."""

    @property
    def settings(self) -> Settings:
        """As read from the environment."""

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
    def webhooks(self) -> WebhookIntake:
        """Takes what providers send."""


async def _dependencies(request: Request) -> Dependencies:
    deps: Dependencies = request.app.state.dependencies
    return deps


async def _background(request: Request) -> AppTasks:
    tasks: AppTasks = request.app.state.background
    return tasks


async def _waker(request: Request) -> WebhookWaker:
    waker: WebhookWaker = request.app.state.waker
    return waker


async def _caller(request: Request) -> Environment:
    environment: Environment = request.state.environment
    return environment


Deps = Annotated[Dependencies, Depends(_dependencies)]
"""What the process is made of."""

Background = Annotated[AppTasks, Depends(_background)]
"""Work that outlives its request."""

Waker = Annotated[WebhookWaker, Depends(_waker)]
"""Has what providers sent worked off."""

Caller = Annotated[Environment, Depends(_caller)]
"""The environment that the caller's key opens; `api.auth` has put it there."""
