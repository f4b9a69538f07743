import asyncio
import gzip
import ssl
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from pydantic import JsonValue
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from perdure.errors import InvalidInputError
from perdure.proxy.bodies import RequestBody, encode_body
from perdure.proxy.exchange import NetworkError, OutgoingRequest
from perdure.proxy.retry import NetworkFailure
from perdure.proxy.ssrf import AddressGuard
from perdure.proxy.transport import HttpTransport

from .conftest import RawServer


def outgoing(url: str, method: str = "GET", **fields: Any) -> OutgoingRequest:
    return OutgoingRequest(method=method, url=url, headers=fields.pop("headers", {}), **fields)


async def failure_of(transport: HttpTransport, request: OutgoingRequest) -> NetworkError:
    with pytest.raises(NetworkError) as raised:
        await transport.send(request)
    return raised.value


# Requests and answers


async def test_request_goes_out_as_it_was_made(
    transport: HttpTransport, httpserver: HTTPServer
) -> None:
    seen: list[Request] = []

    def handle(request: Request) -> Response:
        request.get_data()
        seen.append(request)
        return Response("[1]", 201, content_type="application/json")

    httpserver.expect_request("/x").respond_with_handler(handle)
    response = await transport.send(
        outgoing(
            httpserver.url_for("/x?a=1&b=%20c"),
            "POST",
            headers={"x-name": "Jörg", "host": "evil.test", "content-length": "999"},
            body=encode_body({"a": 1}, None),
        )
    )
    assert (response.status, response.content) == (201, b"[1]")
    assert response.headers["content-type"] == "application/json"
    (request,) = seen
    assert request.query_string == b"a=1&b=%20c"
    assert request.get_json() == {"a": 1}
    assert request.headers["x-name"].encode("latin-1").decode() == "Jörg"
    assert request.headers["host"] == f"localhost:{httpserver.port}"


async def test_multipart_form_arrives_field_by_field(
    transport: HttpTransport, httpserver: HTTPServer
) -> None:
    seen: list[dict[str, str]] = []

    def handle(request: Request) -> Response:
        seen.append(request.form.to_dict())
        return Response()

    httpserver.expect_request("/form", method="POST").respond_with_handler(handle)
    forms: list[JsonValue] = [{"a": "x", "b": {"c": 1}}, {}]
    for data in forms:
        body = encode_body(data, "multipart/form-data")
        await transport.send(outgoing(httpserver.url_for("/form"), "POST", body=body))
    assert seen == [{"a": "x", "b": '{"c":1}'}, {}]


async def test_compressed_body_arrives_decompressed(
    transport: HttpTransport, httpserver: HTTPServer
) -> None:
    packed = Response(gzip.compress(b"x" * 10_000), headers={"content-encoding": "gzip"})
    httpserver.expect_request("/gz").respond_with_response(packed)
    response = await transport.send(outgoing(httpserver.url_for("/gz")))
    assert response.content == b"x" * 10_000


async def test_head_describes_a_body_that_does_not_come(raw_server: RawServer) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999\r\nContent-Encoding: gzip\r\n\r\n")
        await writer.drain()

    guard = AddressGuard(allow_private_networks=True)
    async with raw_server(handle) as url, HttpTransport(guard, max_body_bytes=1000) as transport:
        response = await transport.send(outgoing(url, "HEAD"))
    assert (response.headers["content-length"], response.content) == ("999999", b"")


async def test_repeated_headers_are_joined(transport: HttpTransport, raw_server: RawServer) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 200 OK\r\nLink: <a>; rel=next\r\nLINK: <b>; rel=last\r\n"
            b"X-Name: J\xf6rg\r\nContent-Length: 0\r\n\r\n"
        )
        await writer.drain()

    async with raw_server(handle) as url:
        headers = (await transport.send(outgoing(url))).headers
    assert headers["link"] == "<a>; rel=next, <b>; rel=last"
    assert headers["x-name"] == "Jörg"


async def test_connections_are_kept_alive(transport: HttpTransport, raw_server: RawServer) -> None:
    connections = 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()

    async with raw_server(handle) as url:
        for _ in range(3):
            assert (await transport.send(outgoing(url))).content == b"ok"
        await transport.aclose()
    assert connections == 1


async def test_cookies_of_one_answer_are_not_sent_with_the_next_request(
    transport: HttpTransport, httpserver: HTTPServer
) -> None:
    seen: list[str | None] = []

    def handle(request: Request) -> Response:
        seen.append(request.headers.get("cookie"))
        return Response(headers={"set-cookie": "session=1"})

    httpserver.expect_request("/x").respond_with_handler(handle)
    for _ in range(2):
        await transport.send(outgoing(httpserver.url_for("/x")))
    assert seen == [None, None]


