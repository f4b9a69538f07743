"""Validation as a run experiences it: enforced, warned about, or off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from perdure.ids import BundleHash
    from perdure.nango import HelperError
    from perdure.scripts.bundle import Bundle
    from perdure.scripts.execution import model_validator
    from perdure.scripts.validation import Problem, record_name
    from perdure.temporal.payloads import RunContext, ScriptFiles

__all__ = ["Validation"]


class Validation:
    """Holds what a script takes and gives against the models of its bundle.

    Args:
        context: The run; says how strict it is.
        script: The files of its bundle.
        warn: Writes a warning to the run's log.
    """

    def __init__(
        self, context: RunContext, script: ScriptFiles, warn: Callable[[str], Awaitable[None]]
    ) -> None:
        self._mode = context.validation
        self._warn = warn
        self._bundle = Bundle(BundleHash(script.bundle), script.files)
        self._validator = None if self._mode == "off" else model_validator(self._bundle)

    async def check(self, model: str | None, value: Any, *, what: str, code: str) -> None:
        """Check one value.

        Args:
            model: Name of the model, None where nothing is declared.
            value: The value.
            what: Names it in messages.
            code: Code of the error.

        Raises:
            HelperError: It does not fit, and validation is enforced.
        """
        if model is not None:
            await self._check(model, [value], lambda _: what, code)

    def fits(self, model: str) -> Callable[[Any], bool] | None:
        """Return what says of a record whether anything is wrong with it; None if nobody judges."""
        return None if self._validator is None else self._validator.fits(model)

    async def check_records(
        self, model: str, records: Iterable[tuple[int, Mapping[str, Any]]]
    ) -> None:
        """Check records in the form in which they are to be saved.

        Args:
            model: Their model.
            records: The records that `fits` refused, or all of them, each with its index.

        Raises:
            HelperError: `invalid_sync_record`, naming model, index, id, field and reason of the
                first ten; validation is enforced, and nothing of the call is saved.
        """
        listed = list(records)
        await self._check(
            model,
            [record for _, record in listed],
            lambda place: record_name(model, *listed[place]),
            "invalid_sync_record",
        )

    def parse(self, model: Any, value: Any) -> tuple[Any, list[Problem]]:
        """Return a value as an instance of a model, or what is wrong with it, in every mode.

        Args:
            model: Name of a generated model, or any type that pydantic understands.
            value: The value, held against the model as the JSON that it is.

        Raises:
            HelperError: `unknown_model`.
        """
        validator = self._validator or model_validator(self._bundle)
        if isinstance(model, str) and not validator.knows(model):
            msg = f"{model!r} is none of the models of nango.yaml"
            raise HelperError(msg, code="unknown_model")
        return validator.parse(model, value)

    async def _check(
        self, model: str, values: Sequence[Any], name: Callable[[int], str], code: str
    ) -> None:
        if self._validator is None:
            return
        text = self._validator.report(model, values, name)
        if text is None:
            return
        if self._mode == "enforce":
            raise HelperError(text, code=code)
        await self._warn(f"{code}: {text}")
