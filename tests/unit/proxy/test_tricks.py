"""Ways to lead a request into the network that the engine runs in, each tried on the transport."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import ip_network
from typing import Any

import dns.asyncresolver
import dns.message
import dns.rdatatype
import dns.resolver
import dns.rrset
import pytest

from perdure.errors import InvalidInputError
from perdure.proxy.exchange import NetworkError, OutgoingRequest
from perdure.proxy.retry import NetworkFailure
from perdure.proxy.ssrf import AddressGuard, Resolver
from perdure.proxy.transport import HttpTransport

# `{port}` is that of a server on loopback which must not be reached. Names below `.test` and those
# of metadata services are answered by the tests' own name server.
TRICKS = {
    "loopback": "http://127.0.0.1:{port}/",
    "loopback, last of its network": "http://127.255.255.254:{port}/",
    "decimal": "http://2130706433:{port}/",
    "decimal metadata": "http://2852039166/latest/meta-data/",
    "octal": "http://0177.0.0.1:{port}/",
    "octal in one number": "http://017700000001:{port}/",
    "octal with zeros in front": "http://0000000177.0.0.1:{port}/",
    "octal digits in the last part": "http://127.0.0.01:{port}/",
    "hexadecimal": "http://0x7f.0x0.0x0.0x1:{port}/",
    "hexadecimal in one number": "http://0x7f000001:{port}/",
    "hexadecimal in capitals": "http://0X7F000001:{port}/",
    "hexadecimal, last part only": "http://127.0.0.0x1:{port}/",
    "two parts": "http://127.1:{port}/",
    "three parts": "http://127.0.1:{port}/",
    "two parts, one hexadecimal": "http://0x7f.1:{port}/",
    "one part": "http://0:{port}/",
    "more than 32 bits": "http://4294967297:{port}/",
    "more than 8 bits": "http://383.0.0.1:{port}/",
    "five parts": "http://127.0.0.1.0:{port}/",
    "unspecified": "http://0.0.0.0:{port}/",
    "private 10": "http://10.0.0.1/",
    "private 172.16": "http://172.31.255.254/",
    "private 192.168": "http://192.168.1.1/",
    "carrier-grade NAT": "http://100.64.0.1/",
    "benchmark network": "http://198.18.0.1/",
    "link-local": "http://169.254.10.10/",
    "metadata": "http://169.254.169.254/latest/meta-data/",
    "metadata of containers": "http://169.254.170.2/v2/credentials",
    "metadata of Azure": "http://168.63.129.16/",
    "metadata of Alibaba": "http://100.100.100.200/",
    "metadata of Oracle": "http://192.0.0.192/",
    "relay of 6to4": "http://192.88.99.1/",
    "documentation network": "http://203.0.113.1/",
    "multicast": "http://224.0.0.1/",
    "multicast of SSDP": "http://239.255.255.250:1900/",
    "reserved": "http://240.0.0.1/",
    "broadcast": "http://255.255.255.255/",
    "IPv6 loopback": "http://[::1]:{port}/",
    "IPv6 loopback at length": "http://[0000:0000:0000:0000:0000:0000:0000:0001]:{port}/",
    "IPv6 unspecified": "http://[::]:{port}/",
    "IPv4-mapped": "http://[::ffff:127.0.0.1]:{port}/",
    "IPv4-mapped in hexadecimal": "http://[::ffff:7f00:1]:{port}/",
    "IPv4-mapped metadata": "http://[::ffff:a9fe:a9fe]/",
    "IPv4-compatible": "http://[::127.0.0.1]:{port}/",
    "IPv4-translated": "http://[::ffff:0:127.0.0.1]:{port}/",
    "NAT64": "http://[64:ff9b::127.0.0.1]:{port}/",
    "NAT64 metadata": "http://[64:ff9b::a9fe:a9fe]/",
    "NAT64 of the own network": "http://[64:ff9b:1::7f00:1]:{port}/",
    "6to4": "http://[2002:7f00:1::]:{port}/",
    "6to4 metadata": "http://[2002:a9fe:a9fe::1]/",
    "Teredo": "http://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "unique local": "http://[fc00::1]/",
    "IPv6 metadata of AWS": "http://[fd00:ec2::254]/",
    "IPv6 metadata of Google": "http://[fd20:ce::254]/",
    "IPv6 link-local": "http://[fe80::1]/",
    "IPv6 link-local with zone": "http://[fe80::1%25lo]:{port}/",
    "IPv6 link-local with bare zone": "http://[fe80::1%lo]:{port}/",
    "loopback with zone": "http://[::1%25lo]:{port}/",
    "site-local": "http://[fec0::1]/",
    "IPv6 multicast": "http://[ff02::1]/",
    "IPv6 documentation network": "http://[2001:db8::1]/",
    "IPv6 without brackets": "http://::1:{port}/",
    "address of no version": "http://[v1.127.0.0.1]:{port}/",
    "address in brackets that is IPv4": "http://[127.0.0.1]:{port}/",
    "text behind the brackets": "http://[::1]example.test:{port}/",
    "localhost": "http://localhost:{port}/",
    "localhost with a dot": "http://localhost.:{port}/",
    "localhost in capitals": "http://LOCALHOST:{port}/",
    "below localhost": "http://api.localhost:{port}/",
    "address with a dot": "http://127.0.0.1.:{port}/",
    "address with two dots": "http://127.0.0.1..:{port}/",
    "address with a dot in front": "http://.127.0.0.1:{port}/",
    "address with an empty part": "http://127..0.1:{port}/",
    "name of loopback": "http://loopback.test:{port}/",
    "name of loopback with a dot": "http://loopback.test.:{port}/",
    "name that looks like an address": "http://127.0.0.1.nip.test:{port}/",
    "name of IPv6 loopback": "http://loopback6.test:{port}/",
    "name of an IPv4-mapped address": "http://mapped.test:{port}/",
    "name of a private address": "http://intranet.test/",
    "name behind another name": "http://alias.test:{port}/",
    "metadata by name": "http://metadata.google.internal/computeMetadata/v1/",
    "metadata by name with a dot": "http://metadata.google.internal./computeMetadata/v1/",
    "metadata by short name": "http://instance-data/latest/meta-data/",
    "full-width digits": "http://\uff11\uff12\uff17.\uff10.\uff10.\uff11:{port}/",
    "circled digits": "http://\u2460\u2461\u2466.\u24ea.\u24ea.\u2460:{port}/",
    "Arabic digits": "http://\u0661\u0662\u0667.\u0660.\u0660.\u0661:{port}/",
    "ideographic full stops": "http://127\u30020\u30020\u30021:{port}/",
    "full-width full stops": "http://127\uff0e0\uff0e0\uff0e1:{port}/",
    "full-width letters": "http://\uff4c\uff4f\uff43\uff41\uff4c\uff48\uff4f\uff53\uff54:{port}/",
    "soft hyphen": "http://local\u00adhost:{port}/",
    "zero-width space": "http://127.0.0.1\u200b:{port}/",
    "small letter of another alphabet": "http://\u2113ocalhost:{port}/",
    "full-width slash": "http://127.0.0.1:{port}\uff0fexample.test/",
    "full-width at sign": "http://example.test\uff20127.0.0.1:{port}/",
    "percent-encoded digits": "http://%31%32%37.0.0.1:{port}/",
    "percent-encoded NUL": "http://127.0.0.1%00.example.test:{port}/",
    "percent-encoded slash": "http://127.0.0.1%2f.example.test:{port}/",
    "user info": "http://example.test@127.0.0.1:{port}/",
    "user info with a port": "http://example.test:80@127.0.0.1:{port}/",
    "user info twice": "http://a@example.test@127.0.0.1:{port}/",
    "address as user info": "http://127.0.0.1:{port}@example.test/",
    "backslash before the at sign": "http://127.0.0.1:{port}\\@example.test/",
    "backslash behind the host": "http://127.0.0.1:{port}\\.example.test/",
    "backslashes as slashes": "http:\\\\127.0.0.1:{port}\\",
    "fragment before the at sign": "http://127.0.0.1:{port}#@example.test/",
    "query before the at sign": "http://127.0.0.1:{port}?@example.test/",
    "space in the host": "http://127.0.0.1 .example.test:{port}/",
    "tab in the host": "http://127.0.\t0.1:{port}/",
    "line break in the host": "http://127.0.0.1\r\n.example.test:{port}/",
    "line break in the path": "http://127.0.0.1:{port}/\r\nX-Injected: yes",
    "line break in the query": "http://example.test/?a=\r\nX-Injected: yes",
    "NUL in the path": "http://example.test/\x00",
    "port 0": "http://example.test:0/",
    "port of SSH": "http://example.test:22/",
    "port of SMTP": "http://example.test:25/",
    "port of X11": "http://example.test:6000/",
    "port too large": "http://example.test:65536/",
    "port below 0": "http://example.test:-1/",
    "full-width port": "http://127.0.0.1:\uff18\uff10/",
    "port with a sign": "http://127.0.0.1:+{port}/",
    "file": "file:///etc/passwd",
    "file on a host": "file://127.0.0.1/etc/passwd",
    "gopher": "gopher://127.0.0.1:{port}/_GET",
    "dict": "dict://127.0.0.1:{port}/",
    "ftp": "ftp://127.0.0.1:{port}/",
    "WebSocket": "ws://127.0.0.1:{port}/",
    "Unix socket": "http+unix://%2Fvar%2Frun%2Fdocker.sock/info",
    "scheme within a scheme": "jar:http://127.0.0.1:{port}/!/",
    "data": "data:text/plain,x",
    "scheme in capitals": "HTTP://127.0.0.1:{port}/",
    "no host": "http:///127.0.0.1:{port}/",
    "no slashes": "http:127.0.0.1:{port}/",
    "label too long": f"http://{'a' * 64}.test/",
    "name too long": f"http://{'a.' * 127}test/",
    "name much too long": f"http://{'a' * 50_000}/",
    "empty label": "http://a..test/",
}

REFUSALS = {"url_not_allowed", "invalid_url", "invalid_headers"}


@dataclass
class NameServer:
    """A name server on loopback.

    Attributes:
        names: Answers by name; each further one is for the next question, the last one stays.
        asked: How often each name was asked for.
    """

    names: dict[str, list[list[str]]]
    asked: Counter[str] = field(default_factory=Counter)
    port: int = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[NameServer]:
        server = self

        class Protocol(asyncio.DatagramProtocol):
            def connection_made(self, transport: Any) -> None:
                self.transport = transport

            def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
                self.transport.sendto(server.answer(data), addr)

        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(Protocol, ("127.0.0.1", 0))
        self.port = transport.get_extra_info("sockname")[1]
        try:
            yield self
        finally:
            transport.close()

    def answer(self, data: bytes) -> bytes:
        query = dns.message.from_wire(data)
        answer = dns.message.make_response(query)
        question = query.question[0]
        name = question.name.to_text(omit_final_dot=True).lower()
        kind = question.rdtype
        if kind == dns.rdatatype.A:
            self.asked[name] += 1
        versions = self.names.get(name)
        if versions is None:
            answer.set_rcode(3)
            return answer.to_wire()
        at = max(self.asked[name] - 1, 0)
        addresses = versions[min(at, len(versions) - 1)]
        wanted = [a for a in addresses if (":" in a) == (kind == dns.rdatatype.AAAA)]
        if wanted:
            answer.answer.append(dns.rrset.from_text_list(question.name, 0, "IN", kind, wanted))
        return answer.to_wire()

    @property
    def resolve(self) -> Resolver:
        """Asks this server for names and the operating system for everything it takes for one."""
        resolver = dns.asyncresolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], self.port

        async def resolve(host: str, port: int) -> Sequence[str]:
            loop = asyncio.get_running_loop()
            if not any(host.rstrip(".").endswith(end) for end in OURS):
                found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
                return [str(address[0]) for *_, address in found]
            addresses: list[str] = []
            for kind in ("A", "AAAA"):
                try:
                    addresses += [r.address for r in await resolver.resolve(host, kind)]
                except dns.resolver.NoAnswer:
                    continue
                except dns.resolver.NXDOMAIN:
                    raise socket.gaierror(socket.EAI_NONAME, "no such host") from None
            return addresses

        return resolve


OURS = (".test", "metadata.google.internal", "instance-data")


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    async with NameServer(
        {
            "example.test": [["93.184.215.14"]],
            "loopback.test": [["127.0.0.1"]],
            "127.0.0.1.nip.test": [["127.0.0.1"]],
            "loopback6.test": [["::1"]],
            "mapped.test": [["::ffff:127.0.0.1"]],
            "intranet.test": [["10.1.2.3", "fd00::1"]],
            "alias.test": [["127.0.0.1"]],
            "front.test": [["127.0.0.2"]],
            "metadata.google.internal": [["169.254.169.254"]],
            "instance-data": [["169.254.169.254"]],
            "rebinding.test": [["127.0.0.2"], ["127.0.0.1"]],
            "both.test": [["127.0.0.1", "127.0.0.2", "10.0.0.1"]],
            "dead.test": [["127.0.0.3", "127.0.0.1"]],
        }
    ).serving() as server:
        yield server


@dataclass
class Inside:
    """A server that must not be reached, on every loopback address of its port.

    Attributes:
        met: Connections that came.
    """

    port: int = 0
    met: int = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Inside]:
        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.met += 1
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
            await writer.drain()
            writer.close()

        first = await asyncio.start_server(meet, "127.0.0.1", self.port)
        self.port = first.sockets[0].getsockname()[1]
        second = await asyncio.start_server(meet, "::1", self.port)
        try:
            yield self
        finally:
            first.close()
            second.close()


@pytest.fixture
async def inside() -> AsyncIterator[Inside]:
    async with Inside().serving() as server:
        yield server


def get(url: str) -> OutgoingRequest:
    return OutgoingRequest(method="GET", url=url, headers={}, timeout_s=5)


async def refusal(transport: HttpTransport, url: str) -> str:
    """Make a request that is refused before anything is connected to; return why."""
    with pytest.raises((InvalidInputError, NetworkError)) as raised:
        await transport.send(get(url))
    error = raised.value
    if isinstance(error, NetworkError):
        return error.failure.value
    return error.code


def test_table_is_long_enough() -> None:
    assert len(TRICKS) >= 60


@pytest.mark.parametrize("trick", TRICKS)
async def test_trick_is_refused(trick: str, names: NameServer, inside: Inside) -> None:
    async with HttpTransport(AddressGuard(resolve=names.resolve)) as transport:
        code = await refusal(transport, TRICKS[trick].format(port=inside.port))
    assert code in REFUSALS
    assert inside.met == 0


@pytest.mark.parametrize("trick", TRICKS)
async def test_trick_is_refused_behind_a_redirect(
    trick: str, names: NameServer, inside: Inside
) -> None:
    target = TRICKS[trick].format(port=inside.port)
    if any(ord(character) < ord(" ") for character in target):
        pytest.skip("no header can hold it")

    async def lead_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        location = target.encode("latin-1" if target.isascii() else "utf-8")
        writer.write(b"HTTP/1.1 307 Go\r\nContent-Length: 0\r\nLocation: " + location + b"\r\n\r\n")
        await writer.drain()
        writer.close()

    front = await asyncio.start_server(lead_on, "127.0.0.2", 0)
    guard = AddressGuard(resolve=names.resolve, allowed_networks=[ip_network("127.0.0.2/32")])
    port = front.sockets[0].getsockname()[1]
    async with front, HttpTransport(guard) as transport:
        code = await refusal(transport, f"http://front.test:{port}/")
    # Where it is no URL of its own it leads back to where it came from, time and again.
    assert code in {*REFUSALS, "bad_redirect", "too_many_redirects"}
    assert inside.met == 0


async def test_trap_is_armed(names: NameServer, inside: Inside) -> None:
    guard = AddressGuard(resolve=names.resolve, allow_private_networks=True)
    async with HttpTransport(guard) as transport:
        for host in ("127.0.0.1", "localhost", "loopback.test", "loopback6.test", "mapped.test"):
            answer = await transport.send(get(f"http://{host}:{inside.port}/"))
            assert answer.content == b"secret"
    assert inside.met == 5


# Names that change their mind


async def test_rebound_name_is_judged_at_every_connection(names: NameServer) -> None:
    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    front = await asyncio.start_server(once, "127.0.0.2", 0)
    port = front.sockets[0].getsockname()[1]
    guard = AddressGuard(resolve=names.resolve, allowed_networks=[ip_network("127.0.0.2/32")])
    async with front, Inside(port).serving() as inside, HttpTransport(guard) as transport:
        first = await transport.send(get(f"http://rebinding.test:{port}/"))
        assert first.content == b"ok"
        assert names.asked["rebinding.test"] == 1
        assert await refusal(transport, f"http://rebinding.test:{port}/") == "url_not_allowed"
        assert names.asked["rebinding.test"] == 2
        assert inside.met == 0


async def test_only_the_allowed_addresses_of_a_name_are_tried(names: NameServer) -> None:
    guard = AddressGuard(
        resolve=names.resolve,
        allowed_networks=[ip_network("127.0.0.2/32"), ip_network("127.0.0.3/32")],
    )
    async with Inside().serving() as inside, HttpTransport(guard) as transport:
        # Nobody listens at the allowed addresses.
        for name in ("both.test", "dead.test"):
            with pytest.raises(NetworkError) as raised:
                await transport.send(get(f"http://{name}:{inside.port}/"))
            assert raised.value.failure is NetworkFailure.NOT_CONNECTED
        assert inside.met == 0


# Settings


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[fe80::1]", "[fd00:ec2::254]", "100.100.100.200", "0.0.0.0", "224.0.0.1"],
)
async def test_private_networks_do_not_include_metadata(host: str) -> None:
    async with HttpTransport(AddressGuard(allow_private_networks=True)) as transport:
        assert await refusal(transport, f"http://{host}/") == "url_not_allowed"


async def test_denied_networks_win(names: NameServer, inside: Inside) -> None:
    guard = AddressGuard(
        allow_private_networks=True,
        allowed_networks=[ip_network("127.0.0.0/8"), ip_network("93.184.0.0/16")],
        denied_networks=[ip_network("127.0.0.1/32"), ip_network("93.184.215.0/24")],
        resolve=names.resolve,
    )
    async with HttpTransport(guard) as transport:
        for host in (f"127.0.0.1:{inside.port}", f"mapped.test:{inside.port}", "example.test"):
            assert await refusal(transport, f"http://{host}/") == "url_not_allowed"
    assert inside.met == 0
