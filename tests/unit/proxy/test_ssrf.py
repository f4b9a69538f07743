from collections.abc import Sequence
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.errors import InvalidInputError
from perdure.proxy.ssrf import AddressGuard, Resolver, is_public


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "192.0.0.192",
        "192.168.1.1",
        "198.18.0.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_address_inside_is_not_public(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "140.82.121.6",
        "168.63.129.17",
        "2606:4700::1111",
        "::ffff:1.1.1.1",
        "64:ff9b::101:101",
        "2002:101:101::",
    ],
)
def test_address_outside_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@given(st.ip_addresses(v=4))
def test_ipv4_address_is_judged_the_same_inside_ipv6(address: object) -> None:
    assert is_public(ip_address(f"::ffff:{address}")) == is_public(ip_address(str(address)))


def resolver(*addresses: str) -> Resolver:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


async def test_only_public_addresses_of_a_host_are_offered() -> None:
    guard = AddressGuard(resolve=resolver("10.0.0.1", "1.1.1.1", "::1"))
    assert await guard.addresses("mixed.test", 443) == ["1.1.1.1"]


async def test_host_with_private_addresses_only_is_refused() -> None:
    guard = AddressGuard(resolve=resolver("10.0.0.1", "::1"))
    with pytest.raises(InvalidInputError, match=r"'inside\.test'") as raised:
        await guard.addresses("inside.test", 443)
    assert raised.value.code == "url_not_allowed"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "localhost"])
async def test_other_spellings_of_loopback_are_refused(host: str) -> None:
    with pytest.raises(InvalidInputError):
        await AddressGuard().addresses(host, 80)


async def test_private_networks_can_be_allowed() -> None:
    guard = AddressGuard(allow_private_networks=True, resolve=resolver("10.0.0.1"))
    assert await guard.addresses("inside.test", 80) == ["10.0.0.1"]


async def test_single_networks_can_be_allowed() -> None:
    guard = AddressGuard(
        allowed_networks=[ip_network("10.1.0.0/16"), ip_network("fd00::/8")],
        resolve=resolver("10.1.2.3", "10.2.0.1", "fd00::5"),
    )
    assert await guard.addresses("inside.test", 80) == ["10.1.2.3", "fd00::5"]
