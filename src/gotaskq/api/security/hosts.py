"""The names this service answers to: a page that lets its own name point here must not get through.

Used by the guard and by the fast lane. Addresses are always right: what an attacker controls is a name (DNS rebinding).
"""

import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Final

MAX_HOST_CHARS: Final = 255

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+(?:%[0-9A-Za-z._~-]+)?\]|[^:\[\]]*)(?::[0-9]{0,5})?")


class Hosts:
    """What may stand in the Host header."""

    def __init__(self, names: Iterable[str], *, is_open: bool) -> None:
        self.is_open = is_open  # any name will do
        self._names = {"localhost", socket.gethostname().lower(), *(name.lower() for name in names)}

    def admits(self, header: str) -> bool:
        """Say whether this is a name of ours, or an address."""
        if self.is_open:
            return True
        match = _HOST.fullmatch(header) if len(header) <= MAX_HOST_CHARS else None
        if match is None:
            return False
        name = match[1].lower().rstrip(".")
        return name in self._names or _is_address(name.strip("[]"))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True
