"""`enqueue_sync` and its kin on real servers: from threads and forks, through faults, open and not."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random

import pytest
import trustme
from tests.faults.proxy import FaultProxy, Loss
from tests.integration.test_redis_store import tls_before
from tests.redis_servers import HOST, Flavour, RedisServer, flavours, free_port, running
from tests.redis_stores import until

from gotaskq import Job, Settings, TaskQ
from gotaskq.backend import Enqueued
from gotaskq.backends.redis import RedisBackend
from gotaskq.backends.redis.scripts import Script, load_scripts
from gotaskq.backends.redis.sync import KNOWN_FOR_S, SyncRedis
from gotaskq.clock import SystemClock
from gotaskq.errors import (
    BackendUnavailableError,
    ConfigError,
    GotaskqError,
    InvalidPayloadError,
    InvalidRequestError,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    KeyReusedError,
    QueueDrainingError,
    QueueExistsError,
    QueueFullError,
    QueueNotFoundError,
    StoreFullError,
)
from gotaskq.events import Event, JobCancelled, JobEnqueued, QueueCreated
from gotaskq.job import JobId, Status
from gotaskq.policies.scheduling import Turn
from gotaskq.snowflake import partition_of
from gotaskq.task import AnyTask
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance.given import Jobs

pytestmark = pytest.mark.slow

THREADS = 4
EACH = 25


@pytest.fixture(params=flavours(), ids=lambda flavour: flavour.name)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    flavour: Flavour = request.param
    with RedisServer(flavour) as started:
        yield started


def send(to: str) -> None:
    pass


async def queues_of(url: str) -> list[str]:
    async with TaskQ(url) as app:
        return [*await app.queues()]


def test_a_job_goes_in_without_a_loop_and_a_worker_runs_it(server: RedisServer) -> None:
    app = TaskQ(server.url)
    seen: list[object] = []

    @app.handler("email")
    async def email(job: Job) -> str:
        seen.append(job.payload)
        return "sent"

    queued = app.enqueue_sync("email", {"to": "a@b.c"}, priority=7, max_retries=2, timeout=9)
    waiting = app.get_sync(queued.id)
    asyncio.run(run_all(app))
    done = app.get_sync(queued.id)

    assert (waiting.status, waiting.priority, waiting.max_retries) == (Status.PENDING, 7, 2)
    assert (waiting.timeouts.execution_ms, waiting.payload) == (9_000, {"to": "a@b.c"})
    assert (seen, done.status, done.result) == ([{"to": "a@b.c"}], Status.DONE, "sent")


def test_a_task_is_sent_waited_for_and_read_without_a_loop(server: RedisServer) -> None:
    app, elsewhere = TaskQ(server.url), TaskQ(server.url)
    add, add_there = (make_add(one) for one in (app, elsewhere))
    handle = add.enqueue_sync(1, right=2)
    before = handle.status()
    with ThreadPoolExecutor(1) as others:
        working = others.submit(asyncio.run, run_all(elsewhere))
        result = handle.result(timeout=30)
        working.result()

    assert (before, result, handle.status()) == (Status.PENDING, 3, Status.DONE)
    assert handle.job().queue == "sums"  # which was made for it
    assert add_there.job_type == handle.job().type


def test_a_job_that_died_elsewhere_is_told_of(server: RedisServer) -> None:
    app = TaskQ(server.url)
    handle = make_add(app).options(max_retries=0).enqueue_sync(1, right=1_000)
    asyncio.run(run_all(app))

    with pytest.raises(JobFailedError, match="too much"):
        handle.result()


def test_a_job_nobody_runs_is_not_waited_for_longer_than_asked(server: RedisServer) -> None:
    handle = make_add(TaskQ(server.url)).enqueue_sync(1)

    with pytest.raises(TimeoutError, match="has not ended within 0 s; it goes on"):
        handle.result(timeout=0)


def test_jobs_are_cancelled_without_a_loop(server: RedisServer) -> None:
    app = TaskQ(server.url)
    cancelled: list[int] = []
    app.observe(lambda event: cancelled.append(event_job(event).id), [JobCancelled])
    waiting, running = make_add(app).enqueue_sync(1), app.enqueue_sync("held")

    statuses = [waiting.cancel().status, waiting.cancel().status]
    asked = asyncio.run(cancel_from_a_thread(app, running.id))

    assert statuses == [Status.CANCELLED, Status.CANCELLED]
    assert (asked.status, asked.is_cancel_requested) == (Status.RUNNING, True)
    assert cancelled == [waiting.id]
    with pytest.raises(JobCancelledError):
        waiting.result()
    with pytest.raises(JobNotFoundError):
        app.cancel_sync(1)
    with pytest.raises(JobNotFoundError):
        app.cancel_sync(1 << 70)


def test_a_full_store_still_cancels() -> None:
    with running() as server:
        app = TaskQ(server.url)
        job = app.enqueue_sync("email")
        with server.client() as client:
            client.config_set("maxmemory", 1)

        with pytest.raises(StoreFullError):
            app.enqueue_sync("email")
        assert app.cancel_sync(job.id).status is Status.CANCELLED


def test_a_task_defined_after_the_first_call_is_known(server: RedisServer) -> None:
    app = TaskQ(server.url)
    app.enqueue_sync("email")
    make_add(app)

    assert app.enqueue_sync("add", {"left": 1}).queue == "sums"
    with pytest.raises(InvalidPayloadError):
        app.enqueue_sync("add", {"left": "one"})


def test_a_queue_is_made_once(server: RedisServer) -> None:
    app = TaskQ(server.url)

    assert app.create_queue_sync("Mail") == "mail"
    assert app.enqueue_sync("email", queue="mail").queue == "mail"
    with pytest.raises(QueueExistsError):
        TaskQ(server.url).create_queue_sync("mail")


def test_the_queue_of_a_task_is_made_when_it_is_missing(server: RedisServer) -> None:
    events: list[Event] = []
    app = TaskQ(server.url)
    app.observe(events.append, [QueueCreated, JobEnqueued])
    send_email = app.task("email", queue="mail")(send)

    jobs = [app.enqueue_sync("email", {"to": "a@b.c"}), app.enqueue_sync("other", queue="mail")]
    app.task("late", queue="late")(send)
    jobs.append(app.enqueue_sync("late", {"to": "a@b.c"}))
    with pytest.raises(QueueNotFoundError, match="nowhere"):
        app.enqueue_sync("email", {"to": "a@b.c"}, queue="nowhere")

    assert send_email.at_the_door.queue == "mail"
    assert [job.queue for job in jobs] == ["mail", "mail", "late"]
    assert [type(event) for event in events] == [QueueCreated, JobEnqueued, JobEnqueued, QueueCreated, JobEnqueued]
    assert sorted(asyncio.run(queues_of(server.url))) == ["default", "late", "mail"]


SCRIPT = """
import sys
from gotaskq import TaskQ
app = TaskQ(sys.argv[1])
@app.task(queue="reports")
def report(day: str) -> None: ...
print(app.enqueue_sync("report", {"day": "2026-11-23"}).queue)
"""


def test_a_plain_script_needs_no_more_than_the_task(server: RedisServer) -> None:
    for _ in range(2):  # the queue is there the second time
        ran = subprocess.run(
            [sys.executable, "-c", SCRIPT, server.url], capture_output=True, text=True, timeout=60, check=False
        )

        assert (ran.stdout, ran.stderr) == ("reports\n", "")


def test_a_delayed_job_waits(server: RedisServer) -> None:
    app = TaskQ(server.url)

    job = app.get_sync(app.enqueue_sync("email", delay=60, schedule_timeout=5).id)

    assert (job.delay_ms, job.timeouts.schedule_ms) == (60_000, 5_000)
    assert job.run_after_ms - job.created_at_ms > 50_000


@pytest.mark.parametrize("partitions", [1, 4])
def test_a_key_is_one_for_all_ways_in(server: RedisServer, partitions: int) -> None:
    settings = Settings(partitions=partitions)
    apps = [TaskQ(server.url, settings=settings) for _ in range(3)]

    async def enqueue() -> list[Job]:
        async with apps[0] as app:
            return [await app.enqueue("email", 1, idempotency_key="k"), await app.enqueue("email", unique_key="w:1")]

    first, unique = asyncio.run(enqueue())
    again = [app.enqueue_sync("email", 1, idempotency_key="k") for app in apps[1:]]
    twins = [app.enqueue_sync("email", unique_key="w:1") for app in apps[1:]]
    with pytest.raises(KeyReusedError):
        apps[1].enqueue_sync("email", 2, idempotency_key="k")

    assert {(job.id, job.was_there) for job in again} == {(first.id, True)}
    assert {(job.id, job.was_there) for job in twins} == {(unique.id, True)}


def test_threads_share_one_app_and_draw_no_id_twice(server: RedisServer) -> None:
    app = TaskQ(server.url)
    announced: list[int] = []
    app.observe(lambda event: announced.append(event_job(event).id), [JobEnqueued])
    ids: list[int] = []

    def enqueue_some() -> None:
        ids.extend(app.enqueue_sync("email").id for _ in range(EACH))

    threads = [threading.Thread(target=enqueue_some) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(set(ids)) == THREADS * EACH == waiting_jobs(app)
    assert sorted(announced) == sorted(ids)


FORKING = f"""
import os, sys
from gotaskq import TaskQ
app = TaskQ(sys.argv[1])
app.enqueue_sync("before")  # so that there is a connection, and a generator of ids, for the forks to inherit
children = []
for _ in range({THREADS}):
    child = os.fork()
    if child == 0:
        print("".join(f"{{app.enqueue_sync('email').id}}\\n" for _ in range({EACH})), end="", flush=True)
        os._exit(0)
    children.append(child)
