"""What people naturally write in scripts works."""

from __future__ import annotations

from tests.support.project import project
from tests.support.source import Source
from tests.support.stack import Stack

STANDARD_LIBRARY = """
from __future__ import annotations

import base64, collections, dataclasses, decimal, enum, functools, hashlib, hmac, html, itertools
import json, logging, math, operator, re, statistics, string, textwrap, typing, urllib.parse
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from pydantic import BaseModel

if TYPE_CHECKING:
    from models import Issue


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: int
    when: datetime
    colour: Colour = Colour.RED


class Parsed(BaseModel):
    at: datetime
    parts: list[Part]


class Part(BaseModel):
    n: decimal.Decimal


@functools.lru_cache
def square(n: int) -> int:
    return n * n


async def fetch_data(nango):
    print("printing is harmless")
    logging.getLogger(__name__).info("so is logging")
    point = Point(1, datetime.now(ZoneInfo("Europe/Berlin")))
    parsed = Parsed.model_validate({"at": "2026-01-02T03:04:05Z", "parts": [{"n": "1.10"}]})
    record: dict[str, Any] = {
        "id": hashlib.sha256(b"x").hexdigest()[:8],
        "title": json.dumps({"b": [1, 2.5, None]}),
        "zone": str(point.when.tzinfo),
        "colour": point.colour.value,
        "parts": str(parsed.parts[0].n),
        "at": parsed.at,
        "later": parsed.at + timedelta(days=1) > parsed.at,
        "match": re.findall(r"[a-z]+", "ab 12 cd"),
        "quoted": urllib.parse.quote("a b"),
        "square": square(12),
        "hints": sorted(typing.get_type_hints(square)),
        "strftime": f"{parsed.at:%d.%m.%Y}",
        "utc": datetime(2026, 1, 1, tzinfo=timezone.utc).isoformat(),
    }
    await nango.batch_save([record], "Issue")
"""


async def test_standard_library_and_annotations(stack: Stack, source: Source) -> None:
    await stack.deploy(project(STANDARD_LIBRARY))
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    (record,) = await stack.records(connection)
    record.pop("_nango_metadata")
    assert record == {
        "id": "2d711642",
        "title": '{"b": [1, 2.5, null]}',
        "zone": "Europe/Berlin",
        "colour": "red",
        "parts": "1.10",
        "at": "2026-01-02T03:04:05Z",
        "later": True,
        "match": ["ab", "cd"],
        "quoted": "a%20b",
        "square": 144,
        "hints": ["n", "return"],
        "strftime": "02.01.2026",
        "utc": "2026-01-01T00:00:00+00:00",
    }


async def test_module_state_of_a_script_is_the_runs_own(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project(
            "SEEN = []\n"
            "async def fetch_data(nango):\n"
            "    SEEN.append(1)\n"
            "    await nango.batch_save([{'id': '1', 'title': str(len(SEEN))}], 'Issue')\n"
        )
    )
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)
    result = await stack.run_sync(connection)

    assert result.counts["Issue"] == {"added": 0, "updated": 0, "deleted": 0, "unchanged": 1}


async def test_script_that_leaves_its_pages_early_ends_well(stack: Stack, source: Source) -> None:
    await stack.deploy(
        project(
            """
            PAGINATE = {
                "type": "cursor",
                "cursor_name_in_request": "cursor",
                "cursor_path_in_response": "next",
                "response_path": "items",
            }

            async def fetch_data(nango):
                async for page in nango.paginate(endpoint="/issues", paginate=PAGINATE):
                    await nango.batch_save([{"id": page[0]["id"], "title": "first"}], "Issue")
                    break
            """
        )
    )
    connection = await stack.connect(source.url)

    await stack.run_sync(connection)

    assert [r["id"] for r in await stack.records(connection)] == ["1"]
    assert source.served == {1: 1}
