"""Where the server is: from a URL to a client of one server, of a Sentinel's master, or of a Cluster.

All three answer to the same commands, so nothing else in this package knows which it talks to.
"""

from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, unquote, urlsplit

from redis.asyncio import Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gotaskq.errors import ConfigError

Client: TypeAlias = "Redis | RedisCluster"

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
SOCKET_TIMEOUT_S: Final = 5.0
MAX_CONNECTIONS: Final = 32

# What may stand behind the ? of a URL, and how the client calls it.
PARAMETERS: Final = {
    "ssl_ca_certs": "ssl_ca_certs",
    "ssl_certfile": "ssl_certfile",
    "ssl_keyfile": "ssl_keyfile",
    "ssl_check_hostname": "ssl_check_hostname",
    "sentinel_username": "",
    "sentinel_password": "",
}


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


def connect(address: Address) -> Client:
    """Return a client; it connects when it is first used."""
    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "socket_timeout": SOCKET_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "health_check_interval": 15,
        "protocol": 2,
        "client_name": "gotaskq",
        "retry": Retry(NoBackoff(), 0),  # we repeat ourselves, and only what is safe to repeat
        "max_connections": MAX_CONNECTIONS,
    }
    if address.has_tls:
        options |= {"ssl": True} | {
            PARAMETERS[name]: value != "false" if name == "ssl_check_hostname" else value
            for name, value in address.parameters.items()
            if PARAMETERS[name]
        }
    match address.kind:
        case "cluster":
            nodes = [ClusterNode(host, port) for host, port in address.hosts]
            return RedisCluster(startup_nodes=nodes, cluster_error_retry_attempts=3, **options)
        case "sentinel":
            return _sentinel_master(address, options)
        case _:
            [(host, port)] = address.hosts
            return Redis(host=host, port=port, db=address.database, **options)


def _sentinel_master(address: Address, options: dict[str, Any]) -> Client:
    about_sentinels = {
        "username": address.parameters.get("sentinel_username"),
        "password": address.parameters.get("sentinel_password"),
        "socket_timeout": CONNECT_TIMEOUT_S,
        "socket_connect_timeout": CONNECT_TIMEOUT_S,
        "ssl": address.has_tls,
    }
    sentinels = Sentinel(address.hosts, sentinel_kwargs=about_sentinels)  # type: ignore[no-untyped-call]  # as shipped
    master: Client = sentinels.master_for(address.master, db=address.database, **options)
    return master
