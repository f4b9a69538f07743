"""Tells whose account it is."""

from perdure import NangoAction


async def run_action(nango: NangoAction) -> dict:
    return (await nango.get("/user")).data
