"""`GET /events` on a shared store tells of all its processes, and who comes back at another one misses nothing."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.integration.conftest import StartServer
from tests.integration.server_process import WORKER, ServerProcess, eventually
from tests.integration.test_watching import Event, Stream
from tests.redis_servers import RedisServer, running

pytestmark = pytest.mark.slow  # processes each

JOBS = 30


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def env(redis: RedisServer, tmp_path: Path) -> dict[str, str]:
    """A store of its own for each test."""
    return {"BACKEND_URL": redis.url, "KEY_PREFIX": tmp_path.name[-32:], "NUM_WORKERS": "2", "MAX_RETRIES": "0"}


def follow(server: ServerProcess, stream: Stream) -> str:
    """Return the id of an event of a worker, from which on all processes are known to tell."""
    server.submit("ok")
    while (event := stream.read()) is not None and event.name != "job.done":
        pass
    assert event is not None
    return event.id


def submit_many(server: ServerProcess, count: int, job_type: str = "ok") -> list[str]:
    body = json.dumps({"jobs": [{"type": job_type}] * count}).encode()
    return [job["id"] for job in server.post("/jobs/batch", body).json["jobs"]]


def read_lives(stream: Stream, ids: list[str]) -> list[Event]:
    """Return the events up to the last of these jobs'; those of two processes come in no order."""
    events: list[Event] = []
    left = set(whole_lives(ids))
    while left:
        event = stream.read()
        assert event is not None, f"the stream has ended before {left}"
        events.append(event)
        left.discard((event.name, event.data["id"]))
    return events


def whole_lives(ids: list[str]) -> list[tuple[str, str]]:
    return sorted((name, job_id) for job_id in ids for name in ("job.enqueued", "job.started", "job.done"))


def lives_in(events: list[Event]) -> list[tuple[str, str]]:
    return sorted((event.name, event.data["id"]) for event in events)


def keys_of(redis: RedisServer, env: dict[str, str]) -> set[str]:
    with redis.client() as client:
        return {key.decode().rpartition(":")[2] for key in client.scan_iter(f"{env['KEY_PREFIX']}:2:*")}


def test_a_process_that_serves_http_alone_tells_what_the_workers_do(
    start_server: StartServer, env: dict[str, str]
) -> None:
    api = start_server("--no-workers", env=env)
    for _ in range(2):
        start_server(env=env, command=WORKER)
    with Stream(api, "/events").begin() as stream:
        eventually(lambda: follow(api, stream))
        ids = submit_many(api, JOBS)
        events = read_lives(stream, ids)

    assert [event for event in lives_in(events) if event[1] in ids] == whole_lives(ids)


def test_who_comes_back_at_another_process_misses_nothing_and_hears_nothing_twice(
    start_server: StartServer, env: dict[str, str]
) -> None:
    first, other = (start_server("--no-workers", env=env) for _ in range(2))
    start_server(env=env, command=WORKER)
    with Stream(first, "/events").begin() as stream:
        follow(first, stream)
        before = submit_many(first, 1)
        seen = read_lives(stream, before)
    ids = submit_many(other, JOBS)
    eventually(lambda: all(other.job(job_id)["status"] == "DONE" for job_id in ids))
    with Stream(other, "/events", last_event_id=seen[-1].id).begin() as again:
        later = submit_many(first, JOBS)
        missed = read_lives(again, ids + later)

    assert lives_in(missed) == whole_lives(ids + later)
    places = [tuple(map(int, event.id.split("-"))) for event in (*seen, *missed)]
    assert places == sorted(set(places))


def test_a_filter_holds_wherever_it_happens(start_server: StartServer, env: dict[str, str]) -> None:
    api = start_server("--no-workers", env=env)
    start_server(env=env, command=WORKER)
    with Stream(api, "/events").begin() as all_of_them, Stream(api, "/events?type=fail&status=dead").begin() as stream:
        follow(api, all_of_them)
        job_id = api.submit("fail")["id"]
        event = stream.read()

    assert event is not None
    assert (event.name, event.data["id"], event.data["error"]) == ("job.dead", job_id, "ValueError: no luck")


def test_an_id_that_the_store_does_not_know_is_a_gap(start_server: StartServer, env: dict[str, str]) -> None:
    api = start_server("--no-workers", env=env)
    for last_id in ("1-0", "0123456789ab-1", "no id"):
        with Stream(api, "/events", last_event_id=last_id).begin() as stream:
            assert stream.read() == Event("reset", "", {})


def test_a_store_that_lost_its_memory_is_a_gap_and_the_stream_goes_on(
    start_server: StartServer, env: dict[str, str]
) -> None:
    with running() as redis:
        env = env | {"BACKEND_URL": redis.url}
        api, worker = start_server("--no-workers", env=env), start_server(env=env, command=WORKER)
        with Stream(api, "/events").begin() as stream:
            follow(api, stream)
            redis.restart()
            gap = stream.read()
            eventually(lambda: api.get("/readyz").status == 200)
            follow(api, stream)

        assert gap == Event("reset", "", {})
        assert worker.is_running


def test_a_drain_ends_the_streams_in_order(start_server: StartServer, env: dict[str, str]) -> None:
    api = start_server(env=env)
    with Stream(api, "/events").begin() as stream:
        follow(api, stream)
        api.signal()

        assert stream.rest() == []
    assert api.wait() == 0


def test_several_processes_of_one_port_tell_alike(start_server: StartServer, env: dict[str, str]) -> None:
    server = start_server("--processes", "2", "--workers", "2", env=env)
    with Stream(server, "/events").begin() as one, Stream(server, "/events").begin() as two:
        follow(server, one)
        last = follow(server, two)
    ids = submit_many(server, JOBS)

    for _ in range(4):  # whichever answers
        with Stream(server, "/events", last_event_id=last).begin() as again:
            events = read_lives(again, ids)
        assert [life for life in lives_in(events) if life[1] in ids] == whole_lives(ids)


def test_nobody_watches_and_nobody_pays(start_server: StartServer, redis: RedisServer, env: dict[str, str]) -> None:
    api = start_server("--no-workers", env=env)
    start_server(env=env, command=WORKER)
    with redis.client() as client:
        client.config_resetstat()
        ids = submit_many(api, JOBS)
        eventually(lambda: all(api.job(job_id)["status"] == "DONE" for job_id in ids))
        counted = client.info("commandstats")

    assert {"cmdstat_evalsha", "cmdstat_mget"} <= counted.keys()
    assert {name for name in counted if name.startswith("cmdstat_x")} == set()
    assert {"hap", "wat"} & keys_of(redis, env) == set()


def test_what_is_watched_expires(start_server: StartServer, redis: RedisServer, env: dict[str, str]) -> None:
    api = start_server("--no-workers", env=env)
    with Stream(api, "/events").begin():
        pass

    with redis.client() as client:
        left = [
            client.pttl(key) for key in client.scan_iter(f"{env['KEY_PREFIX']}:2:*") if key.endswith((b"hap", b"wat"))
        ]
    assert len(left) == 2
    assert all(0 < left_ms <= 60_000 for left_ms in left)


def test_hundreds_who_watch_are_one_reader(start_server: StartServer, redis: RedisServer, env: dict[str, str]) -> None:
    api = start_server("--no-workers", env=env)
    with redis.client() as client:
        before = len(client.client_list())
        streams = [Stream(api, f"/events?queue=q{number % 7}").begin() for number in range(200)]
        eventually(lambda: len(client.client_list()) == before + 1)
        for stream in streams:
            stream.__exit__()
        eventually(lambda: len(client.client_list()) == before)
