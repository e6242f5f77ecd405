"""Operations are seen, listed and cancelled from every process of a store, and told as lost when theirs is gone."""

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.integration.conftest import StartServer
from tests.integration.in_asgi import ORIGIN, Api
from tests.integration.server_process import ServerProcess, eventually
from tests.integration.wire import assert_is_error
from tests.redis_servers import RedisServer, running

from gotaskq import Status, TaskQ
from gotaskq.backend import Backend, JobQuery, Page
from gotaskq.backends.memory import MemoryBackend
from gotaskq.backends.memory.board import MemoryBoard
from gotaskq.backends.redis import RedisBackend
from gotaskq.board import KeepsBoards
from gotaskq.bulk import Action, Operation, OperationEndedError, OperationStatus
from gotaskq.errors import BackendUnavailableError, OperationNotFoundError
from gotaskq.operations import LOST_AFTER_MS, OPERATIONS, TELL_EVERY_S
from gotaskq.store_limits import StoreLayout
from gotaskq.testing.clock import FakeClock

DELETE_ALL = {"action": "delete", "filter": {"since": "1h"}}


class Stepwise(MemoryBackend):
    """A store whose listing waits, before each page, for a permit."""

    def __init__(self, *, clock: FakeClock, rng: Random) -> None:
        super().__init__(clock=clock, rng=rng)
        self.permits = asyncio.Semaphore(0)

    async def list_jobs(self, query: JobQuery, *, after: str | None, limit: int) -> Page:
        await self.permits.acquire()
        return await super().list_jobs(query, after=after, limit=limit)

    async def close(self) -> None:
        """Stay open: another app uses it too."""


@pytest.fixture
def store(clock: FakeClock, rng: Random) -> Stepwise:
    return Stepwise(clock=clock, rng=rng)


@pytest.fixture
async def app(store: Stepwise, clock: FakeClock, rng: Random) -> AsyncIterator[TaskQ]:
    async with TaskQ(store, clock=clock, rng=rng) as app:
        yield app


@pytest.fixture
async def other(app: TaskQ, store: Stepwise, clock: FakeClock, rng: Random) -> AsyncIterator[TaskQ]:
    """Another process on the same store, as far as operations know."""
    async with TaskQ(store, clock=clock, rng=rng) as other:
        yield other


async def given_running(app: TaskQ, store: Stepwise, clock: FakeClock, *, pages: int = 1) -> Operation:
    """Begin to delete 250 jobs, of which so many pages of a hundred are done."""
    for _ in range(250):
        await app.enqueue("ok")
    operation = app.bulk.start(Action.DELETE, status=Status.PENDING)
    for _ in range(pages):
        store.permits.release()
    await clock.advance(TELL_EVERY_S)
    return app.bulk.get(operation.id)


async def test_another_process_sees_how_far_it_is_and_how_it_ended(
    app: TaskQ, other: TaskQ, store: Stepwise, clock: FakeClock
) -> None:
    operation = await given_running(app, store, clock)
    seen = await other.operations.get(operation.id)
    for _ in range(2):
        store.permits.release()
    done = await app.bulk.wait(operation.id)
    await clock.settle()

    assert (seen.status, seen.matched, seen.done) == (OperationStatus.RUNNING, 100, 100)
    assert await other.operations.get(operation.id) == done
    assert (done.status, done.done) == (OperationStatus.DONE, 250)


async def test_another_process_cancels_it_between_two_steps(
    app: TaskQ, other: TaskQ, store: Stepwise, clock: FakeClock
) -> None:
    operation = await given_running(app, store, clock)

    asked = await other.operations.cancel(operation.id)
    await clock.advance(TELL_EVERY_S)
    heard = await other.operations.get(operation.id)
    store.permits.release()
    ended = await app.bulk.wait(operation.id)
    await clock.settle()

    assert (asked.status, asked.is_cancel_requested) == (OperationStatus.RUNNING, True)
    assert (heard.status, heard.is_cancel_requested) == (OperationStatus.RUNNING, True)
    assert (ended.status, ended.matched, ended.done) == (OperationStatus.CANCELLED, 100, 100)
    assert await other.operations.get(operation.id) == ended
    assert await other.operations.cancel(operation.id) == ended
    assert (await app.queues())["default"].ready == 150


