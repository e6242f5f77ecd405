"""Destinations: where a URL leads, and whether anything may be delivered there.

A URL that somebody else wrote must not make us their hand inside our own network (server-side request forgery). It is
read once, here; and the very address that was judged is the one that is connected to, so a name that answers otherwise
the second time (DNS rebinding) gains nothing.
Invariant: an address that is not public is connected to only where the operator named it, or the host.
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from gotaskq.delivery.errors import DestinationError

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

MAX_URL_CHARS: Final = 2_048
MAX_ADDRESSES: Final = 8  # of one name that are looked at
DEFAULT_PORTS: Final = {"http": 80, "https": 443}
LEAST_PORT: Final = 1_024  # below are mail, shells and the like, and HTTPS
SETTING: Final = "DELIVERY_ALLOW"

GLOBAL_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
UNIQUE_LOCAL: Final = ipaddress.IPv6Network("fc00::/7")
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # its last four bytes are an IPv4 address
# What Python's tables have only in later versions, or as private: this network, protocol assignments, 6to4 relays.
RESERVED: Final = tuple(map(ipaddress.IPv4Network, ("0.0.0.0/8", "192.0.0.0/24", "192.88.99.0/24")))
DOCUMENTATION: Final = ipaddress.IPv6Network("3fff::/20")
# Where clouds tell a machine its credentials; those that other rules would not catch, or only as "private".
METADATA: Final = frozenset(map(ipaddress.ip_address, ("168.63.129.16", "fd00:ec2::254", "100.100.100.200")))
MAY_BE_NAMED: Final = frozenset({None, "a loopback address", "a private address"})

_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,251}[A-Za-z0-9.])?|\[[0-9A-Fa-f:.]{2,45}\]")
_TARGET = re.compile(r"[!-\[\]-~]*")  # visible ASCII but the backslash, which some take for a slash


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL, read: `origin` is what people and breakers call it by, and holds no secret a path or query may hold."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def origin(self) -> str:
        """Scheme, host and port, as in `https://example.com`."""
        return f"{self.scheme}://{self.authority}"

    @property
    def authority(self) -> str:
        """What goes into the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def read_url(url: str) -> Destination:
    """Read a URL; raises DestinationError for what nobody could deliver to, and never shows more than its host."""
    if len(url) > MAX_URL_CHARS or _TARGET.fullmatch(url) is None:
        raise DestinationError(f"the URL must be at most {MAX_URL_CHARS} visible ASCII characters, without a backslash")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise DestinationError("the URL cannot be read: its host or its port is none") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise DestinationError("the URL must begin with https://, or with http:// where that is allowed")
    if "@" in parts.netloc:
        raise DestinationError("the URL must hold no user and no password; send a header, or sign with a secret")
    host = parts.netloc.removesuffix(f":{parts.netloc.rpartition(':')[2]}") if port is not None else parts.netloc
    if port == 0 or _HOST.fullmatch(host) is None:
        raise DestinationError("the URL must name a host in ASCII (others as xn--…), and a port from 1 to 65535")
    if "#" in url:
        raise DestinationError("the URL must have no fragment: it is never sent")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    bare = host.strip("[]").lower().rstrip(".")
    return Destination(parts.scheme, bare, port or DEFAULT_PORTS[parts.scheme], target)


async def resolve_name(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for the addresses of a name; raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(address[0]) for *_, address in found]


class Guard:
    """Judges where a delivery would go.

    `allow` holds networks and addresses, whatever they are, and host names, which may be at public, private and
    loopback addresses. What it names may be spoken to by plain HTTP, and on any port.
    """

    def __init__(self, allow: Iterable[str] = (), *, resolve: Resolve = resolve_name) -> None:
        self._resolve = resolve
        self._networks: list[Network] = []
        self._names: set[str] = set()
        for item in allow:
            try:
                self._networks.append(ipaddress.ip_network(item.strip("[]"), strict=False))
            except ValueError:
                self._names.add(item.lower().rstrip("."))

    async def addresses(self, destination: Destination) -> list[str]:
        """Return the addresses a delivery may go to; raises DestinationError for none, and OSError for no such name."""
        found = await self._found(destination)
        refusals = {address: self._refusal(address, destination) for address in found}
        admitted = [str(address) for address, refusal in refusals.items() if refusal is None]
        if not admitted:
            raise DestinationError(next((text for text in refusals.values() if text), f"{destination.host} is nowhere"))
        return admitted

    async def _found(self, destination: Destination) -> list[Address]:
        try:
            return [ipaddress.ip_address(destination.host)]
        except ValueError:
            found = await self._resolve(destination.host, destination.port)
        return [ipaddress.ip_address(text) for text in found[:MAX_ADDRESSES]]

    def _refusal(self, address: Address, destination: Destination) -> str | None:
        """Say why nothing may be delivered to this address; None: it may."""
        meant = _behind(address)
        if any(meant in network for network in self._networks):
            return None
        kind, host = _kind(meant), destination.host
        if host in self._names and kind in MAY_BE_NAMED:
            return None
        if kind is not None:
            return f"nothing is delivered to {host}: it is at {address}, {kind}; {SETTING} can allow it"
        if destination.scheme != "https":
            return f"nothing is delivered to {host} without encryption; use https, or name the host in {SETTING}"
        if destination.port != DEFAULT_PORTS["https"] and destination.port < LEAST_PORT:
            return f"nothing is delivered to port {destination.port} of {host}; name the host in {SETTING} to allow it"
        return None


def _behind(address: Address) -> Address:
    """Return the IPv4 address that an IPv6 one leads to, if it is one of those."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _kind(address: Address) -> str | None:
    """Say what an address is that is not public; None: it is."""
    if address.is_loopback:
        return "a loopback address"
    if address.is_link_local:
        return "a link-local address"
    if address in METADATA:
        return "an address of cloud metadata"
    if address.is_multicast:
        return "a multicast address"
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_UNICAST:
        return "a private address" if address in UNIQUE_LOCAL else "a reserved address"
    if address.is_reserved or address in DOCUMENTATION or any(address in network for network in RESERVED):
        return "a reserved address"
    if address.is_private:
        return "a private address"
    return None if address.is_global else "a reserved address"
