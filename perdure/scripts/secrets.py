"""Keeps track of the secrets a script was given, so that none reaches a history in clear."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from pydantic_core import to_json

from perdure.proxy.redaction import Redactor
from perdure.scripts.text import clean

__all__ = ["KnownSecrets"]


class KnownSecrets:
    """The secret texts a run has seen, found again in every spelling that scripts give them.

    Args:
        values: Values whose texts are secret.
    """

    def __init__(self, *values: Any) -> None:
        self._texts: set[str] = set()
        self._redactor = Redactor()
        self.learn(*values)

    def learn(self, *values: Any) -> None:
        """Remember every text inside the values."""
        found = {text for value in values for text in _texts(value)} - self._texts
        if found:
            self._texts |= found
            self._redactor = Redactor(spelling for t in self._texts for spelling in _spellings(t))

    @property
    def known(self) -> bool:
        """Whether there are any."""
        return bool(self._texts)

    @property
    def texts(self) -> tuple[str, ...]:
        """The secret texts, in a lasting order."""
        return tuple(sorted(self._texts))

    def within(self, value: Any) -> bool:
        """Say whether a value carries a known secret anywhere."""
        if not self._texts:
            return False
        return self.within_json(to_json(value, fallback=repr))

    def within_json(self, data: bytes) -> bool:
        """Say whether JSON carries a known secret anywhere."""
        return bool(self._texts) and self._redactor.finds(data.decode())

    def mask(self, text: str) -> str:
        """Hide known secrets in a text."""
        return self._redactor.text(text)

    def mask_all(self, value: Any) -> Any:
        """Hide known secrets in every text of a JSON value."""
        if isinstance(value, str):
            return self.mask(value)
        if isinstance(value, Mapping):
            return {self.mask(str(key)): self.mask_all(item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.mask_all(item) for item in value]
        return value


def _texts(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _texts(item)
        if {"username", "password"} <= value.keys():
            yield f"{value['username']}:{value['password']}"
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _spellings(text: str) -> Iterable[str]:
    """A text as it is, as `repr`, URLs and JSON have it, and in base64."""
    text = clean(text)
    yield text
    yield repr(text)[1:-1]
    yield quote(text)
    yield to_json(text).decode()[1:-1]
    yield base64.b64encode(text.encode("utf-8", "replace")).decode("ascii")
