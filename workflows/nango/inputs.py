"""Values of others, held against models by the script itself."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from perdure.nango import ActionError, HelperError
    from workflows.nango.steps import HelperSteps

__all__ = ["InputSteps"]


class InputSteps(HelperSteps):
    """`validate_input`."""

    async def validate_input(self, model: Any, input: Any) -> Any:
        """See base class."""
        if self.validation is None:
            msg = "validate_input works in the scripts of syncs and actions only"
            raise HelperError(msg, code="models_not_loaded")
        value, problems = self.validation.parse(model, input)
        if not problems:
            return value
        for problem in problems:
            where = problem.field or "input"
            await self.log(f"invalid input: {where}: {problem.reason}", level="error")
        raise ActionError(
            {
                "code": "invalid_input",
                "message": "The input is not valid.",
                "errors": [{"field": p.field, "message": p.reason} for p in problems],
            }
        )
