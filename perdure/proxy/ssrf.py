"""Keeps outbound requests away from the networks that the engine itself runs in.

A host is resolved here, every address is judged, and the connection is made to a judged address:
a name that resolves differently the second time gains nothing. The check happens whenever a
connection is opened, so redirects and links of providers go through it like any other URL. Hosts
that one program reads as an address and another one as a name are refused unseen.
"""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import (
    AddressValueError,
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
)
from typing import TypeAlias

from perdure.errors import InvalidInputError

__all__ = ["AddressGuard", "Network", "Resolver", "check_host", "check_port", "is_public"]

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a host and port to addresses; raises `OSError`."""

Network: TypeAlias = IPv4Network | IPv6Network
Address: TypeAlias = IPv4Address | IPv6Address

_METADATA: tuple[Network, ...] = (
    IPv4Network("100.100.100.200/32"),
    IPv4Network("168.63.129.16/32"),
    IPv4Network("169.254.0.0/16"),
    IPv4Network("192.0.0.0/24"),
    IPv6Network("fd00:ec2::/32"),
    IPv6Network("fd20:ce::/32"),
    IPv6Network("fe80::/10"),
)
"""Where clouds keep the credentials of machines; some lie in networks of other kinds."""

_NEVER_PUBLIC: tuple[Network, ...] = (
    *_METADATA,
    # Tunnels to who knows where, which older Pythons take for public.
    IPv4Network("192.88.99.0/24"),
    IPv6Network("64:ff9b:1::/48"),
    IPv6Network("2001::/32"),
)

_PRIVATE: tuple[Network, ...] = (
    IPv4Network("10.0.0.0/8"),
    IPv4Network("100.64.0.0/10"),
    IPv4Network("127.0.0.0/8"),
    IPv4Network("172.16.0.0/12"),
    IPv4Network("192.168.0.0/16"),
    IPv6Network("::1/128"),
    IPv6Network("fc00::/7"),
)
"""Loopback and private networks: what local development needs."""

_NAT64 = IPv6Network("64:ff9b::/96")

_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*", re.IGNORECASE)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.IGNORECASE)
_MAX_NAME = 253
_LOOPBACK_NAME = re.compile(r"(.+\.)?localhost\.?", re.IGNORECASE)
_LOOPBACK = ("127.0.0.1", "::1")

# Ports of other protocols, which may take an HTTP request for something else; browsers refuse
# them, too.
_FOREIGN_PORTS = frozenset(
    {7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95}
    | {101, 102, 103, 104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179}
    | {389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601}
    | {636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566}
    | {6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080}
)


def is_public(address: Address) -> bool:
    """Return whether an address belongs to the public internet.

    Private, loopback, link-local, shared, multicast and reserved addresses do not, nor do the
    metadata addresses of clouds, nor an IPv6 address that carries such an IPv4 address.
    """
    if isinstance(address, IPv6Address):
        if (inner := _translated(address)) is not None:
            return _is_public(inner)
        if address.sixtofour is not None and not _is_public(address.sixtofour):
            return False
        return _is_public(address) and not address.is_site_local
    return _is_public(address)


def check_host(host: str) -> None:
    """Refuse a host that is not written as either a name or an address.

    Numbers such as `2130706433`, `0x7f.1` or `127.0.0.1.` are addresses to some programs and names
    to others; a zone (`fe80::1%eth0`) means a network of this machine.

    Args:
        host: As it would be resolved: in ASCII, without brackets.

    Raises:
        InvalidInputError: With code `invalid_url`.
    """
    if not _is_well_formed(host):
        raise InvalidInputError(
            "The host of the URL is neither a name nor an address in its usual form.",
            code="invalid_url",
        )


def check_port(port: int) -> None:
    """Refuse ports that belong to other protocols than HTTP.

    Raises:
        InvalidInputError: With code `url_not_allowed`.
    """
    if port in _FOREIGN_PORTS:
        raise InvalidInputError(
            f"Port {port} belongs to another protocol than HTTP.", code="url_not_allowed"
        )


class AddressGuard:
    """Decides which addresses may be connected to.

    Args:
        allow_private_networks: Let loopback and private addresses through, for local development;
            not those of metadata, link-local and the like, which must be allowed by name.
        allowed_networks: Networks that may be reached whatever they are.
        denied_networks: Networks that may not be reached, though they are public or allowed.
        resolve: Resolver of host names; the operating system's by default.
    """

    def __init__(
        self,
        *,
        allow_private_networks: bool = False,
        allowed_networks: Iterable[Network] = (),
        denied_networks: Iterable[Network] = (),
        resolve: Resolver | None = None,
    ) -> None:
        private = _PRIVATE if allow_private_networks else ()
        self._private = tuple(private)
        self._allowed = tuple(allowed_networks)
        self._denied = tuple(denied_networks)
        self._resolve = resolve or _resolve_by_system

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host that may be connected to, in the resolver's order.

        Raises:
            InvalidInputError: With code `url_not_allowed`, if there are only others; with
                `invalid_url` if it is no proper host.
            OSError: If the host cannot be resolved.
        """
        check_host(host)
        check_port(port)
        # Whatever a name server says of it.
        is_loopback = _LOOPBACK_NAME.fullmatch(host) is not None
        found = _LOOPBACK if is_loopback else await self._resolve(host, port)
        allowed = [address for address in found if self._allows(ip_address(address))]
        if found and not allowed:
            raise _not_allowed(host)
        return allowed

    def check_address(self, address: str) -> None:
        """Refuse an address that may not be connected to.

        Raises:
            InvalidInputError: With code `url_not_allowed`.
        """
        if not self._allows(ip_address(address)):
            raise _not_allowed(address)

    def _allows(self, address: Address) -> bool:
        meant = _translated(address) if isinstance(address, IPv6Address) else None
        inner = address if meant is None else meant
        spellings = (address, inner)
        if _in(spellings, self._denied):
            return False
        if _in(spellings, self._allowed) or is_public(address):
            return True
        return _in((inner,), self._private) and not _in((inner,), _METADATA)


def _not_allowed(host: str) -> InvalidInputError:
    return InvalidInputError(
        f"The host {host!r} is in a private network, which outbound requests may not reach. "
        "PERDURE_ALLOW_PRIVATE_NETWORKS=true lets them reach loopback and private networks, "
        "PERDURE_OUTBOUND_ALLOWED_NETWORKS single networks.",
        code="url_not_allowed",
    )


async def _resolve_by_system(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _is_well_formed(host: str) -> bool:
    if ":" in host:
        try:
            return IPv6Address(host).scope_id is None
        except AddressValueError:
            return False
    name = host.removesuffix(".")
    if not _NAME.fullmatch(name) or len(name) > _MAX_NAME:
        return False
    if not _NUMBER.fullmatch(name.rpartition(".")[2]):
        return True
    try:
        return str(IPv4Address(host)) == host
    except AddressValueError:
        return False


def _in(addresses: Iterable[Address], networks: Sequence[Network]) -> bool:
    return any(
        address.version == network.version and address in network
        for address in addresses
        for network in networks
    )


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
        and not _in((address,), _NEVER_PUBLIC)
    )


def _translated(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that is really meant, None if it is no other than this one."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped
