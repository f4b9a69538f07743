"""Keeps track of the secrets a script was given, so that none reaches a history in clear."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

__all__ = ["KnownSecrets"]

_MIN_LENGTH = 4  # shorter values would match everywhere
_MASK = "***"


class KnownSecrets:
    """The secret strings a run has seen."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()

    def learn(self, value: Any) -> None:
        """Remember every string inside a value."""
        if isinstance(value, str):
            if len(value) >= _MIN_LENGTH:
                self._secrets.add(value)
        elif isinstance(value, dict):
            for item in value.values():
                self.learn(item)
        elif isinstance(value, list | tuple):
            for item in value:
                self.learn(item)

    def within(self, value: Any) -> bool:
        """Say whether a value carries a known secret anywhere."""
        if not self._secrets:
            return False
        text = to_json(value, fallback=str).decode()
        return any(_escaped(secret) in text for secret in self._secrets)

    def mask(self, text: str) -> str:
        """Hide known secrets in a text."""
        for secret in sorted(self._secrets, key=len, reverse=True):
            text = text.replace(secret, _MASK)
        return text


def _escaped(secret: str) -> str:
    return to_json(secret).decode()[1:-1]
