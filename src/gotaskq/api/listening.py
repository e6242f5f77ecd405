"""The port: bound before anything else starts, so that one that is taken is one clear line.

Several processes can share a port: each has a listener of its own, and the kernel spreads the connections.
"""

import socket
from typing import Final

from gotaskq.errors import ConfigError

BACKLOG: Final = 2_048


def bind(host: str, port: int, *, is_shared: bool = False) -> socket.socket:
    """Return a socket bound there, not listening yet; `is_shared`: others of ours may be too. Raises ConfigError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(address)
        if not is_shared:
            listener.listen(BACKLOG)  # Linux lets two bind, and refuses the second here
    except OSError as error:
        raise ConfigError(
            "PORT", f"{host}:{port}", f"cannot listen there ({error.strerror}); name another PORT"
        ) from error
    listener.setblocking(False)
    return listener


def hold_port(host: str, port: int) -> socket.socket:
    """Take a port for processes that will share it, port 0 chosen now; raises ConfigError for one that is taken.

    A shared port can be bound by any program of this user, so it is first bound for us alone: a second server on the
    same port must fail and not get half of the connections. The socket holds the port until it is closed; connections
    go only to those that listen.
    """
    if not hasattr(socket, "SO_REUSEPORT"):
        raise ConfigError("PROCESSES", "more than 1", "this system cannot share a port; use 1")
    with bind(host, port) as alone:
        port = alone.getsockname()[1]
    return bind(host, port, is_shared=True)


def url_of(listener: socket.socket) -> str:
    """Return the URL of a socket, for people."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
