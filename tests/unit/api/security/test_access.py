"""Access: which scope a route needs, who guesses too often, and which names are ours."""

import socket
from pathlib import Path

import pytest

from gotaskq import Settings
from gotaskq.api.security.access import (
    FAILURES_A_MINUTE,
    MAX_ADDRESSES,
    Access,
    TooManyFailuresError,
    open_access,
    refuse_open_door,
    scope_of,
)
from gotaskq.api.security.hosts import Hosts
from gotaskq.api.security.tokens import Scope, TokenSet, new_token
from gotaskq.errors import ConfigError

SENT, TOKEN = new_token("shop", [Scope.SUBMIT])
RIGHT, WRONG = f"Bearer {SENT}", "Bearer gtq_shop_wrong"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def given_access(clock: Clock | None = None) -> Access:
    return Access(TokenSet([TOKEN]), Hosts((), is_open=True), clock_s=clock or Clock())


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", "/healthz", None),
        ("GET", "/readyz", None),
        ("GET", "/metrics", Scope.METRICS),
        ("GET", "/jobs/{id}", Scope.READ),
        ("HEAD", "/queue", Scope.READ),
        ("POST", "/jobs", Scope.SUBMIT),
        ("POST", "/jobs/batch", Scope.SUBMIT),
        ("POST", "/{queue}/jobs", Scope.SUBMIT),
        ("POST", "/dlq/{id}/replay", Scope.DLQ),
        ("DELETE", "/dlq/{id}", Scope.DLQ),
        ("POST", "/leases", Scope.WORK),
        ("POST", "/leases/{lease}/heartbeat", Scope.WORK),
        ("DELETE", "/jobs/{id}", Scope.ADMIN),
        ("POST", "/queue/{name}", Scope.ADMIN),
        ("PUT", "/jobs", Scope.ADMIN),
        ("POST", "/something/nobody/thought/of", Scope.ADMIN),
    ],
)
def test_a_route_needs_the_scope_of_what_it_does(method: str, path: str, scope: Scope | None) -> None:
    assert scope_of(method, path) is scope


@pytest.mark.parametrize("authorization", [RIGHT, f"bearer {SENT}", f"BEARER  {SENT}"])
def test_a_token_is_known_by_its_header(authorization: str) -> None:
    assert given_access().identify(authorization, "a") is TOKEN


@pytest.mark.parametrize("authorization", [None, "", SENT, f"Basic {SENT}", "Bearer", WRONG])
def test_no_token_or_a_wrong_one_is_nobodys(authorization: str | None) -> None:
    assert given_access().identify(authorization, "a") is None


def test_who_guesses_has_to_wait_for_as_long_as_it_says() -> None:
    clock = Clock()
    access = given_access(clock)
    for _ in range(FAILURES_A_MINUTE):
        assert access.identify(WRONG, "a") is None
        clock.now_s += 1

    with pytest.raises(TooManyFailuresError) as raised:
        access.identify(RIGHT, "a")
    assert access.identify(RIGHT, "b") is TOKEN
    clock.now_s += raised.value.retry_after_s

    assert access.identify(RIGHT, "a") is TOKEN


def test_a_request_without_a_token_is_no_guess() -> None:
    access = given_access()
    for _ in range(2 * FAILURES_A_MINUTE):
        access.identify(None, "a")

    assert access.identify(RIGHT, "a") is TOKEN


def test_the_addresses_remembered_are_bounded() -> None:
    access = given_access()
    for number in range(MAX_ADDRESSES + 100):
        access.identify(WRONG, f"address {number}")

    assert len(access._failures) == MAX_ADDRESSES


def test_a_reload_takes_the_new_tokens_and_forgets_what_was_judged(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(TOKEN.line())
    settings, judged = Settings(tokens_file=str(file)), ["a verdict"]
    access = open_access(settings, clock_s=Clock())
    access.on_change(judged.clear)
    sent, other = new_token("other", [Scope.READ])
    file.write_text(other.line())

    access.reload(settings)

    assert (access.find(f"Bearer {sent}"), access.find(RIGHT), judged) == (other, None, [])


@pytest.mark.parametrize("content", ["", "# none\n", "no token at all"])
def test_a_reload_never_opens_the_door(content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "tokens"
    file.write_text(TOKEN.line())
    settings = Settings(tokens_file=str(file))
    access = open_access(settings, clock_s=Clock())
    file.write_text(content)

    access.reload(settings)

    assert access.find(RIGHT) == TOKEN
    assert "tokens not reloaded" in caplog.text


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.7", "queue.example.com"])
def test_a_door_open_to_everybody_is_refused_unless_wanted(host: str) -> None:
    def refuse(settings: Settings) -> None:
        refuse_open_door(settings, open_access(settings, clock_s=Clock()))

    with pytest.raises(ConfigError, match="TOKENS_FILE"):
        refuse(Settings(host=host))
    refuse(Settings(host=host, insecure_no_auth=True))
    refuse(Settings(host=host, tokens=TOKEN.line()))


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost", "LOCALHOST"])
def test_loopback_needs_no_tokens(host: str) -> None:
    settings = Settings(host=host)

    refuse_open_door(settings, open_access(settings, clock_s=Clock()))


@pytest.mark.parametrize(
    "header",
    [
        *("localhost", "LocalHost:8000", "localhost.", "127.0.0.1", "127.0.0.1:8000", "10.0.0.7:80", "[::1]:8000"),
        *("[fe80::1%25eth0]", "queue.example.com", "Queue.example.com:8000", socket.gethostname()),
    ],
)
def test_our_names_and_any_address_are_ours(header: str) -> None:
    assert Hosts(["queue.example.com"], is_open=False).admits(header)


@pytest.mark.parametrize(
    "header",
    [
        *("", "evil.example.com", "localhost.evil.example.com", "evil.example.com:8000", "queue.example.com.evil"),
        *("localhost:port", "localhost:999999", "localhost@evil", "127.0.0.1.evil.example.com", "x" * 300),
        *("[::1", "::1]", "a:b:c", "localhost:80:80"),
    ],
)
def test_names_of_others_are_not(header: str) -> None:
    assert not Hosts(["queue.example.com"], is_open=False).admits(header)


@pytest.mark.parametrize(
    ("settings", "is_open"),
    [
        (Settings(), False),
        (Settings(allowed_hosts=("a",)), False),
        (Settings(allowed_hosts=("*",)), True),
        (Settings(tokens=TOKEN.line()), True),
        (Settings(tokens=TOKEN.line(), allowed_hosts=("a",)), False),
        (Settings(insecure_no_auth=True), False),
    ],
)
def test_names_are_judged_where_that_protects(settings: Settings, is_open: bool) -> None:
    assert open_access(settings, clock_s=Clock()).hosts.admits("evil.example.com") is is_open
