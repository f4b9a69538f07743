"""Runs localstripe, an imitation of Stripe's API, on this machine, with customers to read.

    python examples/localstripe_server.py --port 8420 --customers 2000

localstripe's own command listens on all addresses and writes its whole store to a file in /tmp at
each change. Here it listens on loopback only and keeps everything in memory.
"""

import argparse
import asyncio
import os
import sys
import time
import warnings
from collections.abc import Iterator

import aiohttp
from aiohttp import web

API_KEY = "sk_test_perdure"
"""localstripe takes any key that begins with `sk_`."""

_AT_ONCE = 16
_NAMES = ("Ada", "Ben", "Cleo", "Dev", "Esra", "Finn", "Gita", "Hugo", "Ines", "Jun")
_CITIES = (("Berlin", "DE"), ("Lyon", "FR"), ("Porto", "PT"), ("Austin", "US"), ("Osaka", "JP"))
_PRODUCTS = ("Starter", "Team", "Business", "Enterprise", "Support", "Training")


def customers(count: int) -> Iterator[dict[str, str]]:
    """Yield forms that create customers."""
    for number in range(1, count + 1):
        name = _NAMES[number % len(_NAMES)]
        city, country = _CITIES[number % len(_CITIES)]
        yield {
            "name": f"{name} No. {number}",
            "email": f"{name.lower()}{number}@example.com",
            "description": "Made for the demo",
            "address[city]": city,
            "address[country]": country,
            "metadata[plan]": _PRODUCTS[number % len(_PRODUCTS)].lower(),
        }


def products() -> Iterator[dict[str, str]]:
    """Yield forms that create products."""
    for name in _PRODUCTS:
        for period in ("monthly", "yearly"):
            yield {"name": f"{name}, {period}", "metadata[period]": period}


async def seed(url: str, count: int) -> int:
    """Create customers and products; returns how many products."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def create(path: str, form: dict[str, str]) -> None:
        async with limit, session.post(f"{url}{path}", data=form) as answer:
            answer.raise_for_status()

    auth = {"authorization": f"Bearer {API_KEY}"}
    async with aiohttp.ClientSession(headers=auth) as session:
        await asyncio.gather(*(create("/v1/customers", form) for form in customers(count)))
        forms = list(products())
        await asyncio.gather(*(create("/v1/products", form) for form in forms))
    return len(forms)


def application() -> web.Application:
    """Return localstripe's application, kept from writing to the disk."""
    from localstripe import resources, server

    resources.Store.dump_to_disk = lambda _: None
    resources.Store.try_load_from_disk = lambda _: None
    return server.app


async def serve(port: int, count: int) -> None:
    """Serve until cancelled; says on standard output where, once there is something to read."""
    began = time.monotonic()
    runner = web.AppRunner(application(), access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        made = await seed(url, count)
        seconds = time.monotonic() - began
        print(
            f"localstripe answers at {url} with {count:,} customers and {made} products "
            f"({seconds:.1f} s)",
            flush=True,
        )
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def main() -> int:
    """Run the server until it is told to end."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--port", type=int, default=8420, help="0 for any free one")
    parser.add_argument("--customers", type=int, default=2000)
    options = parser.parse_args()
    # It registers plain functions as handlers, which aiohttp deprecates.
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    try:
        asyncio.run(serve(options.port, options.customers))
    except KeyboardInterrupt:
        return 0
    except OSError as error:
        print(f"localstripe cannot listen on port {options.port}: {os.strerror(error.errno or 0)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
