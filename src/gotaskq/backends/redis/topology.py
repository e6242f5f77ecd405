"""Where the server is: one by its address, the master that Sentinels name, or the one in a Cluster that owns a slot.

Nothing else in this package knows which of the three it talks to.
"""

import asyncio
import ssl
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio import Sentinel
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gotaskq.backends.redis.slots import Place, SlotMap
from gotaskq.errors import ConfigError

SCHEMES: Final = (
    "redis",
    "rediss",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
    "valkey",
    "valkeys",
)
DEFAULT_PORT: Final = 6379
SENTINEL_PORT: Final = 26379
CONNECT_TIMEOUT_S: Final = 2.0
CLIENT_NAME: Final = "gotaskq"

# What may stand behind the ? of a URL.
PARAMETERS: Final = (
    "ssl_ca_certs",
    "ssl_certfile",
    "ssl_keyfile",
    "ssl_check_hostname",
    "sentinel_username",
    "sentinel_password",
)


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, read."""

    kind: str  # "server", "sentinel" or "cluster"
    hosts: tuple[tuple[str, int], ...]
    master: str = ""
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    has_tls: bool = False
    parameters: dict[str, str] = field(default_factory=dict, repr=False)


def read_url(url: str) -> Address:
    """Return what a URL says; raises ConfigError, without the URL's secrets, for one that cannot be used."""
    try:
        parts = urlsplit(url)
        userinfo, _, hosts = parts.netloc.rpartition("@")
        username, colon, password = userinfo.partition(":")
        scheme, _, topology = parts.scheme.partition("+")
        kind = topology or "server"
        path = parts.path.strip("/").split("/")
        address = Address(
            kind=kind,
            hosts=_hosts(hosts, SENTINEL_PORT if kind == "sentinel" else DEFAULT_PORT),
            master=unquote(path.pop(0)) if kind == "sentinel" else "",
            database=_database(path),
            username=unquote(username) or None,
            password=unquote(password) if colon else None,
            has_tls=scheme in ("rediss", "valkeys"),
            parameters=dict(parse_qsl(parts.query, strict_parsing=bool(parts.query))),
        )
    except ValueError as error:
        raise ConfigError("BACKEND_URL", f"{url.partition('://')[0]}://…", f"{error}; {ALLOWED}") from None
    _check(address, url)
    return address


ALLOWED: Final = (
    "write redis://[user:password@]host:port/0, rediss://… for TLS, redis+sentinel://host1,host2,host3/name[/0] "
    "or redis+cluster://host1,host2"
)


def _check(address: Address, url: str) -> None:
    wrong = None
    if address.kind == "sentinel" and not address.master:
        wrong = "a Sentinel URL names its master behind the hosts"
    elif address.kind == "server" and len(address.hosts) > 1:
        wrong = "a server's URL names one host"
    elif address.kind == "cluster" and address.database:
        wrong = "a Cluster has only database 0"
    elif unknown := [name for name in address.parameters if name not in PARAMETERS]:
        wrong = f"unknown parameter {unknown[0]!r}; there are {', '.join(PARAMETERS)}"
    if wrong is not None:
        raise ConfigError("BACKEND_URL", f"{url.partition('://')[0]}://…", f"{wrong}; {ALLOWED}")


def _hosts(text: str, default_port: int) -> tuple[tuple[str, int], ...]:
    hosts = []
    for host in text.split(","):
        parts = urlsplit(f"//{host}")
        hosts.append((parts.hostname or "localhost", parts.port or default_port))
    return tuple(hosts)


def _database(path: list[str]) -> int:
    if path in ([], [""]):
        return 0
    if len(path) > 1 or not path[0].isdecimal():
        raise ValueError(f"{'/'.join(path)!r} is no database number")
    return int(path[0])


def _slots(address: Address) -> SlotMap:
    options = {
        "username": address.username,
        "password": address.password,
        "socket_timeout": CONNECT_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "retry": Retry(NoBackoff(), 0),
        "protocol": 2,
        **tls_options(address),
    }
    return SlotMap(address.hosts, options)


def tls_options(address: Address) -> dict[str, Any]:
    """Return what a URL says of TLS as redis-py's clients of a server take it."""
    options: dict[str, Any] = {
        name: value != "false" if name == "ssl_check_hostname" else value
        for name, value in address.parameters.items()
        if name.startswith("ssl_")
    }
    return {**options, "ssl": True} if address.has_tls else {}


def sentinel_options(address: Address, *, timeout_s: float) -> dict[str, Any]:
    """Return how redis-py's clients speak with Sentinels."""
    return {
        "username": address.parameters.get("sentinel_username"),
        "password": address.parameters.get("sentinel_password"),
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "ssl": address.has_tls,
    }


def _sentinels(address: Address) -> Sentinel:
    about_sentinels = sentinel_options(address, timeout_s=CONNECT_TIMEOUT_S)
    return Sentinel(address.hosts, sentinel_kwargs=about_sentinels)  # type: ignore[no-untyped-call]  # as shipped


def tls_of(address: Address) -> ssl.SSLContext | None:
    """Return how to speak TLS with the servers, or None; raises ConfigError for files that cannot be read."""
    if not address.has_tls:
        return None
    given = address.parameters
    try:
        context = ssl.create_default_context(cafile=given.get("ssl_ca_certs"))
        if "ssl_certfile" in given:
            context.load_cert_chain(given["ssl_certfile"], given.get("ssl_keyfile"))
    except OSError as error:
        raise ConfigError("BACKEND_URL", "rediss://…", f"its certificates cannot be read: {error}") from None
    context.check_hostname = given.get("ssl_check_hostname") != "false"
    return context


def greeting_of(address: Address) -> tuple[tuple[str | int, ...], ...]:
    """Return the calls a connection begins with."""
    greeting: list[tuple[str | int, ...]] = []
    if address.password is not None:
        user = (address.username,) if address.username else ()
        greeting.append(("AUTH", *user, address.password))
    if address.database:
        greeting.append(("SELECT", address.database))
    return (*greeting, ("CLIENT", "SETNAME", CLIENT_NAME))


class Locator:
    """Says which server serves a key: always the same one, the Sentinels' master, or the owner of its slot."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._sentinels = _sentinels(address) if address.kind == "sentinel" else None
        self._slots = _slots(address) if address.kind == "cluster" else None
        self._master: Place | None = None
        self._looking = asyncio.Lock()  # one look serves all who wait for it

    async def place_of(self, key: str) -> Place:
        """Return the host and port of a key's server; raises what the client raises."""
        if self._sentinels is not None:
            async with self._looking:
                self._master = self._master or await self._ask(self._sentinels)
                return self._master
        if self._slots is not None:
            async with self._looking:
                if self._slots.is_out_of_date:
                    await self._slots.refresh()
            return self._slots.place_of(key)
        return self._address.hosts[0]

    async def _ask(self, sentinels: Sentinel) -> Place:
        try:
            host, port = await sentinels.discover_master(self._address.master)
            return str(host), int(port)
        finally:  # a failover asks them all, and the next one is far away
            await _close(sentinels)

    def look_again(self) -> None:
        """Forget what was found: a call has failed, and the place may be another one now."""
        self._master = None
        if self._slots is not None:
            self._slots.is_out_of_date = True


async def _close(sentinels: Sentinel) -> None:
    for sentinel in sentinels.sentinels:
        await sentinel.aclose()
