"""Requests without credentials."""

from __future__ import annotations

import pytest

from perdure.errors import InvalidInputError, UpstreamError
from perdure.proxy.plain import FetchRequest, PlainClient
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://[::1]/", "http://169.254.169.254/"])
async def test_private_networks_are_closed(url: str) -> None:
    async with HttpTransport(AddressGuard()) as transport:
        with pytest.raises(InvalidInputError) as caught:
            await PlainClient(transport).fetch(FetchRequest(url=url))

    assert caught.value.code == "url_not_allowed"


async def test_failure_names_the_host_and_nothing_secret(transport: HttpTransport) -> None:
    client = PlainClient(transport)

    with pytest.raises(UpstreamError) as caught:
        await client.fetch(FetchRequest(url="http://127.0.0.1:1/hush?key=hush"))

    assert caught.value.retryable
    assert "127.0.0.1" in caught.value.message
    assert "hush" not in caught.value.message
