"""Callbacks at the door of real servers, on both lanes, in memory and in Redis; and told by another process."""

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from tests.integration.http_client import Answer
from tests.integration.receiver import OK, answer, receiving
from tests.integration.server_process import ServerProcess, running_server
from tests.redis_servers import RedisServer, running

from gotaskq import Callback, Job, JobRequest, Settings, TaskQ
from gotaskq.callback import CALLBACK_HEADER, CALLBACK_TYPE
from gotaskq.delivery import verify
from gotaskq.events import JobRetryScheduled
from gotaskq.job import FINAL, Status
from gotaskq.snowflake import partition_of

SECRET = "whsec_" + "c2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2ghIQ=="
URL = "https://a.example/ended"
WITHIN_S = 20.0


@pytest.fixture(scope="module", params=["memory, fast lane", "memory, full way", "redis, fast lane"])
def server(request: pytest.FixtureRequest) -> Iterator[ServerProcess]:
    env = {"FAST_LANE": str("fast" in request.param).lower(), "CALLBACK_SECRET": SECRET}
    if request.param.startswith("memory"):
        with running_server("--no-workers", env=env) as server:
            yield server
    else:
        with running() as redis, running_server("--no-workers", env=env | {"BACKEND_URL": redis.url}) as server:
            yield server


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


def send(server: ServerProcess, callback: object, *, key: str | None = None, path: str = "/jobs") -> Answer:
    body = json.dumps({"type": "ok", "callback": callback}).encode()
    return server.ask("POST", path, body, headers={} if key is None else {"Idempotency-Key": key})


def waiting_callbacks(server: ServerProcess) -> int:
    jobs = server.ask("GET", f"/jobs?type={CALLBACK_TYPE}&status=PENDING&limit=100").json
    return len(jobs["jobs"])


def test_a_job_comes_with_the_job_that_will_tell(server: ServerProcess) -> None:
    answer = send(server, {"url": URL})

    callback = server.ask("GET", f"/jobs/{answer.json['headers'][CALLBACK_HEADER]}").json
    assert answer.status == 201
    assert (callback["type"], callback["queue"], callback["status"]) == (CALLBACK_TYPE, "callbacks", "PENDING")
    assert callback["payload"] == {
        "job_id": answer.json["id"],
        "job_type": "ok",
        "queue": "default",
        "url": URL,
        "on": ["done", "dead"],
    }


@pytest.mark.parametrize(
    ("callback", "field"),
    [
        ("https://a.example", "callback"),
        ({}, "callback"),
        ({"url": 5}, "callback.url"),
        ({"url": "ftp://a.example"}, "callback.url"),
        ({"url": URL, "on": "done"}, "callback.on"),
        ({"url": URL, "on": []}, "callback.on"),
        ({"url": URL, "on": ["ended"]}, "callback.on[0]"),
        ({"url": URL, "on": None}, "callback.on"),
    ],
)
@pytest.mark.parametrize("path", ["/jobs", "/default/jobs", "/jobs?wait=1"])
def test_what_is_no_callback_is_refused(server: ServerProcess, callback: object, field: str, path: str) -> None:
    before = waiting_callbacks(server)

    answer = send(server, callback, path=path)

    assert (answer.status, answer.json["field"]) == (400, field)
    assert waiting_callbacks(server) == before


def test_a_request_that_comes_again_makes_no_second_callback(server: ServerProcess) -> None:
    first = send(server, {"url": URL}, key="again")
    before = waiting_callbacks(server)

    again, other = send(server, {"url": URL}, key="again"), send(server, {"url": f"{URL}/2"}, key="again")

    assert (again.status, again.json["id"]) == (201, first.json["id"])
    assert again.headers["idempotency-replayed"] == "true"
    assert other.status == 422
    assert waiting_callbacks(server) == before


@pytest.mark.parametrize("atomic", [True, False])
def test_a_batch_has_callbacks_and_refusals_of_its_own(server: ServerProcess, atomic: bool) -> None:
    asked = {"type": "ok", "callback": {"url": URL}}
    wrong = {"type": "ok", "callback": {"url": "a"}}

    good = server.ask("POST", "/jobs/batch", json.dumps({"jobs": [asked, {"type": "ok"}], "atomic": atomic}).encode())
    bad = server.ask("POST", "/jobs/batch", json.dumps({"jobs": [asked, wrong], "atomic": atomic}).encode())

    assert [CALLBACK_HEADER in job.get("headers", {}) for job in good.json["jobs"]] == [True, False]
    assert {"index": 1, "field": "callback.url"}.items() <= next(
        error for error in bad.json["errors"] if error["index"] == 1
    ).items()
    assert len(bad.json["jobs"]) == (0 if atomic else 1)


def test_what_is_ours_is_refused(server: ServerProcess) -> None:
    of_type = server.ask("POST", "/jobs", json.dumps({"type": CALLBACK_TYPE}).encode())
    of_header = server.ask("POST", "/jobs", json.dumps({"type": "ok", "headers": {CALLBACK_HEADER: "1"}}).encode())

    assert [(answer.status, answer.json["field"]) for answer in (of_type, of_header)] == [
        (400, "type"),
        (400, "headers"),
    ]


def test_without_a_secret_none_is_taken() -> None:
    with running_server("--no-workers") as server:
        answer = send(server, {"url": URL})

        assert (answer.status, answer.json["field"]) == (400, "callback")
        assert server.ask("GET", "/queue").json == ["default"]


