"""Large payloads that are kept in memory, where a test wants no Postgres."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["Blobs"]


class Blobs(dict[str, bytes]):
    """Blobs by their keys.

    Attributes:
        lasting: Keys of those that were stored for longer than a run.
        asked: How often somebody has read some.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lasting: set[str] = set()
        self.asked = 0

    async def put_many(self, blobs: Mapping[str, bytes], *, lasting: bool) -> None:
        """Store some."""
        self.update(blobs)
        if lasting:
            self.lasting.update(blobs)

    async def get_many(self, keys: Sequence[str]) -> dict[str, bytes]:
        """Return those that exist."""
        self.asked += 1
        return {key: self[key] for key in keys if key in self}
