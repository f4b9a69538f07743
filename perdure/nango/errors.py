"""What the helper raises, and what a script may raise itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from perdure.nango.values import JsonObject, Response

__all__ = ["ActionError", "EachError", "HelperError", "HttpError"]


class ActionError(Exception):
    """Raise it in a script to end the run with a payload of your own for the caller.

    Args:
        payload: Any JSON value. What is not an object is wrapped as `{"message": payload}`.
    """

    def __init__(self, payload: Any = None) -> None:
        self.payload: JsonObject = payload if isinstance(payload, Mapping) else {"message": payload}
        super().__init__(str(self.payload.get("message", dict(self.payload))))


class HelperError(Exception):
    """A helper call was used wrongly, or what it needs does not exist.

    Attributes:
        code: Stable name of the error, such as `missing_id` or `unknown_model`.
    """

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message)
        self.code = code


class HttpError(Exception):
    """The external API refused a request, or could not be reached for as long as policy allows.

    Attributes:
        status: Status of the answer, None when none came.
        response: The answer itself, None when none came.
    """

    def __init__(self, message: str, response: Response | None = None) -> None:
        super().__init__(message)
        self.response = response
        self.status = response.status if response else None


class EachError(HelperError):
    """Items of `nango.each` failed; all the others were worked on.

    Attributes:
        code: Code of the first failed item's error.
        failed: Places of the failed items in the list, counted from 0, in ascending order.
        error: What is known of the first one's error: `type`, `message` and where known `file`,
            `line`, `traceback`, `upstream`, `payload`.
        call: What the ids of the items' workflows begin with.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        failed: Sequence[int],
        error: Mapping[str, Any],
        call: str,
    ) -> None:
        super().__init__(message, code=code)
        self.call = call
        self.failed = tuple(failed)
        self.error = dict(error)