for child in children:
    assert os.waitpid(child, 0)[1] == 0
print(app.enqueue_sync("after").id)
"""


def test_forks_share_neither_connection_nor_ids(server: RedisServer) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", FORKING, server.url], capture_output=True, text=True, timeout=60, check=False
    )

    ids = ran.stdout.split()
    assert (ran.returncode, ran.stderr) == (0, "")
    assert len(set(ids)) == len(ids) == THREADS * EACH + 1
    assert waiting_jobs(TaskQ(server.url)) == THREADS * EACH + 2


def test_jobs_are_spread_over_partitions(server: RedisServer) -> None:
    app = TaskQ(server.url, settings=Settings(partitions=3))

    jobs = [app.enqueue_sync("email") for _ in range(6)]

    assert [partition_of(job.id) for job in jobs].count(0) == 2
    assert waiting_jobs(TaskQ(server.url)) == 6  # a process that knows of one partition learns of the others


def test_the_same_is_refused_as_elsewhere(server: RedisServer) -> None:
    app = TaskQ(server.url, settings=Settings(max_queue_depth=1))
    app.enqueue_sync("email")

    with pytest.raises(QueueFullError):
        app.enqueue_sync("email")
    with pytest.raises(QueueNotFoundError, match="mail"):
        app.enqueue_sync("email", queue="mail")
    with pytest.raises(InvalidRequestError, match="priority"):
        app.enqueue_sync("email", priority=11)
    with pytest.raises(InvalidRequestError, match="payload"):
        app.enqueue_sync("email", object())
    with pytest.raises(JobNotFoundError):
        app.get_sync(1)
    with pytest.raises(JobNotFoundError):
        app.get_sync(1 << 70)


async def test_what_is_set_for_a_queue_holds_here_too(server: RedisServer) -> None:
    async with TaskQ(server.url) as operator:
        await operator.create_queue("mail")
        await operator.queue("mail").configure(max_depth=1, max_retries=2)
        await operator.queue("default").drain()
    app = TaskQ(server.url)

    job = await asyncio.to_thread(app.enqueue_sync, "email", queue="mail")

    assert job.max_retries == 2
    with pytest.raises(QueueFullError, match="1 jobs"):
        await asyncio.to_thread(app.enqueue_sync, "email", queue="mail")
    with pytest.raises(QueueDrainingError):
        await asyncio.to_thread(app.enqueue_sync, "email")


@pytest.mark.parametrize("lose", [FaultProxy.lose_call, FaultProxy.lose_reply], ids=["call", "reply"])
def test_a_call_that_is_lost_is_sent_again_and_stores_one_job(
    server: RedisServer, lose: Callable[[FaultProxy, str], Loss]
) -> None:
    scripts = {text.digest: script.value for script, text in load_scripts(has_flags=False).items()}
    with FaultProxy(server.port, scripts=scripts) as proxy:
        app = TaskQ(f"redis://{HOST}:{proxy.port}/0")
        app.enqueue_sync("email")  # the server knows the script from now on
        loss = lose(proxy, Script.ENQUEUE.value)

        job = app.enqueue_sync("email")

        assert loss.happened.is_set()
        assert app.get_sync(job.id).status is Status.PENDING
    assert waiting_jobs(TaskQ(server.url)) == 2


def test_a_restarted_server_is_taught_the_scripts_again(server: RedisServer) -> None:
    app = TaskQ(server.url)
    app.enqueue_sync("email")
    with server.client() as client:
        client.script_flush()

    job = app.enqueue_sync("email")

    assert app.get_sync(job.id) == job


def test_a_store_that_is_away_is_said_to_be_and_names_the_job() -> None:
    app = TaskQ(f"redis://{HOST}:{free_port()}/0")

    with pytest.raises(BackendUnavailableError) as raised:
        app.enqueue_sync("email")

    assert raised.value.job_id is not None


def test_a_store_that_comes_back_is_used_again(server: RedisServer) -> None:
    app = TaskQ(server.url)
    app.enqueue_sync("email")
    server.restart()

    job = app.enqueue_sync("email")

    assert app.get_sync(job.id) == job


def test_a_store_that_comes_back_empty_is_told_of_its_queues_again(server: RedisServer) -> None:
    clock = FakeClock()
    entrance = SyncRedis(server.url, clock=clock, rng=Random(1))
    entrance.create_queue("mail")
    job = Jobs(clock, Random(1))
    before = entrance.enqueue([job(), job(queue="mail")])
    with server.client() as client:
        client.flushall()
    clock.jump(KNOWN_FOR_S)

    after = entrance.enqueue([job(), job(queue="mail"), job(queue="nowhere")])

    assert (before, after) == ([Enqueued.OK] * 2, [Enqueued.OK, Enqueued.OK, Enqueued.NO_QUEUE])
    entrance.close()


def test_a_full_store_refuses_and_says_so() -> None:
    with running(maxmemory="1", maxmemory_policy="noeviction") as server, pytest.raises(StoreFullError):
        TaskQ(server.url).enqueue_sync("email")


def test_a_wrong_password_is_a_store_that_is_away() -> None:
    with running(requirepass="right") as server:
        right = TaskQ(f"redis://:right@{HOST}:{server.port}/3")
        assert right.get_sync(right.enqueue_sync("email").id).type == "email"

        with pytest.raises(BackendUnavailableError):
            TaskQ(f"redis://:wrong@{HOST}:{server.port}/3").enqueue_sync("email")


async def test_jobs_travel_through_tls(tmp_path: Path) -> None:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with running() as server:
        async with tls_before(server, authority) as port:
            trusting = store(f"rediss://localhost:{port}/0?ssl_ca_certs={tmp_path / 'ca.pem'}")
            wary = store(f"rediss://localhost:{port}/0")

            assert await asyncio.to_thread(trusting.create_queue, "mail")
            with pytest.raises(BackendUnavailableError):
                await asyncio.to_thread(wary.create_queue, "mail")

            trusting.close()
            wary.close()
            with server.client() as client:
                await until(lambda: len(client.client_list()) == 1)


def test_jobs_in_memory_cannot_be_reached_from_outside() -> None:
    with pytest.raises(ConfigError, match="memory are seen only inside"):
        TaskQ().enqueue_sync("email")
    with pytest.raises(ConfigError, match="memory are seen only inside"):
        TaskQ().get_sync(1)


async def test_an_open_app_is_reached_from_its_threads_in_memory_too() -> None:
    async with TaskQ() as app:
        job = await asyncio.to_thread(app.enqueue_sync, "email", {"n": 1})

        assert await asyncio.to_thread(app.get_sync, job.id) == job
        assert await asyncio.to_thread(app.create_queue_sync, "mail") == "mail"
        with pytest.raises(JobNotFoundError):
            await asyncio.to_thread(app.get_sync, 1)


async def test_waiting_for_the_loop_one_stands_on_is_refused() -> None:
    async with TaskQ() as app:
        with pytest.raises(GotaskqError, match="await the method without _sync"):
            app.enqueue_sync("email")


def test_closing_lets_go_of_the_connection(server: RedisServer) -> None:
    entrance = store(server.url)
    entrance.close()  # before it was used
    assert entrance.get(JobId(1)) is None
    entrance.close()

    with server.client() as client:
        assert [peer for peer in client.client_list() if peer["name"] == "gotaskq"] == []


def store(url: str) -> SyncRedis:
    return SyncRedis(url, clock=SystemClock(), rng=Random(1))


async def run_all(app: TaskQ) -> None:
    async with app, app.workers(concurrency=2, burst=True) as worker:
        await worker.ended.wait()


def waiting_jobs(app: TaskQ) -> int:
    async def count() -> int:
        async with app:
            return (await app.queues())["default"].ready

    return asyncio.run(count())


def make_add(app: TaskQ) -> AnyTask:
    @app.task(queue="sums")
    def add(left: int, right: int = 1) -> int:
        if right > 999:
            raise ValueError("too much")
        return left + right

    return add


async def cancel_from_a_thread(app: TaskQ, job_id: JobId) -> Job:
    """Hold a job by a store of our own, and cancel it through an app that is not open."""
    backend = RedisBackend(app.backend_name, clock=SystemClock(), rng=Random())
    await backend.open()
    try:
        [job] = await backend.reserve([Turn("default", 1)], limit=1, lease_ms=60_000, worker="holder")
        assert job.id == job_id
        return await asyncio.to_thread(app.cancel_sync, job_id)
    finally:
        await backend.close()


def event_job(event: Event) -> Job:
    assert isinstance(event, JobEnqueued | JobCancelled)
    return event.job
