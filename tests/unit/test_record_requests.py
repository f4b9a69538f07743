"""What `GET /records` reads of requests by itself is what FastAPI would read."""

from __future__ import annotations

import asyncio
from typing import Annotated
from urllib.parse import urlencode

import httpx
from fastapi import FastAPI, Query
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request

from api.records_door import valid_request
from api.routers.parameters import ConnectionIdHeader, IntegrationHeader
from api.routers.records import RecordQuery

_APP = FastAPI()


@_APP.get("/records")
async def _as_declared(
    connection_id: ConnectionIdHeader,
    integration: IntegrationHeader,
    query: Annotated[RecordQuery, Query()],
) -> tuple[str, str, RecordQuery]:
    return connection_id, integration, query


async def _answer(url: str, headers: list[tuple[bytes, bytes]]) -> httpx.Response:
    # FastAPI's test client would encode the headers anew.
    async with httpx.AsyncClient(transport=httpx.ASGITransport(_APP)) as client:
        return await client.get(url, headers=headers)


_NAMES = st.sampled_from([*RecordQuery.model_fields, "unknown"])
_VALUES = st.text(max_size=8) | st.sampled_from(
    ["", "1", "0", "10001", "1.0", " 5", "Issue", "base", "a,b", "2026-11-28", "true", "null"]
)
_QUERIES = st.lists(st.tuples(_NAMES, _VALUES), max_size=5)
_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(["connection-id", "provider-config-key", "Connection-Id", "x"]),
        st.sampled_from(["", "acme", "\u00e9", " acme "]),
    ),
    max_size=4,
)
_WHOLE = [("connection-id", "acme"), ("provider-config-key", "crm")]


@given(_QUERIES, st.booleans(), _HEADERS | st.just(_WHOLE))
@example([("ids", "a"), ("ids", "b"), ("limit", "7"), ("limit", "8")], True, _WHOLE)
@example([("variant", "")], True, _WHOLE)
@example([], True, [("connection-id", "acme"), ("provider-config-key", "\u00e9")])
def test_what_is_read_is_what_was_declared(
    query: list[tuple[str, str]], names_a_model: bool, headers: list[tuple[str, str]]
) -> None:
    if names_a_model:
        query = [*query, ("model", "Issue")]
    raw = [(name.lower().encode(), text.encode("latin-1")) for name, text in headers]

    declared = asyncio.run(_answer(f"http://api/records?{urlencode(query)}", raw))
    read = valid_request(
        Request(
            {
                "type": "http",
                "method": "GET",
                "path": "/records",
                "query_string": urlencode(query).encode(),
                "headers": raw,
            }
        )
    )

    if declared.status_code == 200:
        assert read is not None
        connection_id, integration, found = read
        assert declared.json() == [connection_id, integration, found.model_dump(mode="json")]
    else:
        assert declared.status_code == 422
        assert read is None
