"""`GET /workers`: workers of other processes are seen, gone once they stop, and grow old when they are killed."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.integration.conftest import StartServer
from tests.integration.in_asgi import Api
from tests.integration.server_process import WORKER, ServerProcess, eventually
from tests.redis_servers import RedisServer, running

from gotaskq import Settings, TaskQ
from gotaskq.backends.memory import MemoryBackend
from gotaskq.backends.memory.board import MemoryBoard
from gotaskq.backends.redis import RedisBackend
from gotaskq.errors import BackendUnavailableError
from gotaskq.presence import WORKERS
from gotaskq.store_limits import StoreLayout
from gotaskq.testing import FlakyBackend
from gotaskq.testing.clock import FakeClock


async def test_in_memory_it_lists_those_here(clock: FakeClock, rng: Random) -> None:
    app = TaskQ(settings=Settings(queues={"mail": 1}), clock=clock, rng=rng)
    async with app, app.workers(concurrency=2) as worker:
        answer = await Api(app).get("/workers")

    [shown] = answer.json["workers"]
    at = "2026-11-23T10:00:00.000Z"
    assert (answer.status, answer.json["complete"]) == (200, True)
    assert shown == {
        "id": worker.options.name,
        "host": shown["host"],
        "pid": os.getpid(),
        "version": shown["version"],
        "started_at": at,
        "last_seen_at": at,
        "queues": ["mail"],
        "types": [],
        "slots": 2,
        "busy": 0,
        "quiet": False,
    }


async def test_on_a_store_without_boards_it_says_what_is_missing(clock: FakeClock, rng: Random) -> None:
    async with TaskQ(FlakyBackend(MemoryBackend(clock=clock, rng=rng)), clock=clock, rng=rng) as app:
        assert (await Api(app).get("/workers")).json == {"workers": [], "complete": False}


async def test_a_store_that_is_away_is_said(clock: FakeClock, rng: Random, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(board: MemoryBoard) -> None:
        raise BackendUnavailableError

    monkeypatch.setattr(MemoryBoard, "read", fail)
    async with TaskQ(clock=clock, rng=rng) as app:
        assert (await Api(app).get("/workers")).status == 503


# ---- real processes


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with running() as server:
        yield server


@pytest.fixture
def env(redis: RedisServer, tmp_path: Path) -> dict[str, str]:
    return {"BACKEND_URL": redis.url, "KEY_PREFIX": tmp_path.name[-32:], "LOG_FORMAT": "json"}


def workers(server: ServerProcess) -> list[Any]:
    listed: list[Any] = server.get("/workers").json["workers"]
    return listed


@pytest.mark.slow
def test_a_worker_is_seen_in_use_quiet_and_gone_once_it_stops(
    start_server: StartServer, env: dict[str, str], tmp_path: Path
) -> None:
    server = start_server("--no-workers", env=env)
    assert workers(server) == []
    worker = start_server("--queues", "mail,default", "--concurrency", "3", env=env, command=WORKER)

    [seen] = eventually(lambda: workers(server) or None)
    job = server.submit("wait", {"folder": str(tmp_path)}, delay=3_600)
    explained = server.get(f"/jobs/{job['id']}/explain").json["reasons"]
    worker.signal(signal.SIGUSR1)
    eventually(lambda: workers(server)[0]["quiet"])
    quiet = server.get(f"/jobs/{job['id']}/explain").json["reasons"][0]
    worker.stop()

    assert (seen["pid"], seen["slots"], seen["queues"]) == (worker.pid, 3, ["default", "mail"])
    assert "wait" in seen["types"]
    assert explained[-1] == {"reason": "no_worker", "quiet": False, "elsewhere": "some", "workers": 1}
    assert quiet == {"reason": "no_worker", "quiet": False, "elsewhere": "none"}
    assert workers(server) == []


@pytest.mark.slow
def test_several_processes_tell_of_each(start_server: StartServer, env: dict[str, str]) -> None:
    server = start_server("--processes", "2", "--workers", "4", env=env)

    eventually(lambda: len({worker["pid"] for worker in workers(server)}) == 2)


@pytest.mark.slow
async def test_one_that_is_killed_is_forgotten(
    start_server: StartServer, redis: RedisServer, env: dict[str, str], clock: FakeClock, rng: Random
) -> None:
    server = await asyncio.to_thread(start_server, "--no-workers", env=env)
    worker = await asyncio.to_thread(start_server, env=env, command=WORKER)
    [seen] = await asyncio.to_thread(eventually, lambda: workers(server) or None)
    os.kill(worker.pid, signal.SIGKILL)
    await asyncio.to_thread(worker.wait)
    [killed] = await asyncio.to_thread(workers, server)
    backend = RedisBackend(redis.url, clock=clock, rng=rng, layout=StoreLayout(key_prefix=env["KEY_PREFIX"]))

    async with TaskQ(backend, rng=rng):
        # The server's clock cannot be moved; its notice can be made as old as one is forgotten at.
        key = f"{backend._keys.meta(0).removesuffix('meta')}nb:{WORKERS.name}"
        await backend._connection.command("ZINCRBY", key, -WORKERS.ttl_ms, seen["id"])

    assert killed["id"] == seen["id"]
    assert await asyncio.to_thread(workers, server) == []