# -- another process tells ---------------------------------------------------------------------------------------------


class Receiver:
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.came = asyncio.Event()

    async def post(
        self,
        url: str,
        body: bytes,
        *,
        message_id: str,
        secrets: Sequence[str],
        headers: Mapping[str, str] = {},
        timeout_s: float | None = None,
        count_as: str = "other",
    ) -> object | None:
        self.taken.append(json.loads(body))
        self.came.set()
        return None


@pytest.mark.parametrize("partitions", [1, 4])
async def test_a_job_of_one_process_is_told_of_by_another(redis: RedisServer, partitions: int) -> None:
    settings = Settings(callback_secret=SECRET, key_prefix=f"told{partitions}", partitions=partitions)
    door, worker, receiver = TaskQ(redis.url, settings=settings), TaskQ(redis.url, settings=settings), Receiver()
    worker.callbacks.posts = receiver

    @worker.handler("ok")
    async def ok(job: Job) -> int:
        return 7

    async with door, worker:
        job = await door.enqueue("ok", callback=Callback(URL), unique_key="u")
        many = [JobRequest("ok", callback=Callback(URL)) for _ in range(3)]
        jobs = [job, *await door.enqueue_many(many)]
        async with worker.workers(concurrency=4):
            async with asyncio.timeout(WITHIN_S):
                while len(receiver.taken) < len(jobs):
                    receiver.came.clear()
                    await receiver.came.wait()
            tellers = [
                await door.wait(int((await door.get(one.id)).headers[CALLBACK_HEADER]), timeout=20) for one in jobs
            ]

    assert {message["data"]["id"] for message in receiver.taken} == {str(one.id) for one in jobs}
    assert len(receiver.taken) == len(jobs)
    assert all(message["data"]["result"] == 7 for message in receiver.taken)
    assert all(teller.status in FINAL for teller in tellers)
    assert [partition_of(teller.id) for teller in tellers] == [partition_of(one.id) for one in jobs]


@pytest.mark.parametrize("partitions", [1, 4])
def test_code_that_cannot_await_has_callbacks_too(redis: RedisServer, partitions: int) -> None:
    settings = Settings(callback_secret=SECRET, key_prefix=f"sync{partitions}", partitions=partitions)
    app = TaskQ(redis.url, settings=settings)

    first = app.enqueue_sync("ok", callback=Callback(URL), idempotency_key="k")
    again = app.enqueue_sync("ok", callback=Callback(URL), idempotency_key="k")
    teller = app.get_sync(int(first.headers[CALLBACK_HEADER]))

    assert (again.id, again.was_there) == (first.id, True)
    assert again.headers == first.headers
    assert (teller.type, teller.payload["job_id"]) == (CALLBACK_TYPE, str(first.id))


# -- over a wire -------------------------------------------------------------------------------------------------------


@pytest.fixture
def app() -> TaskQ:
    app = TaskQ(settings=Settings(callback_secret=SECRET, delivery_allow=("127.0.0.1",)))

    @app.handler("ok")
    async def ok(job: Job) -> int:
        return 7

    return app


async def ended(app: TaskQ, job: Job) -> Job:
    teller_id = int((await app.get(job.id)).headers[CALLBACK_HEADER])
    return await app.wait(teller_id, timeout=WITHIN_S)


async def test_what_comes_is_signed_and_says_what_came_of_the_job(app: TaskQ) -> None:
    async with receiving() as receiver, app, app.workers(concurrency=2):
        job = await app.enqueue("ok", callback=Callback(receiver.url))
        teller = await ended(app, job)

    [sent] = receiver.requests
    assert verify(sent.headers, sent.body, SECRET) == str(teller.id)
    assert sent.headers["content-type"] == "application/json"
    assert json.loads(sent.body)["data"]["result"] == 7
    assert app.push.counts == [(CALLBACK_TYPE, "done", 1)]
    assert teller.status is Status.DONE


async def test_a_receiver_that_fails_gets_the_same_message_again(app: TaskQ) -> None:
    failed = asyncio.Event()
    app.observe(lambda _: failed.set(), [JobRetryScheduled])

    async with receiving(answer(500), OK) as receiver, app, app.workers(concurrency=2):
        job = await app.enqueue("ok", callback=Callback(receiver.url))
        async with asyncio.timeout(WITHIN_S):
            await failed.wait()
        await app.run_now(int((await app.get(job.id)).headers[CALLBACK_HEADER]))
        teller = await ended(app, job)

    first, second = receiver.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert (teller.status, teller.retry_count) == (Status.DONE, 1)


async def test_a_receiver_that_is_gone_for_good_makes_a_dead_letter(app: TaskQ) -> None:
    async with receiving(answer(410)) as receiver, app, app.workers(concurrency=2):
        job = await app.enqueue("ok", callback=Callback(receiver.url))
        teller = await ended(app, job)
        replayable = await app.get(teller.id)

    assert (replayable.status, len(receiver.requests)) == (Status.DEAD, 1)


async def test_nothing_is_sent_into_our_own_network_unless_it_was_named() -> None:
    app = TaskQ(settings=Settings(callback_secret=SECRET))

    @app.handler("ok")
    async def ok(job: Job) -> None:
        """End well."""

    async with receiving() as receiver, app, app.workers(concurrency=2):
        job = await app.enqueue("ok", callback=Callback(receiver.url))
        teller = await ended(app, job)

    assert teller.status is Status.DEAD
    assert receiver.connections == 0