async def test_one_whose_process_is_gone_is_lost(app: TaskQ, store: Stepwise, clock: FakeClock) -> None:
    body = b'{"id":"17","action":"delete","status":"running","matched":7,"done":5,"started_at_ms":0}'
    await store.board(OPERATIONS).post({"17": body, "18": b"of a later version"})

    running = await app.operations.get("17")
    await clock.advance(LOST_AFTER_MS / 1000)
    late = await app.operations.get("17")
    await clock.advance(0.001)
    lost = await app.operations.get("17")

    assert (running.status, late.status) == (OperationStatus.RUNNING, OperationStatus.RUNNING)
    assert (lost.status, lost.matched, lost.done) == (OperationStatus.LOST, 7, 5)
    with pytest.raises(OperationEndedError, match="operation 17 is lost; only one that runs can be cancelled"):
        await app.operations.cancel("17")
    with pytest.raises(OperationNotFoundError):
        await app.operations.get("18")
    assert [one.id for one in await app.operations.list()] == ["17"]


async def test_one_that_is_slow_is_not_taken_for_lost(
    app: TaskQ, other: TaskQ, store: Stepwise, clock: FakeClock
) -> None:
    operation = await given_running(app, store, clock)

    await clock.advance(3 * LOST_AFTER_MS / 1000)

    assert (await other.operations.get(operation.id)).status is OperationStatus.RUNNING


async def test_closing_tells_others_that_it_is_cancelled(
    store: Stepwise, clock: FakeClock, rng: Random, other: TaskQ
) -> None:
    async with TaskQ(store, clock=clock, rng=rng) as app:
        operation = await given_running(app, store, clock)

    assert (await other.operations.get(operation.id)).status is OperationStatus.CANCELLED


async def test_while_none_runs_nothing_waits(app: TaskQ, store: Stepwise, clock: FakeClock) -> None:
    before = clock.pending
    store.permits.release()
    operation = app.bulk.start(Action.DELETE, status=Status.PENDING)
    await app.bulk.wait(operation.id)
    await clock.settle()

    assert clock.pending == before