@pytest.mark.parametrize(
    "headers",
    [{"x-key": "secret\r\nx: y"}, {"x-k\u00e9y": "secret"}, {"x-key": "secret\ud800"}],
)
async def test_header_that_http_does_not_allow_is_refused_without_quoting_it(
    transport: HttpTransport, httpserver: HTTPServer, headers: dict[str, str]
) -> None:
    with pytest.raises(InvalidInputError) as raised:
        await transport.send(outgoing(httpserver.url_for("/x"), headers=headers))
    error: BaseException | None = raised.value
    assert raised.value.code == "invalid_headers"
    assert raised.value.__cause__ is None
    assert "secret" not in str(error)


# Failures


async def test_refused_connection_was_not_sent(
    transport: HttpTransport, raw_server: RawServer
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raise AssertionError

    async with raw_server(handle) as url:
        pass
    error = await failure_of(transport, outgoing(url))
    assert error.failure is NetworkFailure.NOT_CONNECTED


async def test_unknown_host_is_told_apart(transport: HttpTransport) -> None:
    error = await failure_of(transport, outgoing("http://nowhere.invalid/"))
    assert error.failure is NetworkFailure.UNKNOWN_HOST or "at present" in str(error)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n1234",
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n1234",
        b"not HTTP at all\r\n\r\n",
    ],
)
async def test_answer_that_breaks_off_is_an_interruption(
    transport: HttpTransport, raw_server: RawServer, answer: bytes
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        await writer.drain()

    async with raw_server(handle) as url:
        error = await failure_of(transport, outgoing(url))
    assert error.failure is NetworkFailure.INTERRUPTED


@pytest.mark.parametrize(
    "doubt",
    [
        b"Content-Length: 2\r\nContent-Length: 2\r\n",
        b"Content-Length: 2, 2\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
    ],
    ids=["twice", "list", "chunked"],
)
async def test_answer_of_doubtful_length_says_what_its_reader_can_do(
    transport: HttpTransport, raw_server: RawServer, doubt: bytes
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nX-Token: hush\r\n" + doubt + b"\r\nok")
        await writer.drain()

    async with raw_server(handle) as url:
        error = await failure_of(transport, outgoing(url))
    assert error.failure is NetworkFailure.INTERRUPTED
    assert "two Content-Length headers" in str(error)
    assert "curl -i" in str(error)
    assert "hush" not in str(error)


@pytest.mark.parametrize("drip", [False, True])
async def test_whole_exchange_has_one_time_limit(
    transport: HttpTransport, raw_server: RawServer, drip: bool
) -> None:
    gone = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while drip and not gone.is_set():
            writer.write(b".")
            await writer.drain()
            await asyncio.sleep(0.02)
        await gone.wait()

    async with raw_server(handle) as url:
        started = time.monotonic()
        error = await failure_of(transport, outgoing(url, timeout_s=1.5))
        elapsed = time.monotonic() - started
        gone.set()
    assert error.failure is NetworkFailure.INTERRUPTED
    assert "1.5 s" in str(error)
    assert 1.4 < elapsed < 8


@pytest.mark.parametrize("announced", [True, False])
async def test_body_has_a_maximal_size(raw_server: RawServer, announced: bool) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        length = b"Content-Length: 5000\r\n" if announced else b"Connection: close\r\n"
        writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n" + b"x" * 5000)
        await writer.drain()

    guard = AddressGuard(allow_private_networks=True)
    async with raw_server(handle) as url, HttpTransport(guard, max_body_bytes=4096) as transport:
        error = await failure_of(transport, outgoing(url))
    assert error.failure is NetworkFailure.TOO_LARGE


async def test_maximal_size_counts_after_decompression(httpserver: HTTPServer) -> None:
    packed = Response(gzip.compress(b"x" * 1_000_000), headers={"content-encoding": "gzip"})
    httpserver.expect_request("/gz").respond_with_response(packed)
    guard = AddressGuard(allow_private_networks=True)
    async with HttpTransport(guard, max_body_bytes=10_000) as transport:
        error = await failure_of(transport, outgoing(httpserver.url_for("/gz")))
    assert error.failure is NetworkFailure.TOO_LARGE


async def test_cancelled_request_leaves_the_pool_usable(raw_server: RawServer) -> None:
    hang = True

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if hang:
            await reader.read()
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()

    guard = AddressGuard(allow_private_networks=True)
    async with raw_server(handle) as url, HttpTransport(guard, max_connections=1) as transport:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await transport.send(outgoing(url))
        hang = False
        assert (await transport.send(outgoing(url, timeout_s=5))).status == 204


# Redirects


def redirect(server: HTTPServer, path: str, to: str, status: int = 302) -> None:
    server.expect_request(path).respond_with_response(
        Response(status=status, headers={"location": to})
    )


def echo(server: HTTPServer, path: str) -> list[Request]:
    seen: list[Request] = []

    def handle(request: Request) -> Response:
        request.get_data()
        seen.append(request)
        return Response("there")

    server.expect_request(path).respond_with_handler(handle)
    return seen


SECRETS = {
    "authorization": "Bearer k",
    "cookie": "a=b",
    "x-custom-auth-of-provider": "k",
    "x-shop": "k",
    "accept": "a/b",
}


async def test_redirect_within_the_origin_keeps_the_credentials(
    transport: HttpTransport, httpserver: HTTPServer
) -> None:
    redirect(httpserver, "/a", "/b?x=1")
    seen = echo(httpserver, "/b")
    response = await transport.send(outgoing(httpserver.url_for("/a"), headers=SECRETS))
    assert response.content == b"there"
    assert seen[0].query_string == b"x=1"
    assert seen[0].headers["authorization"] == "Bearer k"


@pytest.mark.parametrize("forward", [False, True])
async def test_redirect_to_another_origin_leaves_the_credentials_behind(
    transport: HttpTransport, httpserver: HTTPServer, other_server: HTTPServer, forward: bool
) -> None:
    redirect(httpserver, "/a", other_server.url_for("/b"))
    seen = echo(other_server, "/b")
    await transport.send(
        outgoing(
            httpserver.url_for("/a"),
            headers=SECRETS,
            secret_headers=frozenset({"x-shop"}),
            forward_headers_on_redirect=forward,
        )
    )
    arrived = {name for name in SECRETS if name in seen[0].headers}
    assert arrived == (set(SECRETS) if forward else {"accept"})


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [
        (301, "POST", "GET"),
        (302, "POST", "GET"),
        (303, "PUT", "GET"),
        (303, "HEAD", "HEAD"),
        (307, "POST", "POST"),
        (308, "PATCH", "PATCH"),
        (302, "DELETE", "DELETE"),
    ],
)
async def test_method_after_a_redirect(
    transport: HttpTransport, httpserver: HTTPServer, status: int, method: str, then: str
) -> None:
    redirect(httpserver, "/a", "/b", status)
    seen = echo(httpserver, "/b")
    body = RequestBody(b"[1]", "application/json") if method in {"POST", "PUT", "PATCH"} else None
    await transport.send(outgoing(httpserver.url_for("/a"), method, body=body))
    (request,) = seen
    assert request.method == then
    assert request.get_data() == (b"[1]" if body and then != "GET" else b"")
    assert ("content-type" in request.headers) == (body is not None and then != "GET")


async def test_five_redirects_are_followed_and_not_more(
    transport: HttpTransport, httpserver: HTTPServer
) -> None:
    for number in range(6):
        redirect(httpserver, f"/{number}", f"/{number + 1}")
    echo(httpserver, "/6")
    assert (await transport.send(outgoing(httpserver.url_for("/1")))).content == b"there"
    error = await failure_of(transport, outgoing(httpserver.url_for("/0")))
    assert error.failure is NetworkFailure.TOO_MANY_REDIRECTS


@pytest.mark.parametrize(
    "to", [b"ftp://a.test/x", b"file:///etc/passwd", b"http://[bad", b"//u:p@a.test"]
)
async def test_redirect_to_something_else_is_refused(
    transport: HttpTransport, raw_server: RawServer, to: bytes
) -> None:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + to + b"\r\n\r\n")
        await writer.drain()

    async with raw_server(handle) as url:
        error = await failure_of(transport, outgoing(url))
    assert error.failure is NetworkFailure.BAD_REDIRECT


