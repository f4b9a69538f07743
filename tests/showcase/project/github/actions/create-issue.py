"""Opens an issue."""

from perdure import ActionError, HttpError, NangoAction

from models import Issue, NewIssue


async def run_action(nango: NangoAction, input: NewIssue) -> Issue:
    try:
        made = await nango.post("/issues", data=input)
    except HttpError as error:
        if error.status != 422:
            raise
        raise ActionError({"message": "GitHub refused the issue", "fields": ["title"]}) from error
    await nango.log(f"Opened {made.data['id']}")
    return made.data
