"""`/queues` over HTTP: figures, pause, drain, purge, settings and deletion, on a store in memory and in Redis."""

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from tests.integration.server_process import ServerProcess, running_server
from tests.integration.wire import assert_is_error
from tests.redis_servers import RedisServer, flavours

UNSET = dict.fromkeys(
    (
        *("ordering", "max_depth", "max_age", "rate_limit", "max_retries", "base_delay", "max_delay"),
        *("complete_job_ttl", "dead_job_ttl"),
    ),
    None,
)


@pytest.fixture(scope="module", params=["memory", pytest.param("redis", marks=pytest.mark.slow)])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    if request.param == "memory":
        with running_server("--no-workers") as server:
            yield server
        return
    with RedisServer(flavours()[0]) as store, running_server("--no-workers", env={"BACKEND_URL": store.url}) as server:
        yield server


@pytest.fixture
def queue(server: ServerProcess) -> str:
    """Return the name of a queue of this test's own."""
    name = f"q-{uuid4().hex[:12]}"
    assert server.post(f"/queue/{name}").status == 201
    return name


def figures(name: str, **others: Any) -> dict[str, Any]:
    none = {"ready": 0, "scheduled": 0, "running": 0, "dead": 0, "depth": 0, "paused": False}
    return {"name": name, **none, **others}


def seen(server: ServerProcess, name: str) -> dict[str, Any]:
    return without_latency(server.get(f"/queues/{name}/stats").json)


def without_latency(stats: dict[str, Any]) -> dict[str, Any]:
    latency_seconds = stats.pop("latency_seconds")
    assert isinstance(latency_seconds, float)
    assert latency_seconds >= 0
    return stats


def patch(server: ServerProcess, name: str, **settings: Any) -> Any:
    return server.ask("PATCH", f"/queues/{name}/settings", json.dumps(settings).encode())


def test_a_queue_shows_its_figures_flat(server: ServerProcess, queue: str) -> None:
    server.submit("email", queue=queue)
    server.submit("email", queue=queue, delay=3_600)

    whole, stats = server.get(f"/queues/{queue}"), server.get(f"/queues/{queue}/stats")

    assert (whole.status, stats.status, stats.headers["content-type"]) == (200, 200, "application/json")
    assert without_latency(whole.json) == figures(queue, ready=1, scheduled=1, depth=2)
    assert without_latency(stats.json) == figures(queue, ready=1, scheduled=1, depth=2)
    assert server.get(f"/queues/{queue.upper()}").status == 200


def test_all_queues_are_listed_with_their_figures(server: ServerProcess, queue: str) -> None:
    server.submit("email", queue=queue)

    listed = server.get("/queues").json["queues"]

    assert [stats["name"] for stats in listed] == server.get("/queue").json
    assert figures(queue, ready=1, depth=1) in [without_latency(stats) for stats in listed]


def test_a_queue_is_paused_and_resumed(server: ServerProcess, queue: str) -> None:
    paused, again = server.post(f"/queues/{queue}/pause"), server.post(f"/queues/{queue}/pause")
    taken = server.post(f"/{queue}/jobs", b'{"type":"email"}')
    resumed = server.post(f"/queues/{queue}/resume")

    assert (paused.status, again.status, taken.status, resumed.status) == (200, 200, 201, 200)
    assert without_latency(paused.json) == without_latency(again.json) == figures(queue, paused=True)
    assert without_latency(resumed.json) == figures(queue, ready=1, depth=1)


def test_a_draining_queue_takes_no_jobs_until_it_is_resumed(server: ServerProcess, queue: str) -> None:
    server.submit("email", queue=queue)

    drained = server.post(f"/queues/{queue}/drain")
    refused = server.post(f"/{queue}/jobs", b'{"type":"email"}')
    batch = server.post("/jobs/batch", json.dumps({"jobs": [{"type": "email", "queue": queue}]}).encode())
    resumed = server.post(f"/queues/{queue}/resume")

    assert drained.status == 200
    assert without_latency(drained.json) == figures(queue, ready=1, depth=1, draining=True)
    message = f"queue {queue} is draining and takes no new jobs until it is resumed"
    assert_is_error(refused, 409, message, field="queue")
    assert (batch.status, batch.json["errors"]) == (409, [{"index": 0, "error": message, "field": "queue"}])
    assert without_latency(resumed.json) == figures(queue, ready=1, depth=1)
    assert server.post(f"/{queue}/jobs", b'{"type":"email"}').status == 201


