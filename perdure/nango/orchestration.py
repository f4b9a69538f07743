"""What a script has others do, and how runs keep out of each other's way."""

from __future__ import annotations

from abc import ABC, abstractmethod

__all__ = ["OrchestrationMethods"]


class OrchestrationMethods(ABC):
    """The part of the helper that concerns other runs."""

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
