"""Holds values against the models of a bundle.

Values are checked as the JSON they travel as, strictly: `"5"` is no number, nor is NaN, which
becomes null. Fields that a model does not name are left alone, since answers of APIs grow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any, NamedTuple

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError, to_json

from perdure.scripts.fitting import fitting

__all__ = ["ModelValidator", "Problem", "record_name"]

_SHOWN = 10
_OF_DATES = frozenset({"datetime_from_date_parsing", "datetime_parsing", "datetime_type"})


class Problem(NamedTuple):
    """What is wrong with one field of a value."""

    field: str
    reason: str


class ModelValidator:
    """The models of a bundle as judges of values.

    Args:
        models: `MODELS` of the bundle's generated module.
        executor: Where pydantic builds its validators, once for each model. Runs hand in a
            thread outside their sandbox.
    """

    def __init__(self, models: Mapping[str, Any], executor: Executor) -> None:
        self._models = models
        self._executor = executor
        self._judges: dict[str, Callable[[bytes], Any]] = {}
        self._fits: dict[str, Callable[[Any], bool]] = {}

    def knows(self, model: str) -> bool:
        """Say whether the bundle has a model of this name."""
        return model in self._models

    def problems(self, model: str, value: Any) -> list[Problem]:
        """Return what is wrong with a value; a model that the bundle lacks allows everything."""
        return self.parse(model, value)[1] if model in self._models else []

    def report(self, model: str, values: Sequence[Any], name: Callable[[int], str]) -> str | None:
        """Return what is wrong with values in a text of at most ten lines, None where nothing is.

        Args:
            model: Name of the model.
            values: The values.
            name: Names the value at an index.
        """
        found = [
            f"{name(index)}: {problem.field or 'value'}: {problem.reason}"
            for index, value in enumerate(values)
            for problem in self.problems(model, value)
        ]
        if not found:
            return None
        more = f"\n... and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        return "\n".join(found[:_SHOWN]) + more

    def fits(self, model: str) -> Callable[[Any], bool] | None:
        """Return what says of a record whether anything is wrong with it, for less than what it is.

        Of the few records that it refuses without need `report` finds nothing to say.

        Args:
            model: Name of the model; None is returned where the bundle lacks it.
        """
        if model not in self._models:
            return None
        fits = self._fits.get(model)
        if fits is None:
            fits = self._fits[model] = self._executor.submit(fitting, self._models[model]).result()
        return fits

    def parse(self, model: Any, value: Any) -> tuple[Any, list[Problem]]:
        """Return a value as an instance of a model, or what is wrong with it.

        Args:
            model: Name of a model of the bundle, or any type that pydantic understands.
            value: The value.
        """
        judge = self._judges.get(model) if isinstance(model, str) else None
        if judge is None:
            type_ = self._models[model] if isinstance(model, str) else model
            judge = self._executor.submit(_judge, type_).result()
            if isinstance(model, str):
                self._judges[model] = judge
        try:
            # As it is stored: JSON has no other form for what is no finite number.
            return judge(to_json(value, by_alias=True, inf_nan_mode="null")), []
        except PydanticSerializationError as error:
            return None, [Problem("", f"cannot be written as JSON: {error}")]
        except ValidationError as error:
            return None, [
                Problem(
                    ".".join(map(str, entry["loc"])),
                    _reason(entry["type"], entry["msg"], _at(value, entry["loc"])),
                )
                for entry in error.errors(
                    include_url=False, include_context=False, include_input=False
                )
            ]


def record_name(model: str, index: int, record: Mapping[str, Any]) -> str:
    """Return how messages name a record that is to be saved."""
    return f"{model} records[{index}] (id {record.get('id')!r})"


def _reason(kind: str, said: str, value: object) -> str:
    if kind in _OF_DATES:
        return f"{said}; write 2024-01-01T00:00:00Z, or give a datetime"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{said}; {value} has no form in JSON but null"
    return said


def _at(value: object, place: Sequence[str | int]) -> object:
    """Return what stands at a place of a value; the place may end in a name of one of its types."""
    for name in place:
        try:
            value = value[name]  # type: ignore[index]  # whatever takes no index says so
        except TypeError:
            return value
        except LookupError:
            return None
    return value


def _judge(model: Any) -> Callable[[bytes], Any]:
    adapter = TypeAdapter(model)
    adapter.rebuild(raise_errors=False)

    def judge(json: bytes) -> Any:
        return adapter.validate_json(json, strict=True)

    return judge
