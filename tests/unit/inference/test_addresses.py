"""Which addresses a provider may have."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.inference.addresses import AddressPolicy, RefusedAddressError
from mesh.runtime.errors import SomaError

PUBLIC = AddressPolicy()
LOOPBACK = AddressPolicy(allow_loopback=True)
PRIVATE = AddressPolicy(allow_private=True)
EVERYTHING = AddressPolicy(allow_loopback=True, allow_private=True)

NEVER = [
    "169.254.169.254",
    "169.254.170.2",
    "169.254.1.1",
    "100.100.100.200",
    "fd00:ec2::254",
    "fe80::1",
    "0.0.0.0",
    "::",
    "224.0.0.1",
    "ff02::1",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::1",
]
LOCAL = ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1"]
INSIDE = ["10.0.0.1", "172.16.0.1", "192.168.1.1", "fd12:3456::1", "::ffff:10.0.0.1", "2002:a00:1::1"]
OUTSIDE = ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8"]


def permitted(policy: AddressPolicy, address: str) -> bool:
    return policy.permits(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", NEVER)
def test_metadata_link_local_and_nobodys_addresses_are_never_permitted(address: str) -> None:
    assert not permitted(EVERYTHING, address)


@pytest.mark.parametrize("address", LOCAL)
def test_this_machine_needs_its_setting(address: str) -> None:
    assert not permitted(PUBLIC, address)
    assert not permitted(PRIVATE, address)
    assert permitted(LOOPBACK, address)


@pytest.mark.parametrize("address", INSIDE)
def test_private_networks_need_their_setting(address: str) -> None:
    assert not permitted(PUBLIC, address)
    assert not permitted(LOOPBACK, address)
    assert permitted(PRIVATE, address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_public_addresses_are_permitted(address: str) -> None:
    assert permitted(PUBLIC, address)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_in_ipv6_clothes_is_judged_as_itself(address: ipaddress.IPv4Address) -> None:
    for policy in (PUBLIC, LOOPBACK, PRIVATE, EVERYTHING):
        for clothes in (f"::ffff:{address}", f"64:ff9b::{address}"):
            assert permitted(policy, clothes) == policy.permits(address), (policy, clothes)


@given(st.ip_addresses())
def test_without_settings_only_global_addresses_are_permitted(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
) -> None:
    if PUBLIC.permits(address):
        assert not address.is_private
        assert not address.is_loopback


@pytest.mark.parametrize(
    ("policy", "url", "reason"),
    [
        (PUBLIC, "https://api.openai.com/v1", None),
        (PUBLIC, "https://8.8.8.8/v1", None),
        (PUBLIC, "http://api.openai.com/v1", "PROVIDER_REFUSED"),
        (PUBLIC, "https://localhost/v1", "PROVIDER_REFUSED"),
        (PUBLIC, "https://127.0.0.1/v1", "PROVIDER_REFUSED"),
        (PUBLIC, "https://10.0.0.1/v1", "PROVIDER_REFUSED"),
        (PUBLIC, "https://[::1]/v1", "PROVIDER_REFUSED"),
        (PUBLIC, "https://[fe80::1%25eth0]/v1", "PROVIDER_REFUSED"),
        (LOOPBACK, "http://127.0.0.1:8000/v1", None),
        (LOOPBACK, "http://localhost:8000", None),
        (LOOPBACK, "http://10.0.0.1/v1", "PROVIDER_REFUSED"),
        (PRIVATE, "https://10.0.0.1/v1", None),
        (PRIVATE, "http://10.0.0.1/v1", "PROVIDER_REFUSED"),
        (EVERYTHING, "https://169.254.169.254/", "PROVIDER_REFUSED"),
        (EVERYTHING, "ftp://example.com", "INVALID_ARGUMENT"),
        (EVERYTHING, "https://", "INVALID_ARGUMENT"),
        (EVERYTHING, "", "INVALID_ARGUMENT"),
        (EVERYTHING, "//example.com", "INVALID_ARGUMENT"),
        (EVERYTHING, "https://u:p@example.com", "INVALID_ARGUMENT"),
        (EVERYTHING, "https://example.com/?a=b", "INVALID_ARGUMENT"),
        (EVERYTHING, "https://example.com/#x", "INVALID_ARGUMENT"),
        (EVERYTHING, "https://example.com:99999", "INVALID_ARGUMENT"),
        (EVERYTHING, "https://[::1/", "INVALID_ARGUMENT"),
        (EVERYTHING, "https://]/", "INVALID_ARGUMENT"),
        (EVERYTHING, "https://a\u2100b/", "INVALID_ARGUMENT"),
    ],
)
def test_urls_are_judged_before_anything_is_resolved(
    policy: AddressPolicy, url: str, reason: str | None
) -> None:
    if reason is None:
        policy.check_url(url)
        return
    with pytest.raises(SomaError) as caught:
        policy.check_url(url)
    assert caught.value.reason == reason


def test_a_socket_is_made_to_permitted_addresses_only() -> None:
    def info(address: str) -> tuple[object, ...]:
        return (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (address, 443))

    PUBLIC.socket_for(info("8.8.8.8")).close()
    for address in ("127.0.0.1", "10.0.0.1", "169.254.169.254"):
        with pytest.raises(RefusedAddressError):
            PUBLIC.socket_for(info(address))
