"""The fault proxy itself: each fault does what it says, between a plain client and a real server."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.faults.proxy import DRIP, FAIR, FaultProxy, Weather
from tests.redis_servers import HOST, RedisServer, running

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
READ = "return redis.call('GET', KEYS[1])"
SCRIPTS = {hashlib.sha1(text.encode()).hexdigest(): name for name, text in (("add", ADD), ("read", READ))}
TIMEOUT_S = 0.2  # what a client waits for a reply that will not come

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def proxy(server: RedisServer) -> Iterator[FaultProxy]:
    with server.client() as client:
        client.flushall()
    with FaultProxy(server.port, scripts=SCRIPTS) as proxy:
        yield proxy


@pytest.fixture
def client(proxy: FaultProxy) -> Iterator["redis.Redis"]:
    with connect(proxy, timeout_s=5) as client:
        yield client


def connect(proxy: FaultProxy, *, timeout_s: float) -> "redis.Redis":
    return redis.Redis(
        host=HOST,
        port=proxy.port,
        socket_timeout=timeout_s,
        protocol=2,
        retry=Retry(NoBackoff(), 0),
        single_connection_client=True,
    )


def add(client: "redis.Redis") -> object:
    return client.evalsha(hashlib.sha1(ADD.encode()).hexdigest(), 1, "n", "1")


def stored(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.get("n") or 0)


def test_it_forwards_and_counts(proxy: FaultProxy, client: "redis.Redis") -> None:
    client.script_load(ADD)
    big = b"\x00\r\n*1\r\n" * 50_000

    client.set("big", big)
    add(client)
    client.eval(READ, 1, "n")

    assert client.get("big") == big
    assert proxy.calls == {"add": 1, "read": 1}
    assert (proxy.commands["SET"], proxy.commands["GET"]) == (1, 1)
    assert proxy.connections == 1


def test_a_lost_call_is_not_executed(server: RedisServer, proxy: FaultProxy, client: "redis.Redis") -> None:
    client.script_load(ADD)
    loss = proxy.lose_call("add", nth=2)

    add(client)
    with pytest.raises(redis.ConnectionError):
        add(client)

    loss.wait()
    assert stored(server) == 1


def test_a_lost_reply_leaves_the_call_executed(server: RedisServer, proxy: FaultProxy, client: "redis.Redis") -> None:
    client.script_load(ADD)
    loss = proxy.lose_reply("add", nth=2)

    add(client)
    with pytest.raises(redis.ConnectionError):
        add(client)

    loss.wait()
    assert stored(server) == 2


def test_a_call_the_server_does_not_know_is_not_the_one_to_lose(
    server: RedisServer, proxy: FaultProxy, client: "redis.Redis"
) -> None:
    client.script_flush()
    loss = proxy.lose_reply("add")

    with pytest.raises(redis.exceptions.NoScriptError):
        add(client)
    with pytest.raises(redis.ConnectionError):
        client.eval(ADD, 1, "n", "1")

    loss.wait()
    assert stored(server) == 1


def test_what_is_pipelined_behind_a_lost_reply_is_not_sent(
    server: RedisServer, proxy: FaultProxy, client: "redis.Redis"
) -> None:
    client.script_load(ADD)
    proxy.lose_reply("add", nth=2)
    pipeline = client.pipeline(transaction=False)
    for _ in range(3):
        pipeline.evalsha(hashlib.sha1(ADD.encode()).hexdigest(), 1, "n", "1")

    with pytest.raises(redis.ConnectionError):
        pipeline.execute()

    assert stored(server) == 2


def test_a_blackhole_keeps_connections_open_and_forwards_when_healed(
    server: RedisServer, proxy: FaultProxy, client: "redis.Redis"
) -> None:
    client.script_load(ADD)
    with connect(proxy, timeout_s=TIMEOUT_S) as hasty:
        proxy.blackhole()
        with pytest.raises(redis.TimeoutError):
            add(hasty)
    waiting = threading.Thread(target=add, args=(client,))
    waiting.start()
    assert stored(server) == 0
    proxy.heal()
    waiting.join(20)

    assert wait_until(lambda: stored(server) == 2), "what was sent into the hole comes out, its sender gone or not"


@pytest.mark.parametrize("weather", [Weather(latency_s=0.02, jitter_s=0.02), DRIP, Weather(piece_bytes=7)])
def test_weather_slows_and_changes_nothing(proxy: FaultProxy, client: "redis.Redis", weather: Weather) -> None:
    proxy.weather(weather)

    client.set("text", "one\r\ntwo" * 20)

    assert client.get("text") == b"one\r\ntwo" * 20
    proxy.weather(FAIR)


def test_resets_and_refusals_end_connections(proxy: FaultProxy, client: "redis.Redis") -> None:
    client.ping()
    assert proxy.reset() == 1
    with pytest.raises(redis.ConnectionError):
        client.ping()

    proxy.refuse()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    proxy.accept()

    assert client.ping()


def test_a_connection_is_cut_within_the_replies(proxy: FaultProxy, client: "redis.Redis") -> None:
    client.set("big", b"x" * 1_000)
    proxy.cut_after(2_500)

    assert [client.get("big") for _ in range(2)] == [b"x" * 1_000] * 2
    with pytest.raises(redis.ConnectionError):
        client.get("big")

    assert client.get("big") == b"x" * 1_000, "the next connection is whole"


def test_a_server_that_is_away_looks_like_one(server: RedisServer, proxy: FaultProxy, client: "redis.Redis") -> None:
    client.ping()
    server.kill()

    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            client.ping()

    server.start()
    assert client.ping()


def wait_until(condition: Callable[[], bool], within_s: float = 20.0) -> bool:
    deadline_s = time.monotonic() + within_s
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        pause.wait(0.01)
    return True
