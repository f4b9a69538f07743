"""Opens an issue."""

from typing import Annotated, Any

from perdure import ActionError, HttpError, NangoAction
from pydantic import Field

from models import CreatedIssue, NewIssue


class CheckedIssue(NewIssue):
    repository: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    title: Annotated[str, Field(min_length=1, max_length=256)]


async def run_action(nango: NangoAction, input: dict[str, Any]) -> CreatedIssue:
    wanted = await nango.validate_input(CheckedIssue, input)
    try:
        answer = await nango.post(
            f"/repos/{wanted.repository}/issues",
            data={"title": wanted.title, "body": wanted.body},
        )
    except HttpError as error:
        if error.status == 410:
            raise ActionError(
                {"code": "issues_disabled", "message": f"{wanted.repository} has no issues"}
            ) from error
        raise
    return CreatedIssue(number=answer.data["number"], url=answer.data["html_url"])
