"""What is said of a Redis by what it says of itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gotaskq.backend import Finding
from gotaskq.backends.redis.check import REDIS, VALKEY, Product, check_server

GOOD_INFO = {"redis_version": "8.6.5", "role": "master", "maxmemory_policy": "noeviction", "aof_enabled": 1}
GOOD_CONFIG = {"maxmemory-policy": "noeviction", "appendfsync": "always", "save": "3600 1"}


def check(
    info: dict[str, object] | None = None,
    config: dict[str, str] | None = None,
    *,
    host: str | None = "localhost",
    has_password: bool = False,
) -> list[Finding]:
    """Check a good server with these differences."""
    return check_server(GOOD_INFO | (info or {}), GOOD_CONFIG | (config or {}), host=host, has_password=has_password)


def bad(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.severity, finding.what) for finding in findings if finding.severity != "ok"]


def valkey(version: str) -> dict[str, object]:
    return {"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": version}


def test_a_server_set_up_well_has_nothing_against_it() -> None:
    findings = check()

    assert bad(findings) == []
    assert [finding.what for finding in findings] == [
        "Redis 8.6.5",
        "maxmemory-policy is noeviction",
        "appendonly is on and appendfsync is always",
    ]


@pytest.mark.parametrize(
    ("info", "what"),
    [
        ({"redis_version": "6.0.20"}, "Redis 6.0.20 is too old"),
        ({"redis_version": "5.0.14"}, "Redis 5.0.14 is too old"),
    ],
)
def test_a_server_that_is_too_old_is_an_error(info: dict[str, object], what: str) -> None:
    assert bad(check(info)) == [("error", what)]


@pytest.mark.parametrize("version", ["", "unstable", "7.x.1", "7.2", "\u0667.2.4"])
def test_a_version_that_cannot_be_read_is_a_warning(version: str) -> None:
    [(severity, what)] = bad(check({"redis_version": version}))

    assert (severity, what) == ("warning", f"the server's version is unknown: {version!r}")


@pytest.mark.parametrize(
    ("info", "advice"),
    [
        ({"redis_version": "6.2.22"}, "update to 6.2.23 or later"),
        ({"redis_version": "7.4.6"}, "update to 7.4.10 or later"),
        (valkey("8.1.4"), "update to 8.1.9 or later"),
        ({"redis_version": "7.0.15"}, "use a line that does: 6.2, 7.2, 7.4, 8.2, 8.4, 8.6, 8.8"),
        ({"redis_version": "8.0.4"}, "use a line that does: 6.2, 7.2, 7.4, 8.2, 8.4, 8.6, 8.8"),
    ],
)
def test_a_server_with_known_holes_is_a_warning_that_names_the_way_out(info: dict[str, object], advice: str) -> None:
    [finding] = [finding for finding in check(info) if finding.severity != "ok"]

    assert (finding.severity, finding.advice) == ("warning", advice)


@pytest.mark.parametrize("info", [{"redis_version": "99.0.0"}, valkey("99.0.0"), valkey("9.1.1")])
def test_a_server_newer_than_what_we_know_is_no_warning(info: dict[str, object]) -> None:
    assert bad(check(info)) == []


@pytest.mark.parametrize(("product", "key"), [(REDIS, "redis_version"), (VALKEY, "valkey_version")])
def test_the_least_patches_of_the_table_are_enough(product: Product, key: str) -> None:
    for (major, minor), patch in product.patched.items():
        assert bad(check({key: f"{major}.{minor}.{patch}"})) == []
        assert (major, minor) >= product.least


def test_a_replica_is_an_error() -> None:
    assert bad(check({"role": "slave"})) == [("error", "this server is a replica: it takes no jobs")]


@pytest.mark.parametrize(
    ("info", "config"),
    [({}, {"maxmemory-policy": "allkeys-lru"}), ({"maxmemory_policy": "allkeys-lru"}, {"maxmemory-policy": ""})],
)
def test_an_eviction_policy_is_a_warning_wherever_it_is_read(info: dict[str, object], config: dict[str, str]) -> None:
    assert bad(check(info, config)) == [
        ("warning", "maxmemory-policy is allkeys-lru: a server that runs out of memory forgets jobs")
    ]


@pytest.mark.parametrize(
    ("save", "lost"), [("3600 1", "every change since the last snapshot"), ("", "every job")], ids=["snapshots", "none"]
)
def test_without_the_append_only_file_it_says_what_that_costs(save: str, lost: str) -> None:
    [(severity, what)] = bad(check({"aof_enabled": 0}, {"save": save}))

    assert severity == "warning"
    assert what.endswith(f"can lose {lost}")


@pytest.mark.parametrize(("fsync", "cost"), [("everysec", "about the last second"), ("no", "half a minute")])
def test_a_lazy_append_only_file_says_what_that_costs(fsync: str, cost: str) -> None:
    [(severity, what)] = bad(check({}, {"appendfsync": fsync}))

    assert (severity, f"appendfsync is {fsync}: " in what, cost in what) == ("warning", True, True)


def test_settings_that_are_not_ours_to_read_are_a_warning_where_they_matter() -> None:
    findings = check_server(GOOD_INFO, {}, host=None, has_password=False)

    assert bad(findings) == [("warning", "appendonly is on, but appendfsync cannot be read")]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.8.8.8", "::1", "[::1]", None])
def test_on_this_machine_no_password_is_needed(host: str | None) -> None:
    assert bad(check(host=host)) == []


@pytest.mark.parametrize("host", ["cache", "10.0.0.7", "0.0.0.0", "localhost.example.com", "fd00::1"])
def test_elsewhere_a_password_is(host: str) -> None:
    [(severity, what)] = bad(check(host=host))

    assert (severity, host in what) == ("warning", True)
    assert bad(check(host=host, has_password=True)) == []


@given(
    info=st.dictionaries(st.sampled_from([*GOOD_INFO, "valkey_version"]), st.text() | st.integers()),
    config=st.dictionaries(st.sampled_from([*GOOD_CONFIG]), st.text()),
)
def test_whatever_a_server_says_it_is_judged(info: dict[str, object], config: dict[str, str]) -> None:
    assert all(finding.what for finding in check_server(info, config, host="h", has_password=False))