def test_purging_deletes_what_waits_and_says_how_many(server: ServerProcess, queue: str) -> None:
    gone = [server.submit("email", queue=queue, delay=delay)["id"] for delay in (0, 3_600)]

    purged = server.post(f"/queues/{queue}/purge")

    assert purged.status == 200
    assert without_latency(purged.json) == figures(queue, purged=2)
    assert [server.get(f"/jobs/{job_id}").status for job_id in gone] == [404, 404]
    assert server.post(f"/queues/{queue}/purge").json["purged"] == 0


def test_an_empty_queue_is_deleted(server: ServerProcess, queue: str) -> None:
    deleted = server.ask("DELETE", f"/queues/{queue}")

    assert (deleted.status, deleted.json) == (200, {"message": "queue deleted successfully"})
    assert queue not in server.get("/queue").json
    assert_is_error(server.post(f"/{queue}/jobs", b'{"type":"email"}'), 404, f"queue not found: {queue}")


def test_a_queue_with_jobs_and_the_default_one_stay(server: ServerProcess, queue: str) -> None:
    server.submit("email", queue=queue)

    full, default = server.ask("DELETE", f"/queues/{queue}"), server.ask("DELETE", "/queues/default")

    reason = "it has jobs; drain or purge it, and replay or delete its dead ones"
    assert_is_error(full, 409, f"queue {queue} cannot be deleted: {reason}", field="queue")
    reason = "it is where jobs go that name no queue"
    assert_is_error(default, 409, f"queue default cannot be deleted: {reason}", field="queue")
    assert seen(server, queue) == figures(queue, ready=1, depth=1)


def test_settings_are_changed_one_by_one(server: ServerProcess, queue: str) -> None:
    before = server.get(f"/queues/{queue}/settings")
    first = patch(server, queue, ordering="fifo", max_age=1.5, max_retries=0, base_delay=0.2, max_delay=60)
    second = patch(server, queue, max_depth=7, max_age=None, rate_limit=9, complete_job_ttl=5, dead_job_ttl=86_400)

    assert (before.status, before.json) == (200, UNSET)
    set_first = {"ordering": "fifo", "max_age": 1.5, "max_retries": 0, "base_delay": 0.2, "max_delay": 60.0}
    assert (first.status, first.json) == (200, UNSET | set_first)
    kept = {"complete_job_ttl": 5.0, "dead_job_ttl": 86_400.0}
    set_second = set_first | kept | {"max_depth": 7, "max_age": None, "rate_limit": 9}
    assert (second.status, second.json) == (200, UNSET | set_second)
    assert server.get(f"/queues/{queue}/settings").json == second.json


@pytest.mark.parametrize(
    ("settings", "field", "message"),
    [
        ({"ordering": "lifo"}, "ordering", "ordering must be priority or fifo"),
        ({"max_depth": 0}, "max_depth", "max_depth must be a whole number between 1 and 100000000"),
        ({"max_depth": True}, "max_depth", "max_depth must be a whole number between 1 and 100000000"),
        ({"max_depth": 1.0}, "max_depth", "max_depth must be a whole number between 1 and 100000000"),
        ({"rate_limit": 10**7}, "rate_limit", "rate_limit must be a whole number between 1 and 1000000"),
        ({"max_retries": -1}, "max_retries", "max_retries must be a whole number between 0 and 100"),
        ({"max_age": 0}, "max_age", "max_age must be between 0.001 and 31536000 seconds"),
        ({"base_delay": "1"}, "base_delay", "base_delay must be between 0.001 and 31536000 seconds"),
        ({"complete_job_ttl": 0}, "complete_job_ttl", "complete_job_ttl must be between 5 and 315360000 seconds"),
        ({"dead_job_ttl": 4.9}, "dead_job_ttl", "dead_job_ttl must be between 5 and 315360000 seconds"),
        ({"base_delay": 2, "max_delay": 1}, "base_delay", "base_delay must not be above max_delay"),
    ],
)
def test_a_setting_that_cannot_be_is_named(
    server: ServerProcess, queue: str, settings: dict[str, Any], field: str, message: str
) -> None:
    assert_is_error(patch(server, queue, **settings), 400, message, field=field)
    assert server.get(f"/queues/{queue}/settings").json == UNSET


def test_an_unknown_setting_is_named(server: ServerProcess, queue: str) -> None:
    answer = patch(server, queue, max_dept=1)

    assert (answer.status, answer.json["field"]) == (400, "max_dept")


