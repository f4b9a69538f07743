"""Closes an issue."""

from perdure import ActionError, NangoAction


async def run_action(nango: NangoAction, input: dict) -> dict:
    issue = (await nango.get(f"/issues/{input['id']}")).data
    if issue["state"] == "closed":
        raise ActionError({"message": "The issue is closed already", "id": input["id"]})
    await nango.patch(f"/issues/{input['id']}", data={"state": "closed"})
    return {"id": input["id"], "state": "closed"}