async def test_what_telling_and_hearing_cost(
    app: TaskQ, store: Stepwise, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(MemoryBoard, "post", counting("post", MemoryBoard.post, calls))
    monkeypatch.setattr(MemoryBoard, "read", counting("read", MemoryBoard.read, calls))
    await given_running(app, store, clock)
    calls.clear()

    await clock.advance(60)

    assert (calls.count("post"), calls.count("read")) == (30, 30)


def counting(name: str, method: Any, calls: list[str]) -> Any:
    async def counted(*arguments: Any) -> Any:
        calls.append(name)
        return await method(*arguments)

    return counted


# ---- over HTTP


async def test_they_are_listed_latest_first(app: TaskQ, other: TaskQ, store: Stepwise, clock: FakeClock) -> None:
    first = app.bulk.start(Action.RETRY, status=Status.DEAD)
    await clock.advance(1)
    second = other.bulk.start(Action.CANCEL, status=Status.PENDING)
    await clock.settle()

    listed = [(await Api(one).get("/operations")).json["operations"] for one in (app, other)]

    assert [[one["id"] for one in seen] for seen in listed] == [[second.id, first.id]] * 2
    assert [one["id"] for one in (await Api(app).get("/operations?limit=1")).json["operations"]] == [second.id]
    assert_is_error(await Api(app).get("/operations?limit=0"), 400, "limit must be between 1 and 1000", field="limit")
    for _ in range(2):
        store.permits.release()


async def test_a_cancel_is_answered_by_what_it_finds(app: TaskQ, store: Stepwise, clock: FakeClock) -> None:
    api = Api(app)
    operation = await given_running(app, store, clock)
    path = f"/operations/{operation.id}/cancel"

    form = await api.ask("POST", path, headers=ORIGIN)
    asked = await api.post(path)
    store.permits.release()
    await app.bulk.wait(operation.id)
    again = await api.post(path)
    store.permits.release()
    done = app.bulk.start(Action.RETRY, status=Status.DEAD)
    await app.bulk.wait(done.id)

    assert form.status == 415
    assert (asked.status, asked.json["status"], asked.json["cancel_requested"]) == (200, "running", True)
    assert (again.status, again.json["status"], again.json["done"]) == (200, "cancelled", 100)
    assert_is_error(
        await api.post(f"/operations/{done.id}/cancel"),
        409,
        f"operation {done.id} is done; only one that runs can be cancelled",
    )
    nowhere = "no operation with id 17; it never began, or ended long ago"
    assert_is_error(await api.post("/operations/17/cancel"), 404, nowhere)


async def test_a_store_that_is_away_is_said_of_what_is_not_known_here(
    app: TaskQ, store: Stepwise, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise BackendUnavailableError

    monkeypatch.setattr(MemoryBoard, "read", fail)
    monkeypatch.setattr(MemoryBoard, "post", fail)
    api = Api(app)
    operation = await given_running(app, store, clock)

    looked = await api.get(f"/operations/{operation.id}")
    away = [
        (await api.get("/operations")).status,
        (await api.get("/operations/17")).status,
        (await api.post("/operations/17/cancel")).status,
    ]

    assert (looked.status, looked.json["done"]) == (200, 100)
    assert away == [503] * 3
    for _ in range(2):
        store.permits.release()
    assert (await app.bulk.wait(operation.id)).status is OperationStatus.DONE


async def test_what_the_store_could_not_hear_is_said_once_it_can(
    app: TaskQ, other: TaskQ, store: Stepwise, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise BackendUnavailableError

    with monkeypatch.context() as away:
        away.setattr(MemoryBoard, "post", fail)
        operation = await given_running(app, store, clock, pages=3)
        ended = await app.bulk.wait(operation.id)
        await clock.advance(10)
    await clock.advance(TELL_EVERY_S)

    assert await other.operations.get(operation.id) == ended


# ---- real processes


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def env(redis: RedisServer, tmp_path: Path) -> dict[str, str]:
    return {"BACKEND_URL": redis.url, "KEY_PREFIX": tmp_path.name[-32:], "LOG_FORMAT": "json"}


def post(server: ServerProcess, path: str, body: object) -> Any:
    return server.post(path, json.dumps(body).encode()).json


@pytest.mark.slow
def test_with_two_processes_each_knows_what_was_begun(start_server: StartServer, env: dict[str, str]) -> None:
    server = start_server("--no-workers", "--processes", "2", env=env)
    begun = post(server, "/jobs/actions", DELETE_ALL)

    answers = [server.get(f"/operations/{begun['id']}") for _ in range(20)]  # whichever is asked

    assert {answer.status for answer in answers} == {200}
    eventually(lambda: {server.get(f"/operations/{begun['id']}").json["status"] for _ in range(10)} == {"done"})


@pytest.mark.slow
async def test_one_that_runs_is_cancelled_by_another_process_and_lost_when_killed(
    start_server: StartServer, redis: RedisServer, env: dict[str, str], clock: FakeClock, rng: Random
) -> None:
    store = StoreLayout(key_prefix=env["KEY_PREFIX"])
    runner = await asyncio.to_thread(start_server, "--no-workers", env=env, app="endless_listing:app")
    other = await asyncio.to_thread(start_server, "--no-workers", env=env)
    begun, doomed = [await asyncio.to_thread(post, runner, "/jobs/actions", DELETE_ALL) for _ in range(2)]

    asked = await asyncio.to_thread(other.post, f"/operations/{begun['id']}/cancel")
    await asyncio.to_thread(eventually, lambda: other.get(f"/operations/{begun['id']}").json["status"] == "cancelled")
    os.kill(runner.pid, signal.SIGKILL)
    await asyncio.to_thread(runner.wait)
    before = await asyncio.to_thread(other.get, f"/operations/{doomed['id']}")
    backend = RedisBackend(redis.url, clock=clock, rng=rng, layout=store)

    assert (asked.status, asked.json["cancel_requested"]) == (200, True)
    assert before.json["status"] == "running"
    async with TaskQ(backend, rng=rng) as app:
        await grow_old(backend, doomed["id"])
        assert (await app.operations.get(doomed["id"])).status is OperationStatus.LOST


async def grow_old(backend: Backend, operation_id: str) -> None:
    """Let a notice be as old as if its process had been gone for long: the server's clock cannot be moved."""
    assert isinstance(backend, RedisBackend)
    assert isinstance(backend, KeepsBoards)
    meta = backend._keys.meta(0)
    key = f"{meta.removesuffix('meta')}nb:{OPERATIONS.name}"
    await backend._connection.command("ZINCRBY", key, -LOST_AFTER_MS - 1, operation_id)