@pytest.mark.parametrize("body", [b"", b"[]", b"7", b"{", b'{"max_depth":\xc3}', b"[" * 2_000])
def test_a_body_that_is_no_object_is_refused(server: ServerProcess, queue: str, body: bytes) -> None:
    answer = server.ask("PATCH", f"/queues/{queue}/settings", body)

    assert_is_error(answer, 400, "invalid json: settings must be an object")


EVIL = {"Origin": "https://evil.example", "Content-Type": "text/plain"}
OPERATIONS = [
    ("GET", ""),
    ("DELETE", ""),
    ("GET", "/stats"),
    ("GET", "/settings"),
    ("PATCH", "/settings"),
    *(("POST", f"/{word}") for word in ("pause", "resume", "drain", "purge")),
]


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_a_queue_that_is_not_there_is_not_found(server: ServerProcess, method: str, path: str) -> None:
    body = b"{}" if method == "PATCH" else None

    assert_is_error(server.ask(method, f"/queues/nowhere{path}", body), 404, "queue not found: nowhere")
    assert server.ask(method, f"/queues/no%20where{path}", body).status == 400
    assert server.ask(method, f"/queues/queues{path}", body).json["field"] == "queue"


@pytest.mark.parametrize(("method", "path"), [one for one in OPERATIONS if one[0] not in ("GET", "DELETE")])
def test_a_form_on_another_site_changes_nothing(server: ServerProcess, queue: str, method: str, path: str) -> None:
    answer = server.ask(method, f"/queues/{queue}{path}", b"", headers=EVIL)

    assert answer.status == 415


def test_a_full_queue_says_when_to_come_back(server: ServerProcess, queue: str) -> None:
    patch(server, queue, max_depth=1)
    server.submit("email", queue=queue)

    refused = server.post(f"/{queue}/jobs", b'{"type":"email"}')

    assert_is_error(refused, 429, f"queue {queue} is full: 1 jobs are waiting; try again later", field="queue")
    assert 1 <= int(refused.headers["retry-after"]) <= 60


def test_a_rate_limit_is_shown_with_each_answer(server: ServerProcess, queue: str) -> None:
    patch(server, queue, rate_limit=1)

    first = server.post(f"/{queue}/jobs", b'{"type":"email"}')
    answers = [server.post(f"/{queue}/jobs", b'{"type":"email"}') for _ in range(20)]
    refused = next(answer for answer in answers if answer.status == 429)

    assert first.status == 201
    assert (first.headers["ratelimit-policy"], first.headers["ratelimit"]) == (
        f'"{queue}";q=1;w=1',
        f'"{queue}";r=0;t=1',
    )
    assert (refused.headers["ratelimit"], refused.headers["retry-after"]) == (f'"{queue}";r=0;t=1', "1")
    message = f"queue {queue} takes 1 jobs a second, and no more now; try again later"
    assert_is_error(refused, 429, message, field="queue")


def test_a_batch_shows_the_limits_of_all_its_queues(server: ServerProcess, queue: str) -> None:
    other = f"{queue}-2"
    server.post(f"/queue/{other}", b"")
    patch(server, queue, rate_limit=1_000)
    patch(server, other, rate_limit=1)
    jobs = [{"type": "email", "queue": name} for name in (queue, other, *[other] * 20, "default")]

    answer = server.post("/jobs/batch", json.dumps({"jobs": jobs}).encode())

    assert answer.status == 201
    assert answer.json["errors"][0]["error"] == f"queue {other} takes 1 jobs a second, and no more now; try again later"
    assert answer.headers["ratelimit-policy"] == f'"{queue}";q=1000;w=1, "{other}";q=1;w=1'
    first, second = answer.headers["ratelimit"].split(", ")
    assert first.startswith(f'"{queue}";r=')
    assert second == f'"{other}";r=0;t=1'


def test_a_batch_without_limits_shows_none(server: ServerProcess, queue: str) -> None:
    answer = server.post("/jobs/batch", json.dumps({"jobs": [{"type": "email", "queue": queue}]}).encode())

    assert (answer.status, "ratelimit" in answer.headers) == (201, False)


def test_jobs_that_name_no_retries_get_the_queues(server: ServerProcess, queue: str) -> None:
    body = b'{"type":"email"}'
    before = server.post(f"/{queue}/jobs", body).json["max_retries"]
    patch(server, queue, max_retries=1)

    after = server.post(f"/{queue}/jobs", body).json["max_retries"]
    named = server.post(f"/{queue}/jobs", b'{"type":"email","max_retries":7}').json["max_retries"]
    patch(server, queue, max_retries=None)

    assert (before, after, named) == (5, 1, 7)
    assert server.post(f"/{queue}/jobs", body).json["max_retries"] == 5
