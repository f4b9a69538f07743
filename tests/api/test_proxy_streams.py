"""What passes through `/proxy` while it comes, and how much of it for how long."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace

import httpx
import pytest

from api.app import create_app
from perdure.app.container import Container
from tests.api.calls import error_of
from tests.support.proxy_calls import answering, calling, upstream
from tests.support.stack import Stack
from tests.support.upstream import OK, Asked, ok, until_hung_up


async def test_request_body_is_passed_on_while_it_comes(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    first_arrived = asyncio.Event()

    async def look(asked: Asked) -> None:
        async for piece in asked.body():
            if piece.endswith(b"first"):
                first_arrived.set()
        await asked.answer(OK)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.wait_for(first_arrived.wait(), 10)
        yield b"second"

    async with upstream(environment, look):
        answer = await caller.post("/proxy/x", content=pieces())
    assert answer.status_code == 200


async def test_answer_is_passed_on_while_it_comes(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    first_arrived = asyncio.Event()

    async def drip(asked: Asked) -> None:
        await asked.answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
        await asyncio.wait_for(first_arrived.wait(), 10)
        await asked.answer(b"6\r\nsecond\r\n0\r\n\r\n")

    got = []
    async with upstream(environment, drip), caller.stream("GET", "/proxy/x") as answer:
        async for piece in answer.aiter_raw():
            got.append(piece)
            first_arrived.set()
    assert got == [b"first", b"second"]


async def test_provider_is_read_no_faster_than_the_caller_reads(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    size = 64 * 1024 * 1024
    written = 0

    async def flood(asked: Asked) -> None:
        nonlocal written
        await asked.answer(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while written < size:
            await asked.answer(b"x" * 65_536)
            written += 65_536

    async with upstream(environment, flood), caller.stream("GET", "/proxy/x") as answer:
        pieces = answer.aiter_raw()
        await anext(pieces)
        stalled = -1
        while stalled != written:
            stalled = written
            await asyncio.sleep(0.3)
        assert written < size / 2
        read = 65_536 + sum([len(piece) async for piece in pieces])
        assert written == size
        assert read >= size


@pytest.mark.parametrize("answers", [False, True])
async def test_caller_that_hangs_up_ends_the_call(
    caller: httpx.AsyncClient, environment: Stack, answers: bool
) -> None:
    begun = asyncio.Event()

    async def handle(asked: Asked) -> None:
        if answers:
            await asked.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n.")
        begun.set()
        await until_hung_up(asked)

    async def call() -> None:
        async with caller.stream("GET", "/proxy/x") as answer:
            await answer.aread()

    async with upstream(environment, handle) as provider:
        call = asyncio.create_task(call())
        await asyncio.wait_for(begun.wait(), 10)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.wait_for(provider.gone.wait(), 10)


async def test_caller_that_hangs_up_while_it_sends_ends_the_call(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.Event().wait()

    async with upstream(environment, ok) as provider:
        call = asyncio.create_task(caller.post("/proxy/x", content=pieces()))
        async with asyncio.timeout(10):
            while not provider.asked:
                await asyncio.sleep(0.01)
        call.cancel()
        await asyncio.gather(call, return_exceptions=True)
        await asyncio.wait_for(provider.gone.wait(), 10)


@pytest.mark.parametrize(
    "begun",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_answer_that_breaks_off_is_not_taken_for_complete(
    caller: httpx.AsyncClient, environment: Stack, begun: bytes
) -> None:
    async with upstream(environment, answering(begun)):
        with pytest.raises(httpx.RemoteProtocolError):
            await caller.get("/proxy/x", headers={"retries": "3"})


async def test_provider_that_dies_while_it_is_sent_to_is_told(
    caller: httpx.AsyncClient, environment: Stack
) -> None:
    async def die(asked: Asked) -> None:
        await asked.reader.read(1000)
        asked.writer.transport.abort()

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(400):
            yield b"x" * 65_536

    async with upstream(environment, die):
        answer = await caller.post("/proxy/x", content=pieces())
    assert error_of(answer) == (424, "script_network_error")


# Limits


@asynccontextmanager
async def limited(
    container: Container, environment: Stack, **limits: float
) -> AsyncIterator[httpx.AsyncClient]:
    settings = container.settings.model_copy(update=limits)
    async with calling(create_app(replace(container, settings=settings)), environment) as client:
        yield client


@pytest.mark.parametrize("announced", [False, True])
async def test_body_that_is_too_large_is_refused(
    container: Container, environment: Stack, announced: bool
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * 65_536

    content = b"x" * 40 * 65_536 if announced else pieces()
    async with (
        upstream(environment, ok),
        limited(container, environment, proxy_max_body_mb=1) as caller,
    ):
        answer = await caller.post("/proxy/x", content=content)
    assert error_of(answer) == (400, "request_too_large")


async def test_answer_that_is_too_large_is_refused_or_breaks_off(
    container: Container, environment: Stack
) -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    body = b"x" * 2_000_000
    announced = head + b"Content-Length: 2000000\r\n\r\n" + body
    chunked = head + b"Transfer-Encoding: chunked\r\n\r\n1e8480\r\n" + body + b"\r\n0\r\n\r\n"
    packed = gzip.compress(b"\0" * 3_000_000)
    bomb = head + b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed
    async with (
        upstream(environment, answering(announced, chunked, bomb)),
        limited(container, environment, proxy_max_body_mb=1) as caller,
    ):
        assert error_of(await caller.get("/proxy/x")) == (424, "response_too_large")
        for _ in range(2):
            with pytest.raises(httpx.RemoteProtocolError):
                await caller.get("/proxy/x", headers={"decompress": "true"})


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n."])
async def test_provider_that_falls_silent_is_given_up(
    container: Container, environment: Stack, begun: bytes
) -> None:
    async def stall(asked: Asked) -> None:
        await asked.answer(begun)
        await until_hung_up(asked)

    async with (
        upstream(environment, stall) as provider,
        limited(container, environment, proxy_silence_seconds=1) as caller,
    ):
        if begun:
            with pytest.raises(httpx.RemoteProtocolError):
                await caller.get("/proxy/x")
        else:
            answer = await caller.get("/proxy/x")
            assert error_of(answer) == (424, "script_network_error")
        await asyncio.wait_for(provider.gone.wait(), 10)


async def test_caller_that_falls_silent_is_given_up(
    container: Container, environment: Stack
) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await asyncio.sleep(5)

    async with (
        upstream(environment, ok) as provider,
        limited(container, environment, proxy_silence_seconds=1) as caller,
    ):
        with suppress(httpx.TransportError):
            answer = await caller.post("/proxy/x", content=pieces())
            assert error_of(answer) == (408, "request_timeout")
        await asyncio.wait_for(provider.gone.wait(), 10)


async def test_call_as_a_whole_has_a_limit(container: Container, environment: Stack) -> None:
    async def drip(asked: Asked) -> None:
        await asked.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        for _ in range(1000):
            await asked.answer(b".")
            await asyncio.sleep(0.05)

    async with (
        upstream(environment, drip) as provider,
        limited(container, environment, proxy_limit_seconds=1.5) as caller,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await caller.get("/proxy/x")
        await asyncio.wait_for(provider.gone.wait(), 10)
