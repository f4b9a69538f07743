"""The connection, its integration and its environment as scripts see them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic_core import PydanticSerializationError
from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from activities.connections import ConnectionActivities, ConnectionAsk, MetadataInput
    from activities.integrations import EnvironmentRef, IntegrationActivities, IntegrationRef
    from perdure.nango import EnvironmentVariable, HelperError, Record
    from perdure.temporal.payloads import RunState
    from workflows.nango.steps import HelperSteps
    from workflows.scripts import as_json

__all__ = ["ConnectionSteps"]

_INCLUDED = ("webhook", "credentials")

_PLAIN_PARTS = frozenset({"type", "expires_at", "expires_in", "scope", "token_type"})

# Their values are words of everyday use: to hide them would only spoil the log.
_PLAIN_VALUES = frozenset({"true", "false"})


class ConnectionSteps(HelperSteps):
    """What scripts ask about their connection. Nothing is kept: each answer is of its moment.

    Only a dry run has metadata of its own once it was given some, or has set some.
    """

    _own_metadata: dict[str, Any] | None = None

    def state(self) -> RunState:
        """See base class."""
        own = None if self.secrets.within(self._own_metadata) else self._own_metadata
        return super().state().model_copy(update={"metadata": own})

    def resume(self, state: RunState) -> None:
        """See base class."""
        super().resume(state)
        self._own_metadata = state.metadata

    async def get_connection(
        self,
        provider_config_key: str | None = None,
        connection_id: str | None = None,
        *,
        force_refresh: bool = False,
        refresh_token: bool = False,
        refresh_github_app_jwt_token: bool = False,
    ) -> dict[str, Any]:
        """See base class."""
        ref = self._ref_of(provider_config_key, connection_id)
        ask = ConnectionAsk(
            **ref.model_dump(),
            force_refresh=force_refresh,
            refresh_token=refresh_token,
            refresh_github_app_jwt_token=refresh_github_app_jwt_token,
        )
        view = await self._lookup(
            ConnectionActivities.get_connection,
            ask,
            f"connection {ref.connection_id}",
            observes=False,
        )
        self.secrets.learn(_secret_parts(view.credentials))
        found = dict(view.connection, credentials=view.credentials)
        if self._own_metadata is not None and ref == self._ref_of(None, None):
            found["metadata"] = dict(self._own_metadata)
        return found

    async def get_token(self) -> str | dict[str, Any]:
        """See base class."""
        ref = self._ref_of(None, None)
        found = await self._lookup(
            ConnectionActivities.get_token, ref, f"token of {ref.connection_id}", observes=False
        )
        token = found.token
        self.secrets.learn(token if isinstance(token, str) else _secret_parts(token))
        return token

    async def get_metadata(self) -> dict[str, Any]:
        """See base class."""
        if self._own_metadata is not None:
            return dict(self._own_metadata)
        ref = self._ref_of(None, None)
        found = await self._lookup(
            ConnectionActivities.get_metadata,
            ref,
            f"metadata of {ref.connection_id}",
            observes=False,
        )
        return dict(found.metadata)

    async def set_metadata(self, metadata: Record) -> None:
        """See base class."""
        given = self._metadata_input(metadata)
        if self._context.dry_run:
            self._own_metadata = given.metadata
            return
        await self._lookup(
            ConnectionActivities.set_metadata,
            given,
            f"set metadata of {self.connection_id}",
        )

    async def update_metadata(self, metadata: Record) -> None:
        """See base class."""
        given = self._metadata_input(metadata)
        if self._context.dry_run:
            self._own_metadata = await self.get_metadata() | given.metadata
            return
        await self._lookup(
            ConnectionActivities.update_metadata,
            given,
            f"update metadata of {self.connection_id}",
        )

    async def get_integration(
        self, include: Collection[Literal["webhook", "credentials"]] = ()
    ) -> dict[str, Any]:
        """See base class."""
        wanted = [include] if isinstance(include, str) else include
        unknown = [name for name in wanted if name not in _INCLUDED]
        if unknown:
            msg = f"get_integration can include {' and '.join(_INCLUDED)}, not {unknown[0]!r}"
            raise HelperError(msg, code="invalid_options")
        ref = IntegrationRef(
            environment=self._context.environment,
            environment_id=self._context.environment_id,
            integration=self._context.integration,
            include=tuple(name for name in _INCLUDED if name in wanted),
        )
        found = await self._lookup(
            IntegrationActivities.get_integration,
            ref,
            f"integration {ref.integration}",
            observes=False,
        )
        credentials = found.integration.get("credentials") or {}
        self.secrets.learn({k: v for k, v in credentials.items() if k != "type"})
        return dict(found.integration)

    async def get_webhook_url(self) -> str | None:
        """See base class."""
        integration = await self.get_integration({"webhook"})
        url: str | None = integration["webhook_url"]
        return url

    async def get_environment_variables(self) -> list[EnvironmentVariable]:
        """See base class."""
        found = await self._lookup(
            IntegrationActivities.get_environment_variables,
            EnvironmentRef(environment_id=self._context.environment_id),
            f"variables of {self.environment_name}",
        )
        self.secrets.learn(*(v for v in found.variables.values() if v not in _PLAIN_VALUES))
        return [{"name": name, "value": value} for name, value in found.variables.items()]

    def _metadata_input(self, metadata: Record) -> MetadataInput:
        plain = _plain_object(metadata)
        return MetadataInput(
            connection=self._ref_of(None, None),
            metadata=plain,
            sealed=self.secrets.within(plain),
        )


def _secret_parts(credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Return credentials without what is no secret, also of the provider's answer that is kept."""
    return {
        name: _secret_parts(value) if isinstance(value, Mapping) else value
        for name, value in credentials.items()
        if name not in _PLAIN_PARTS
    }


def _plain_object(metadata: Record) -> dict[str, Any]:
    try:
        plain, _ = as_json(metadata)
    except (PydanticSerializationError, ValueError) as error:
        msg = f"metadata cannot be written as JSON: {error}"
        raise HelperError(msg, code="invalid_metadata") from error
    if not isinstance(plain, dict):
        msg = f"metadata is a JSON object, not a {type(metadata).__name__}"
        raise HelperError(msg, code="invalid_metadata")
    return plain
