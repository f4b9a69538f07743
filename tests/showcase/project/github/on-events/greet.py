"""Says whose account was connected."""

from perdure import NangoAction


async def on_event(nango: NangoAction) -> None:
    user = (await nango.get("/user")).data
    await nango.log(f"Connected the account of {user['login']}")
