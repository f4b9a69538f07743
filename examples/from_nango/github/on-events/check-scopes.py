"""Refuses tokens that cannot read private repositories."""

import re

from perdure import ActionError, NangoAction


async def on_event(nango: NangoAction) -> None:
    answer = await nango.get("/user")
    scopes = re.split(r",\s*", answer.headers.get("x-oauth-scopes", ""))
    if "repo" not in scopes:
        raise ActionError({"message": 'The token lacks the scope "repo"'})
