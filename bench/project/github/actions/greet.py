"""An action of one step."""

from typing import Any

from perdure import NangoAction


async def run_action(nango: NangoAction, input: dict[str, Any]) -> dict[str, Any]:
    answer = await nango.get("/greeting")
    return {"greeting": f"{answer.data['greeting']}, {input['name']}"}
