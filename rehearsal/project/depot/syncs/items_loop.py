"""Items, saved by the script page by page."""

from perdure import NangoSync

from models import LoopedItem
from shared.paging import CURSOR


async def fetch_data(nango: NangoSync) -> None:
    async for page in nango.paginate("/items/items-loop", paginate=CURSOR):
        items = [LoopedItem(id=r["id"], title=r["title"], note=r["note"]) for r in page]
        await nango.batch_save(items, "LoopedItem")
