"""Items, saved past the script."""

from perdure import NangoSync

from models import Item
from shared.paging import CURSOR


async def fetch_data(nango: NangoSync) -> None:
    await nango.paginate("/items/items-save", paginate=CURSOR).save("Item", map=to_item)


def to_item(raw: dict) -> Item:
    return Item(id=raw["id"], title=raw["title"], note=raw["note"])