async def test_redirect_without_a_location_is_an_answer(
    transport: HttpTransport, httpserver: HTTPServer
) -> None:
    httpserver.expect_request("/a").respond_with_response(Response(status=302))
    assert (await transport.send(outgoing(httpserver.url_for("/a")))).status == 302


# Addresses


async def test_private_address_is_refused(httpserver: HTTPServer) -> None:
    async with HttpTransport(AddressGuard()) as transport:
        with pytest.raises(InvalidInputError) as raised:
            await transport.send(outgoing(httpserver.url_for("/x")))
    assert raised.value.code == "url_not_allowed"
    assert not httpserver.log


async def test_redirect_into_a_private_network_is_refused(httpserver: HTTPServer) -> None:
    with HTTPServer(host="127.0.0.2", port=0) as inside:
        redirect(httpserver, "/a", inside.url_for("/metadata"))
        guard = AddressGuard(allowed_networks=[ip_network("127.0.0.1/32")])
        async with HttpTransport(guard) as transport:
            with pytest.raises(InvalidInputError) as raised:
                await transport.send(outgoing(f"http://127.0.0.1:{httpserver.port}/a"))
        assert raised.value.code == "url_not_allowed"
        assert not inside.log


async def test_connection_goes_to_the_address_that_was_judged(httpserver: HTTPServer) -> None:
    resolved: list[str] = []

    async def resolve(host: str, port: int) -> list[str]:
        # A rebinding name server: harmless the first time, another address later.
        resolved.append(host)
        return ["127.0.0.1"] if len(resolved) == 1 else ["127.0.0.2"]

    seen = echo(httpserver, "/x")
    guard = AddressGuard(resolve=resolve, allowed_networks=[ip_network("127.0.0.1/32")])
    async with HttpTransport(guard) as transport:
        response = await transport.send(outgoing(f"http://rebind.test:{httpserver.port}/x"))
    assert response.content == b"there"
    assert resolved == ["rebind.test"]
    assert seen[0].headers["host"] == f"rebind.test:{httpserver.port}"


