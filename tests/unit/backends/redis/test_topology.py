"""URLs: each names a server, a Sentinel's master or a Cluster; a bad one is refused without its secrets."""

import pytest

from gotaskq.backends.redis.topology import Address, read_url
from gotaskq.errors import ConfigError

READ = {
    "redis://": Address(kind="server", hosts=(("localhost", 6379),)),
    "redis://h": Address(kind="server", hosts=(("h", 6379),)),
    "redis://h:7/3": Address(kind="server", hosts=(("h", 7),), database=3),
    "redis://[::1]:7": Address(kind="server", hosts=(("::1", 7),)),
    "redis://u:p%40ss@h/0": Address(kind="server", hosts=(("h", 6379),), username="u", password="p@ss"),
    "redis://:p@h": Address(kind="server", hosts=(("h", 6379),), password="p"),
    "rediss://h": Address(kind="server", hosts=(("h", 6379),), has_tls=True),
    "valkeys://h": Address(kind="server", hosts=(("h", 6379),), has_tls=True),
    "redis+sentinel://a,b:7/main/2": Address(
        kind="sentinel", hosts=(("a", 26379), ("b", 7)), master="main", database=2
    ),
    "rediss+cluster://a:1,b:2": Address(kind="cluster", hosts=(("a", 1), ("b", 2)), has_tls=True),
    "rediss://h?ssl_ca_certs=/ca.pem": Address(
        kind="server", hosts=(("h", 6379),), has_tls=True, parameters={"ssl_ca_certs": "/ca.pem"}
    ),
}

REFUSED = {
    "redis://u:secret@h:port": "Port could not be cast",
    "redis://u:secret@h/x": "'x' is no database number",
    "redis://u:secret@h/0/1": "'0/1' is no database number",
    "redis+sentinel://u:secret@h": "names its master",
    "redis+cluster://u:secret@h/1": "only database 0",
    "redis://u:secret@h?password=secret": "unknown parameter 'password'",
    "redis://u:secret@a,b": "one host",
}


@pytest.mark.parametrize("url", READ)
def test_a_url_is_read(url: str) -> None:
    assert read_url(url) == READ[url]


@pytest.mark.parametrize("url", REFUSED)
def test_a_bad_url_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(ConfigError, match="BACKEND_URL") as error:
        read_url(url)

    assert REFUSED[url] in str(error.value)
    assert "secret" not in str(error.value)
    assert "write redis://" in str(error.value)


def test_an_address_keeps_its_password_to_itself() -> None:
    assert "secret" not in repr(read_url("redis://u:secret@h?sentinel_password=secret"))
