"""Which addresses a provider's base URL may name: the guard against server-side request forgery.

A tenant writes the URL, so this process must not be talked into calling what only
it can reach. The URL is checked when a profile is made, and each address again when
the socket to it is made: a name that resolves to something else by then is refused
(DNS rebinding), and so is every redirect (`http` follows none).
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from mesh.runtime.errors import InvalidArgument, PermissionDenied

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.ip_network("64:ff9b:1::/48")
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "169.254.170.2", "fd00:ec2::254", "100.100.100.200", "192.0.0.192")
)


class RefusedAddressError(OSError):
    """A socket to this address may not be made."""


def _innermost(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 address stands for, else the address itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or address in _NAT64_LOCAL:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressPolicy:
    """Public addresses over https, and what the operator's settings add to that."""

    allow_loopback: bool = False
    """Also this machine's own providers, with http there."""
    allow_private: bool = False
    """Also providers in the organisation's private networks. Link-local and metadata never."""

    def permits(self, address: Address) -> bool:
        """Tell whether a socket to the address may be made."""
        inner = _innermost(address)
        if inner in _METADATA or inner.is_link_local or inner.is_multicast or inner.is_unspecified:
            return False
        if inner.is_loopback:
            return self.allow_loopback
        if inner.is_global:
            return True
        return self.allow_private and inner.is_private and not inner.is_reserved

    def check_url(self, url: str) -> None:
        """Check what can be told without resolving the name.

        Raises:
            InvalidArgument: it is no plain http or https URL.
            PermissionDenied: its scheme or address is not permitted.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            raise InvalidArgument("INVALID_ARGUMENT", "base_url is no http or https address") from None
        if parts.scheme not in ("http", "https") or not host or port == 0:
            raise InvalidArgument("INVALID_ARGUMENT", "base_url is no http or https address")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise InvalidArgument("INVALID_ARGUMENT", "base_url carries credentials, a query or a fragment")
        address = _literal(host)
        loopback = host == "localhost" or (address is not None and _innermost(address).is_loopback)
        if parts.scheme == "http" and not (loopback and self.allow_loopback):
            raise PermissionDenied("PROVIDER_REFUSED", "base_url must be https")
        if (loopback and not self.allow_loopback) or (address is not None and not self.permits(address)):
            raise PermissionDenied("PROVIDER_REFUSED", "base_url names an address that may not be reached")

    def socket_for(self, info: tuple[Any, ...]) -> socket.socket:
        """Make the socket to one resolved address (aiohttp's `socket_factory`).

        Raises:
            RefusedAddressError: the policy does not permit it.
        """
        family, kind, protocol, _name, sockaddr = info
        if not self.permits(ipaddress.ip_address(str(sockaddr[0]).partition("%")[0])):
            raise RefusedAddressError("the provider's name resolves to an address that may not be reached")
        made = socket.socket(family=family, type=kind, proto=protocol)
        made.setblocking(False)
        return made


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
