"""Values that scripts hold against models themselves, and names they look for in vain."""

from __future__ import annotations

import pytest
from temporalio.client import WorkflowFailureError

from perdure.db.environments import ValidationMode
from perdure.temporal.failures import describe_failure
from tests.support.actions import call, start
from tests.support.source import Source
from tests.support.stack import Stack


@pytest.mark.parametrize("mode", ["enforce", "off"])
async def test_valid_input_comes_back_as_the_model(
    stack: Stack, source: Source, mode: ValidationMode
) -> None:
    await stack.validation(mode)

    seen = await call(
        stack,
        source,
        """
        from pydantic import BaseModel
        from models import Issue

        class Own(BaseModel):
            n: int

        issue = await nango.validate_input(Issue, input)
        named = await nango.validate_input("Issue", issue)
        own = await nango.validate_input(Own, {"n": 1})
        return [type(issue) is Issue, named == issue, issue.title, own.n]
        """,
        {"id": "1", "title": "One", "more": True},
    )

    assert seen == [True, True, "One", 1]


async def test_every_problem_is_logged_and_told_to_the_caller(stack: Stack, source: Source) -> None:
    handle = await start(
        stack, source, "await nango.validate_input('Issue', input)", {"id": 1, "labels": []}
    )
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()

    payload = describe_failure(caught.value)["payload"]
    assert payload["code"] == "invalid_input"
    assert [error["field"] for error in payload["errors"]] == ["id", "title"]
    lines = await stack.container.database.runs.logs(handle.result_run_id or "")
    assert [line.level for line in lines] == ["error", "error"]
    assert lines[0].message.startswith("invalid input: id: ")


async def test_unknown_model_is_named(stack: Stack, source: Source) -> None:
    body = """
        try:
            await nango.validate_input("Isue", input)
        except Exception as error:
            return error.code
        """

    assert await call(stack, source, body) == "unknown_model"


async def test_name_in_camel_case_says_how_it_is_called(stack: Stack, source: Source) -> None:
    body = """
        said = []
        for name in ("getMetadata", "getWebhookURL", "zodValidateInput", "connectionId", "fly"):
            try:
                getattr(nango, name)
            except AttributeError as error:
                said.append(str(error))
        return said
        """

    assert await call(stack, source, body) == [
        "there is no nango.getMetadata; in Python it is nango.get_metadata",
        "there is no nango.getWebhookURL; in Python it is nango.get_webhook_url",
        "there is no nango.zodValidateInput; in Python it is nango.validate_input",
        "there is no nango.connectionId; in Python it is nango.connection_id",
        "there is no nango.fly",
    ]
