"""Labels of the repositories that a customer picked."""

import re
from typing import Any

from perdure import NangoSync

from models import Label, Picked


async def fetch_data(nango: NangoSync) -> None:
    picked = Picked.model_validate(await nango.get_metadata())
    for repository in picked.repositories:
        await nango.paginate(f"/repos/{repository}/labels").save("Label", map=to_label)


def to_label(raw: dict[str, Any]) -> Label:
    [repository] = re.findall(r"/repos/([^/]+/[^/]+)/", raw["url"])
    return Label(id=str(raw["id"]), repository=repository, name=raw["name"], color=raw["color"])
