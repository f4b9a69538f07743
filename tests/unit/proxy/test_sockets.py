import asyncio
import ssl

import httpcore
import pytest

from perdure.proxy.exchange import NetworkError, OutgoingRequest
from perdure.proxy.retry import NetworkFailure
from perdure.proxy.sockets import GuardedBackend
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport

from .conftest import RawServer

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


async def connected(url: str) -> httpcore.AsyncNetworkStream:
    backend = GuardedBackend(AddressGuard(allow_private_networks=True))
    target = httpcore.URL(url)
    return await backend.connect_tcp(target.host.decode(), target.port or 80, 5)


async def test_what_comes_before_tls_is_never_taken_for_an_answer(raw_server: RawServer) -> None:
    async def speak_first(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_ANSWER + b"no")
        await writer.drain()

    async with raw_server(speak_first) as url:
        stream = await connected(url)
        while not stream.get_extra_info("is_readable"):
            await asyncio.sleep(0.01)
        with pytest.raises(httpcore.ConnectError):
            await stream.start_tls(ssl.create_default_context(), "secure.test", 5)


async def test_connection_without_an_answer_to_tls_was_not_made(raw_server: RawServer) -> None:
    over = asyncio.Event()

    async def stay_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()
        over.set()

    async with (
        raw_server(stay_silent) as url,
        HttpTransport(AddressGuard(allow_private_networks=True)) as transport,
    ):
        secure = url.replace("http://", "https://")
        with pytest.raises(NetworkError) as raised:
            await transport.send(OutgoingRequest("GET", secure, headers={}, timeout_s=0.3))
        await asyncio.wait_for(over.wait(), 5)
    assert raised.value.failure is NetworkFailure.NOT_CONNECTED


async def test_silence_between_reads_has_a_limit(raw_server: RawServer) -> None:
    async def say_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"half")
        await reader.read()

    async with raw_server(say_half) as url:
        stream = await connected(url)
        assert await stream.read(1, 5) == b"half"
        with pytest.raises(httpcore.ReadTimeout):
            await stream.read(1, 0.05)
        await stream.aclose()


async def test_other_side_waits_while_nobody_reads(raw_server: RawServer) -> None:
    sent = 0
    congested = asyncio.Event()

    async def send_without_end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        try:
            while True:
                writer.write(bytes(100_000))
                sent += 100_000
                async with asyncio.timeout(0.5):
                    await writer.drain()
        except TimeoutError:
            congested.set()
            writer.transport.abort()

    async with raw_server(send_without_end) as url:
        stream = await connected(url)
        await asyncio.wait_for(congested.wait(), 20)
        received = 0
        try:
            while piece := await stream.read(1, 5):
                received = max(received, len(piece))
        except httpcore.ReadError:
            pass
        await stream.aclose()
    assert received < 1_000_000


async def test_request_larger_than_buffers_arrives_whole(raw_server: RawServer) -> None:
    size = 8_000_000
    arrived = asyncio.get_running_loop().create_future()

    async def read_slowly(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        arrived.set_result(len(await reader.readexactly(size)))

    async with raw_server(read_slowly) as url:
        stream = await connected(url)
        await stream.write(bytes(size), 5)
        assert await asyncio.wait_for(arrived, 10) == size
        await stream.aclose()


async def test_write_that_nobody_takes_has_a_limit(raw_server: RawServer) -> None:
    over = asyncio.Event()

    async def take_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await over.wait()

    async with raw_server(take_nothing) as url:
        stream = await connected(url)
        with pytest.raises(httpcore.WriteTimeout):
            await stream.write(bytes(30_000_000), 0.2)
        await stream.aclose()
        over.set()


async def test_closed_connection_is_known_before_the_next_request(raw_server: RawServer) -> None:
    async def leave(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with raw_server(leave) as url:
        stream = await connected(url)
        assert await stream.read(1, 5) == b""
        assert stream.get_extra_info("is_readable")
        await stream.aclose()
