import asyncio
import socket
import struct
import threading
import time
from collections.abc import AsyncGenerator
from contextlib import suppress

import psutil
import pytest

from perdure.proxy.bodies import RequestBody
from perdure.proxy.exchange import NetworkError, OutgoingRequest
from perdure.proxy.retry import NetworkFailure
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport

from .conftest import RawServer

_ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


def post(url: str, content: bytes = b"[1]", timeout_s: float = 5) -> OutgoingRequest:
    body = RequestBody(content, "application/json")
    return OutgoingRequest("POST", url, headers={}, body=body, timeout_s=timeout_s)


async def failure_of(transport: HttpTransport, request: OutgoingRequest) -> NetworkFailure:
    with pytest.raises(NetworkError) as raised:
        await transport.send(request)
    return raised.value.failure


async def read_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line[15:]) for line in head.lower().splitlines() if line.startswith(b"content-len")), 0
    )
    await reader.readexactly(length)


async def test_what_comes_before_tls_is_never_taken_for_an_answer(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    async def speak_first(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(_ANSWER + b"no")
        await writer.drain()

    async with raw_server(speak_first) as url:
        failure = await failure_of(transport, post(url.replace("http://", "https://")))
    assert failure is NetworkFailure.NOT_CONNECTED


async def test_connection_without_an_answer_to_tls_was_not_made(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    over = asyncio.Event()

    async def stay_silent(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()
        over.set()

    async with raw_server(stay_silent) as url:
        secure = url.replace("http://", "https://")
        failure = await failure_of(transport, post(secure, timeout_s=0.3))
        await asyncio.wait_for(over.wait(), 5)
    assert failure is NetworkFailure.NOT_CONNECTED


async def test_silence_between_pieces_has_a_limit(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    async def say_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_ANSWER + b"h")
        await reader.read()

    async with (
        raw_server(say_half) as url,
        transport.open(post(url, timeout_s=1)) as incoming,
    ):
        pieces = incoming.pieces()
        assert await anext(pieces) == b"h"
        with pytest.raises(NetworkError) as raised:
            await anext(pieces)
    assert raised.value.failure is NetworkFailure.INTERRUPTED


async def test_other_side_waits_while_nobody_reads(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    congested = asyncio.Event()

    async def send_without_end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        try:
            while True:
                writer.write(bytes(100_000))
                async with asyncio.timeout(0.5):
                    await writer.drain()
        except TimeoutError:
            congested.set()
            writer.transport.abort()

    received = 0
    async with raw_server(send_without_end) as url, transport.open(post(url)) as incoming:
        await asyncio.wait_for(congested.wait(), 20)
        with suppress(NetworkError):  # it was cut off
            async for piece in incoming.pieces():
                received = max(received, len(piece))
    assert 0 < received < 1_000_000


async def test_request_larger_than_buffers_arrives_whole(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    arrived: list[bytes] = []

    async def read_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"content-length: 8000000\r\n" in head.lower()
        arrived.append(await reader.readexactly(8_000_000))
        writer.write(_ANSWER + b"ok")
        await writer.drain()

    content = bytes(range(250)) * 32_000
    async with raw_server(read_slowly) as url:
        assert (await transport.send(post(url, content))).content == b"ok"
    assert arrived == [content]


async def test_write_that_nobody_takes_has_a_limit(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    over = asyncio.Event()

    async def take_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        await over.wait()

    async with raw_server(take_nothing) as url:
        with pytest.raises(NetworkError) as raised:
            async with transport.open(post(url, bytes(30_000_000), timeout_s=0.2)):
                pass
        over.set()
    assert raised.value.failure is NetworkFailure.INTERRUPTED


async def test_upload_may_take_longer_than_any_silence_in_it(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    async def read_bit_by_bit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        left = 20_000_000
        while left > 0:
            left -= len(await reader.read(100_000))
            if left > 8_000_000:  # what systems keep in buffers is read at once
                await asyncio.sleep(0.02)
        writer.write(_ANSWER + b"ok")
        await writer.drain()

    async with raw_server(read_bit_by_bit) as url:
        began = time.monotonic()
        async with transport.open(post(url, bytes(20_000_000), timeout_s=1.2)) as incoming:
            assert incoming.status == 200
        assert time.monotonic() - began > 1.2


async def test_connection_that_was_closed_meanwhile_is_not_used_again(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    left = asyncio.Event()

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_ANSWER + b"ok")
        await writer.drain()
        writer.close()
        left.set()

    async with raw_server(leave) as url:
        for _ in range(3):
            assert (await transport.send(post(url))).status == 200
            await left.wait()
            # The system knows of the end, the event loop is not told before the next request.
            time.sleep(0.05)


async def test_answer_that_nobody_asked_for_is_never_taken_for_one(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    said = asyncio.Event()

    async def speak_twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_ANSWER + b"ok")
        await writer.drain()
        await asyncio.sleep(0.05)
        writer.write(_ANSWER + b"no")
        await writer.drain()
        said.set()
        await reader.read()

    async with raw_server(speak_twice) as url:
        assert (await transport.send(post(url))).content == b"ok"
        await said.wait()
        await asyncio.sleep(0.05)
        assert (await transport.send(post(url))).content == b"ok"


async def test_failure_does_not_quote_what_was_sent(raw_server: RawServer) -> None:
    async def say_something_else(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await read_request(reader)
        writer.write(b"secret of mine\r\n\r\n")
        await writer.drain()

    guard = AddressGuard(allow_private_networks=True)
    async with raw_server(say_something_else) as url, HttpTransport(guard) as transport:
        with pytest.raises(NetworkError) as raised:
            await transport.send(post(f"{url}/?key=secret"))
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None


class Pieces:
    """A body that looks neither left nor right while the other side hangs up."""

    content_type = "text/plain"
    length = None
    repeatable = False

    def __init__(self, hung_up: threading.Event) -> None:
        self._hung_up = hung_up

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        yield b"first"
        self._hung_up.wait(5)
        for _ in range(3):
            yield b"more"


async def test_failure_of_an_upload_does_not_quote_the_url(transport: HttpTransport) -> None:
    hung_up = threading.Event()

    def hang_up(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        connection.recv(65_536)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
        hung_up.set()

    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/?key=secret"
        server = threading.Thread(target=hang_up, args=(listening,))
        server.start()
        request = OutgoingRequest("POST", url, headers={}, body=Pieces(hung_up), timeout_s=5)
        with pytest.raises(NetworkError) as raised:
            await transport.send(request)
        server.join()
    assert "secret" not in str(raised.value)


async def test_body_that_goes_on_as_something_else_is_broken_off(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    begun = asyncio.Event()

    async def go_astray(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
        await begun.wait()
        writer.write(b"no chunk\r\n")
        await reader.read()

    async with raw_server(go_astray) as url, transport.open(post(url)) as incoming:
        pieces = incoming.pieces()
        assert await anext(pieces) == b"ok"
        begun.set()
        with pytest.raises(NetworkError) as raised:
            await asyncio.wait_for(anext(pieces), 2)
    assert raised.value.failure is NetworkFailure.INTERRUPTED


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_request_is_sent_once_whatever_becomes_of_it(
    transport: HttpTransport, raw_server: RawServer, method: str
) -> None:
    requests = 0

    async def hang_up(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        nonlocal requests
        await read_request(reader)
        requests += 1

    async with raw_server(hang_up) as url:
        request = OutgoingRequest(method, url, headers={}, timeout_s=5)
        assert await failure_of(transport, request) is NetworkFailure.INTERRUPTED
    assert requests == 1


@pytest.mark.parametrize(
    ("method", "answer", "content"),
    [
        ("DELETE", b"HTTP/1.1 204 Gone\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", b""),
        ("DELETE", b"HTTP/1.1 204 Gone\r\ncontent-length: 2\r\n\r\nno", b""),
        ("HEAD", _ANSWER + b"no", b""),
        ("GET", _ANSWER + b"ok and more", b"ok"),
    ],
)
async def test_what_comes_behind_an_answer_takes_nothing_from_it(
    transport: HttpTransport, raw_server: RawServer, method: str, answer: bytes, content: bytes
) -> None:
    async def say_too_much(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(answer)
        await reader.read()

    async with raw_server(say_too_much) as url:
        request = OutgoingRequest(method, url, headers={}, timeout_s=5)
        for _ in range(2):
            assert (await transport.send(request)).content == content


async def test_body_does_not_wait_to_be_asked_for(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_ANSWER + b"ok")
        await writer.drain()

    async with raw_server(answer) as url:
        body = RequestBody(b"[1]", "application/json")
        request = OutgoingRequest(
            "POST", url, headers={"expect": "100-continue"}, body=body, timeout_s=5
        )
        assert (await transport.send(request)).content == b"ok"


def connections_to(port: int) -> int:
    """How many this process has."""
    own = psutil.Process().net_connections("tcp")
    return sum(bool(each.raddr) and each.raddr.port == port for each in own)


async def test_connection_is_gone_with_a_request_that_nobody_takes(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    connected = asyncio.Event()
    over = asyncio.Event()

    async def take_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        connected.set()
        await over.wait()
        writer.transport.abort()

    async with raw_server(take_nothing) as url:
        port = int(url.rpartition(":")[2].split("/")[0])
        sending = asyncio.create_task(
            failure_of(transport, post(url, bytes(20_000_000), timeout_s=1))
        )
        await connected.wait()
        assert connections_to(port) == 1
        assert await sending is NetworkFailure.INTERRUPTED
        async with asyncio.timeout(20):
            while connections_to(port):
                await asyncio.sleep(0.01)
        over.set()


async def test_answer_under_way_breaks_off_when_all_is_closed(raw_server: RawServer) -> None:
    async def say_half(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(_ANSWER + b"h")
        await reader.read()

    transport = HttpTransport(AddressGuard(allow_private_networks=True))
    async with raw_server(say_half) as url, transport.open(post(url)) as incoming:
        pieces = incoming.pieces()
        assert await anext(pieces) == b"h"
        rest = asyncio.ensure_future(anext(pieces))
        await asyncio.sleep(0)
        await transport.aclose()
        with pytest.raises(NetworkError):
            await asyncio.wait_for(rest, 2)
