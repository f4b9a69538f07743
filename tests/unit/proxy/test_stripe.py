"""The Stripe entry of the catalogue, against a server that speaks Stripe's API."""

from __future__ import annotations

import warnings
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web
from localstripe.resources import store
from pydantic import SecretStr

from perdure.connections.credentials import ApiKeyCredentials
from perdure.errors import UpstreamError
from perdure.providers.provider import Provider
from perdure.providers.provider_catalog import ProviderCatalog
from perdure.proxy.client import ProxyClient
from perdure.proxy.pagination import PageState
from perdure.proxy.requests import HttpRequest, merge_paginate


@pytest.fixture(scope="module")
async def stripe_url() -> AsyncIterator[str]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from localstripe.server import app
    # The server would keep its objects in a file in /tmp.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(store), "dump_to_disk", lambda _: None)
        patch.setattr(type(store), "try_load_from_disk", lambda _: None)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
        await runner.cleanup()


class Stripe:
    def __init__(self, client: ProxyClient, provider: Provider, url: str) -> None:
        self.provider = provider
        self._client = client
        self._url = url
        self._connection: dict[str, Any] = {
            "provider": provider,
            "credentials": ApiKeyCredentials(api_key=SecretStr("sk_test_12345")),
            "connection_config": {},
        }

    async def send(self, method: str, endpoint: str, **fields: Any) -> Any:
        request = HttpRequest.model_validate(
            {"method": method, "endpoint": endpoint, "base_url_override": self._url, **fields}
        )
        return (await self._client.send(request, **self._connection)).data

    async def pages(self, endpoint: str, **paginate: Any) -> list[list[Any]]:
        request = HttpRequest(endpoint=endpoint, base_url_override=self._url)
        options = merge_paginate(self.provider.proxy.paginate, paginate)
        read: list[list[Any]] = []
        state: PageState | None = PageState()
        while state is not None:
            page = await self._client.fetch_page(request, options, state, **self._connection)
            read.append(page.items)
            state = page.next
        return read


@pytest.fixture
def stripe(client: ProxyClient, catalog: ProviderCatalog, stripe_url: str) -> Stripe:
    store.clear()
    return Stripe(client, catalog.get("stripe-api-key"), stripe_url)


async def customers(stripe: Stripe, count: int) -> list[str]:
    made = [
        await stripe.send("POST", "/v1/customers", data={"description": f"customer {number}"})
        for number in range(count)
    ]
    return [customer["id"] for customer in made]


@pytest.mark.parametrize(("count", "sizes"), [(0, [0]), (3, [3]), (4, [4]), (10, [4, 4, 2])])
async def test_list_is_read_page_by_page_without_a_request_too_many(
    stripe: Stripe, count: int, sizes: list[int]
) -> None:
    ids = await customers(stripe, count)
    pages = await stripe.pages("/v1/customers", limit=4)
    assert [len(page) for page in pages] == sizes
    assert [customer["id"] for page in pages for customer in page] == ids


async def test_pages_have_a_hundred_elements_by_default(stripe: Stripe) -> None:
    await customers(stripe, 105)
    assert [len(page) for page in await stripe.pages("/v1/customers")] == [100, 5]


async def test_nested_data_is_sent_as_a_form(stripe: Stripe) -> None:
    made = await stripe.send(
        "POST",
        "/v1/customers",
        data={
            "description": "Ümit & Söhne",
            "metadata": {"plan": "pro", "seats": 5},
            "preferred_locales": ["de", "fr"],
        },
    )
    read = await stripe.send("GET", f"/v1/customers/{made['id']}")
    assert read["description"] == "Ümit & Söhne"
    assert read["metadata"] == {"plan": "pro", "seats": "5"}
    assert read["preferred_locales"] == ["de", "fr"]


async def test_lists_of_objects_are_sent_with_numbers(stripe: Stripe) -> None:
    tiers: list[dict[str, Any]] = [
        {"up_to": 10, "unit_amount": 500},
        {"up_to": "inf", "unit_amount": 400},
    ]
    plan = await stripe.send(
        "POST",
        "/v1/plans",
        data={
            "product": {"name": "Seat"},
            "currency": "eur",
            "interval": "month",
            "billing_scheme": "tiered",
            "tiers_mode": "volume",
            "tiers": tiers,
        },
    )
    assert plan["tiers"] == [{k: str(v) for k, v in tier.items()} for tier in tiers]


async def test_missing_object_is_a_lasting_refusal(stripe: Stripe) -> None:
    with pytest.raises(UpstreamError) as raised:
        await stripe.send("GET", "/v1/customers/cus_nobody")
    assert raised.value.status == 404
    assert not raised.value.retryable
    assert raised.value.body["error"]["type"] == "invalid_request_error"


async def test_deleted_customer_is_told_by_the_answer(stripe: Stripe) -> None:
    (customer,) = await customers(stripe, 1)
    assert (await stripe.send("DELETE", f"/v1/customers/{customer}"))["deleted"] is True


async def test_idempotency_key_is_sent_with_writes_only(stripe: Stripe) -> None:
    seen: list[tuple[str, str | None]] = []

    async def note(request: web.Request) -> web.Response:
        seen.append((request.method, request.headers.get("Idempotency-Key")))
        return web.json_response({})

    own = web.Application()
    own.router.add_route("*", "/{any:.*}", note)
    runner = web.AppRunner(own)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        for method in ("POST", "GET"):
            await stripe.send(method, "/x", base_url_override=url, idempotency_key="run/7")
        await stripe.send("POST", "/x", base_url_override=url)
    finally:
        await runner.cleanup()
    assert seen == [("POST", "run/7"), ("GET", None), ("POST", None)]
