"""Keeps outbound requests away from the networks that the engine itself runs in.

A host is resolved here, every address is judged, and the connection is made to a judged address:
a name that resolves differently the second time gains nothing. The check happens whenever a
connection is opened, so redirects and links of providers go through it like any other URL.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TypeAlias

from perdure.errors import InvalidInputError

__all__ = ["AddressGuard", "Resolver", "is_public"]

Resolver: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]
"""Resolves a host and port to addresses; raises `OSError`."""

Network: TypeAlias = IPv4Network | IPv6Network

_METADATA = (IPv4Network("168.63.129.16/32"), IPv4Network("192.0.0.0/24"))
"""Where clouds keep metadata behind addresses that older Pythons take for public."""

_NAT64 = IPv6Network("64:ff9b::/96")


def is_public(address: IPv4Address | IPv6Address) -> bool:
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


class AddressGuard:
    """Decides which addresses may be connected to.

    Args:
        allow_private_networks: Let everything through, for local development.
        allowed_networks: Networks that may be reached although they are not public.
        resolve: Resolver of host names; the operating system's by default.
    """

    def __init__(
        self,
        *,
        allow_private_networks: bool = False,
        allowed_networks: Iterable[Network] = (),
        resolve: Resolver | None = None,
    ) -> None:
        self._allow_all = allow_private_networks
        self._allowed = tuple(allowed_networks)
        self._resolve = resolve or _resolve_by_system

    async def addresses(self, host: str, port: int) -> list[str]:
        """Return the addresses of a host that may be connected to, in the resolver's order.

        Raises:
            InvalidInputError: With code `url_not_allowed`, if there are only others.
            OSError: If the host cannot be resolved.
        """
        found = await self._resolve(host, port)
        allowed = [address for address in found if self._allows(address)]
        if found and not allowed:
            raise InvalidInputError(
                f"The host {host!r} is in a private network, which outbound requests may not "
                "reach. For local development set PERDURE_ALLOW_PRIVATE_NETWORKS=true.",
                code="url_not_allowed",
            )
        return allowed

    def _allows(self, address: str) -> bool:
        if self._allow_all:
            return True
        parsed = ip_address(address)
        return is_public(parsed) or any(
            parsed in network for network in self._allowed if network.version == parsed.version
        )


async def _resolve_by_system(host: str, port: int) -> Sequence[str]:
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    return (
        address.is_global
        and not address.is_multicast
        and not address.is_reserved
        and not address.is_unspecified
        and not any(address in network for network in _METADATA)
    )


def _translated(address: IPv6Address) -> IPv4Address | None:
    """Return the IPv4 address that is really meant, None if it is no other than this one."""
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped
