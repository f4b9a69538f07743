"""Orders something."""

from perdure import NangoAction


async def run_action(nango: NangoAction, input: dict) -> dict:
    answer = await nango.post("/orders", data={"number": input["number"]})
    return {"receipt": answer.data["receipt"]}
