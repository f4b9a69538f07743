import asyncio
import threading
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.types import Message

from api.passing import CallerPieces, Limits, PassedAnswer
from api.proxy_calls import Proxied
from perdure.errors import UpstreamError
from perdure.proxy.exchange import NetworkError, OutgoingRequest
from perdure.proxy.retry import RetryDecision, RetryReason
from perdure.proxy.streaming import PassingBody, StreamedAnswer
from perdure.proxy.transport import HttpTransport

from .conftest import RawServer

_LIMITS = Limits(silence=5, whole=5, max_bytes=1_000_000)


def _no_retry(_: object) -> RetryDecision:
    return RetryDecision(retry=False, delay=None, reason=RetryReason.LASTING)


def _failed(error: NetworkError) -> UpstreamError:
    return UpstreamError(str(error), code="script_network_error")


async def test_body_is_passed_on_to_its_end_when_the_answer_begins_before(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    caller: asyncio.Queue[Message] = asyncio.Queue()
    answered = asyncio.Event()
    taken = bytearray()

    async def answer_early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"first")
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n")
        taken.extend(await reader.readuntil(b"0\r\n\r\n"))
        writer.write(b"0\r\n\r\n")

    async def send(message: Message) -> None:
        if message.get("body") == b"ok":
            answered.set()

    async with raw_server(answer_early) as url:

        @asynccontextmanager
        async def begin(pieces: CallerPieces) -> AsyncGenerator[Proxied, None]:
            body = PassingBody(pieces, content_type="text/plain", length=None)
            request = OutgoingRequest("POST", url, headers={}, body=body, timeout_s=5)
            async with transport.open(request) as incoming:
                answer = StreamedAnswer(incoming, has_body=True, judge=_no_retry, failed=_failed)
                yield Proxied(answer, decompress=False)

        passed = PassedAnswer(begin, has_body=True, limits=_LIMITS)
        scope: dict[str, Any] = {"type": "http"}
        passing = asyncio.create_task(passed(scope, caller.get, send))
        caller.put_nowait({"type": "http.request", "body": b"first", "more_body": True})
        await asyncio.wait_for(answered.wait(), 5)
        for piece in (b"second", b"third"):
            caller.put_nowait({"type": "http.request", "body": piece, "more_body": True})
        caller.put_nowait({"type": "http.request", "body": b"fourth", "more_body": False})
        await asyncio.wait_for(passing, 5)
    assert [word in taken for word in (b"second", b"third", b"fourth")] == [True, True, True]


def test_reading_that_is_cancelled_while_a_piece_is_kept_loses_none() -> None:
    async def source() -> AsyncGenerator[bytes, None]:
        yield b"a" * 2_000_000
        yield b"b"

    async def read() -> None:
        free = threading.Event()
        body = PassingBody(source(), content_type=None, length=None, keep=True)
        with ThreadPoolExecutor(max_workers=1) as pool:
            asyncio.get_running_loop().set_default_executor(pool)
            pool.submit(free.wait)
            # The only thread is busy: the piece waits to be written to a file.
            reading = asyncio.ensure_future(anext(body.pieces()))
            await asyncio.sleep(0)
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            free.set()
            assert b"".join([piece async for piece in body.pieces()]) == b"a" * 2_000_000 + b"b"
            await body.aclose()

    # In a loop of its own, since it takes that one's threads away.
    asyncio.run(read())
