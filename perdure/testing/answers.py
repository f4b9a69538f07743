"""Recorded answers, found again by method, path and parameters, in the order of the recording."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from perdure.errors import UpstreamError
from perdure.proxy.recording import Asked
from perdure.testing.fixture import Answer

__all__ = ["Answers", "UnknownRequestError"]

_EXCERPT = 300


class UnknownRequestError(AssertionError):
    """A script asked for what its fixture does not hold."""


class Answers:
    """Gives recorded answers.

    Args:
        api: Answers by method and path, as in a fixture.

    Attributes:
        asked: What the script asked for, in order.
        unknown: The first request that there was no answer to.
    """

    def __init__(self, api: Mapping[str, Mapping[str, Answer | list[Answer]]]) -> None:
        self._api = {
            (method.upper(), path): answers
            for method, paths in api.items()
            for path, answers in paths.items()
        }
        self._given: set[int] = set()
        self.asked: list[Asked] = []
        self.unknown: UnknownRequestError | None = None

    def find(self, asked: Asked) -> Answer:
        """Return the answer to a request.

        Raises:
            UnknownRequestError: There is none, or it has been given already.
            UpstreamError: It is recorded as refused.
        """
        self.asked.append(asked)
        answer = self._next(asked)
        if answer is None:
            self.unknown = self.unknown or UnknownRequestError(self._told(asked))
            raise self.unknown
        if not 200 <= answer.status < 300:
            excerpt = json.dumps(answer.response)[:_EXCERPT]
            raise UpstreamError(
                f"{asked.method} {asked.path} answered {answer.status}: {excerpt}",
                status=answer.status,
                headers=answer.headers,
                body=answer.response,
                retryable=False,
            )
        return answer

    def _next(self, asked: Asked) -> Answer | None:
        found = self._api.get((asked.method, asked.path)) or self._api.get(
            (asked.method, asked.path.strip("/"))
        )
        if found is None:
            return None
        if isinstance(found, Answer):
            return found if _fits(found, asked) else None
        for answer in found:
            if id(answer) not in self._given and _fits(answer, asked):
                self._given.add(id(answer))
                return answer
        return None

    def _told(self, asked: Asked) -> str:
        there = "\n".join(f"  {line}" for line in self._lines()) or "  nothing"
        return (
            f"The script asked for {_line(asked.method, asked.path, asked.params)}\n"
            f"which the fixture does not answer, or not once more. It holds:\n{there}\n"
            "Write the answer into the fixture, or record it anew: `perdure dryrun ... --save`."
        )

    def _lines(self) -> Iterator[str]:
        for (method, path), found in self._api.items():
            for answer in found if isinstance(found, list) else [found]:
                given = "  (given)" if id(answer) in self._given else ""
                yield f"{_line(method, path, answer.params or {})}{given}"


def _fits(answer: Answer, asked: Asked) -> bool:
    return answer.params is None or _texts(answer.params) == _texts(asked.params)


def _texts(params: Mapping[str, Any]) -> dict[str, list[str]]:
    return {
        name: [str(item) for item in (value if isinstance(value, list) else [value])]
        for name, value in params.items()
    }


def _line(method: str, path: str, params: Mapping[str, Any]) -> str:
    return f"{method} {path}" + (f" {json.dumps(params)}" if params else "")
