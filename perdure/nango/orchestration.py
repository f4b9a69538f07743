"""What a script has others do, and how runs keep out of each other's way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, overload

from perdure.nango.values import NamedSync

__all__ = ["OrchestrationMethods"]


class OrchestrationMethods(ABC):
    """The part of the helper that concerns other runs."""

    @overload
    async def trigger_action(self, action_name: str, input: Any = None, /) -> Any: ...

    @overload
    async def trigger_action(
        self,
        provider_config_key: str,
        connection_id: str,
        action_name: str,
        input: Any = None,
    ) -> Any: ...

    @abstractmethod
    async def trigger_action(
        self,
        provider_config_key: str,
        connection_id: Any = None,
        action_name: str | None = None,
        input: Any = None,
    ) -> Any:
        """Run an action of the project and return what it returns.

        It is a run of its own, below this one in Temporal, with the bundle of this one. With one
        or two arguments, `trigger_action("create-issue", {...})`, it is an action of the script's
        own integration, for the run's own connection.

        Args:
            provider_config_key: Key of the integration.
            connection_id: The connection it runs for.
            action_name: Name of the action.
            input: Its input, any JSON value.

        Raises:
            ActionError: The action raised it.
            HttpError: An external API refused what the action asked for.
            HelperError: `not_found`, `unknown_connection`, `unknown_provider_config`,
                `invalid_action_input`, or the code of whatever else made it fail.
        """

    @abstractmethod
    async def trigger_sync(
        self,
        provider_config_key: str,
        connection_id: str,
        sync: str | NamedSync,
        *,
        reset: bool = False,
        empty_cache: bool = False,
    ) -> None:
        """Run a sync now, or right after its run that is under way; do not wait for it.

        Args:
            provider_config_key: Key of the integration.
            connection_id: The connection.
            sync: Its name, `name::variant`, or `{"name", "variant"}`.
            reset: End the run under way, and forget where the sync stands.
            empty_cache: Also replace all records by what the run saves, once it has succeeded.

        Raises:
            HelperError: `unknown_sync`, `unknown_connection`, `unknown_provider_config`,
                `no_syncs_found` or `sync_not_scheduled`.
        """

    @abstractmethod
    async def start_sync(
        self,
        provider_config_key: str,
        syncs: Sequence[str | NamedSync],
        connection_id: str | None = None,
    ) -> None:
        """Let syncs run by their schedules again, at once where they were paused.

        Args:
            provider_config_key: Key of the integration.
            syncs: As of `trigger_sync`; none stands for all of them.
            connection_id: The connection; all of the integration where it is left out.

        Raises:
            HelperError: As `trigger_sync`.
        """

    @abstractmethod
    async def try_acquire_lock(self, *, key: str, ttl_ms: int) -> bool:
        """Take a lock of the environment, unless another run holds it.

        A run that holds the lock already gets it again, for another `ttl_ms` from now on. Locks
        are released at the run's end, however it ends; where nothing can release one any more,
        `ttl_ms` does.

        Args:
            key: Name of the lock, 1 to 255 characters.
            ttl_ms: Milliseconds after which it is free again, whether or not it was released.

        Returns:
            Whether the run holds the lock now.

        Raises:
            HelperError: `invalid_options`, the key or the time is out of bounds.
        """

    @abstractmethod
    async def release_lock(self, *, key: str) -> bool:
        """Release a lock.

        Args:
            key: Name of the lock.

        Returns:
            Whether the run held it until now; a lock whose time was over and that nobody else
            took counts as held.

        Raises:
            HelperError: `invalid_options`, the key is out of bounds.
        """

    @abstractmethod
    async def release_all_locks(self) -> None:
        """Release all locks that the run holds."""
