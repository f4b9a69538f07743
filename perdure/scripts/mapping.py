"""From the elements of a page to records: what the functions of a script make of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import GeneratorType
from typing import Any

from pydantic import BaseModel

from perdure.nango import HelperError, Record

__all__ = ["MappingError", "mapped_records", "plain_records"]


class MappingError(Exception):
    """A function of the script raised; the exception is the cause of this one.

    Attributes:
        index: For which element of the page, counted from 0.
    """

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


def mapped_records(
    items: Sequence[Any],
    map_item: Callable[[Any], Any] | None,
    where: Callable[[Any], Any] | None,
) -> Iterator[dict[str, Any]]:
    """Yield the records of a page.

    Args:
        items: Its elements.
        map_item: Makes of an element a record, several of them, or None. None takes the elements
            themselves.
        where: Says of a record, as `map_item` gave it, whether it is kept.

    Raises:
        MappingError: One of the functions raised.
        HelperError: `invalid_record`, what came out is no record; or `invalid_step`, a function
            has to be awaited.
    """
    count = 0
    for index, item in enumerate(items):
        try:
            found = item if map_item is None else map_item(item)
            records = [found] if type(found) is dict else _as_records(found, index, map_item)
            if where is not None:
                # No `filter`: a StopIteration of `where` would end it as if there were no more.
                records = [record for record in records if where(record)]
        except HelperError:
            raise
        # SystemExit, too: it is the script's error, and would be repeated for a day otherwise.
        except BaseException as error:
            raise MappingError(index) from error
        for record in records:
            yield _plain_record(record, count)
            count += 1


def _as_records(value: Any, index: int, map_item: Callable[[Any], Any] | None) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, Mapping | BaseModel):
        return [value]
    if isinstance(value, list | tuple | GeneratorType):
        return [record for record in value if record is not None]
    if inspect.iscoroutine(value):
        value.close()
    by = "" if map_item is None else f"`{map_item.__qualname__}` made of "
    msg = (
        f"{by}element {index} of the page {'is ' if not by else ''}a {type(value).__name__}; "
        "a record, a list of records or None is needed"
    )
    raise HelperError(msg, code="invalid_record")


def plain_records(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Return records as JSON objects, which are not to be changed: they may be the script's own.

    Raises:
        HelperError: `invalid_record`, one is neither a model nor a mapping.
    """
    return [_plain_record(record, index) for index, record in enumerate(records)]


def _plain_record(record: Record, index: int) -> dict[str, Any]:
    """Return a record as a JSON object, which is not to be changed: it may be the script's own.

    Args:
        record: A model or a mapping.
        index: Names it in messages.

    Raises:
        HelperError: `invalid_record`, it is neither.
    """
    # Asked by type first: `isinstance` is several times dearer in a workflow's sandbox.
    if type(record) is dict:
        return record
    if isinstance(record, BaseModel):
        # What does not fit the model is told by validation, not by pydantic's warning.
        return record.model_dump(mode="json", by_alias=True, exclude_unset=True, warnings=False)
    if isinstance(record, Mapping):
        return dict(record)
    msg = f"records[{index}] is a {type(record).__name__}, not a model or a mapping"
    raise HelperError(msg, code="invalid_record")