async def test_next_address_is_tried_when_one_does_not_answer(httpserver: HTTPServer) -> None:
    async def resolve(host: str, port: int) -> list[str]:
        return ["127.0.0.3", "127.0.0.1"]

    echo(httpserver, "/x")
    guard = AddressGuard(resolve=resolve, allow_private_networks=True)
    async with HttpTransport(guard) as transport:
        response = await transport.send(outgoing(f"http://two.test:{httpserver.port}/x"))
    assert response.status == 200


async def test_name_server_that_does_not_answer_is_no_connection() -> None:
    async def resolve(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with HttpTransport(AddressGuard(resolve=resolve)) as transport:
        error = await failure_of(transport, outgoing("http://slow.test/", timeout_s=0.2))
    assert error.failure is NetworkFailure.NOT_CONNECTED


# TLS


def certificate(folder: Path, host: str) -> tuple[Path, ssl.SSLContext]:
    """Write a key and a self-signed certificate; return them with a context that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM)
    file = folder / f"{host}.pem"
    file.write_bytes(
        pem
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return file, ssl.create_default_context(cadata=pem.decode())


@pytest.fixture
def tls_server(tmp_path: Path) -> Callable[[str], tuple[HTTPServer, ssl.SSLContext]]:
    def make(host: str) -> tuple[HTTPServer, ssl.SSLContext]:
        file, trusting = certificate(tmp_path, host)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return HTTPServer(host="127.0.0.1", port=0, ssl_context=context), trusting

    return make


async def to_loopback(host: str, port: int) -> list[str]:
    return [str(ip_address("127.0.0.1"))]


async def test_tls_goes_by_the_name_although_the_address_is_fixed(
    tls_server: Callable[[str], tuple[HTTPServer, ssl.SSLContext]],
) -> None:
    server, trusting = tls_server("secure.test")
    guard = AddressGuard(resolve=to_loopback, allow_private_networks=True)
    with server:
        echo(server, "/x")
        async with HttpTransport(guard, ssl_context=trusting) as transport:
            response = await transport.send(outgoing(f"https://secure.test:{server.port}/x"))
            assert response.content == b"there"
            error = await failure_of(transport, outgoing(f"https://other.test:{server.port}/x"))
    assert error.failure is NetworkFailure.UNTRUSTED_CERTIFICATE
    assert "Hostname mismatch" in str(error)


async def test_unknown_certificate_is_not_trusted(
    tls_server: Callable[[str], tuple[HTTPServer, ssl.SSLContext]],
) -> None:
    server, _ = tls_server("secure.test")
    guard = AddressGuard(resolve=to_loopback, allow_private_networks=True)
    with server:
        async with HttpTransport(guard) as transport:
            error = await failure_of(transport, outgoing(f"https://secure.test:{server.port}/x"))
    assert error.failure is NetworkFailure.UNTRUSTED_CERTIFICATE
