"""What the depot tells of."""

from perdure import NangoSync


async def fetch_data(nango: NangoSync) -> None:
    """Nothing is fetched; everything comes by webhooks."""


async def on_webhook_payload_received(nango: NangoSync, payload: dict) -> None:
    await nango.batch_save([{"id": payload["id"], "title": payload["title"]}], "Event")
