"""Keys in Redis: in the partition of their jobs, and gone when they have served."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.redis_servers import Flavour, RedisServer, flavours

from gotaskq import Job, Settings, TaskQ

pytestmark = pytest.mark.slow


@pytest.fixture(params=flavours(), ids=lambda flavour: flavour.name)
def server(request: pytest.FixtureRequest) -> Iterator[RedisServer]:
    flavour: Flavour = request.param
    with RedisServer(flavour) as started:
        yield started


@pytest.fixture(params=[1, 4], ids=lambda partitions: f"{partitions} partitions")
async def app(request: pytest.FixtureRequest, server: RedisServer) -> AsyncIterator[TaskQ]:
    async with TaskQ(server.url, settings=Settings(partitions=request.param, idempotency_ttl_ms=60_000)) as app:
        yield app


def keys_in(server: RedisServer, family: str) -> dict[str, int]:
    """Return the keys of a family, and how many milliseconds each has left (-1: for ever)."""
    with server.client() as client:
        names = [name.decode() for name in client.scan_iter(f"*}}:{family}*")]
        return {name: client.pttl(name) for name in names}


async def test_a_unique_key_is_kept_until_its_job_has_ended(app: TaskQ, server: RedisServer) -> None:
    jobs = [await app.enqueue("email", unique_key=f"w:{number}", delay=60) for number in range(8)]
    held = keys_in(server, "uk")
    for job in jobs:
        await app.cancel(job.id)

    assert held
    assert keys_in(server, "uk") == {}


async def test_a_request_is_kept_for_its_time(app: TaskQ, server: RedisServer) -> None:
    first = await app.enqueue("email", idempotency_key="k")
    await app.delete(first.id)

    [left_ms] = keys_in(server, "ik").values()

    assert 0 < left_ms <= 60_000
    assert keys_in(server, "uk") == {}


async def test_processes_with_other_stores_of_one_server_find_the_same_job(app: TaskQ, server: RedisServer) -> None:
    others = [TaskQ(server.url, settings=app.settings) for _ in range(4)]
    made: list[Job] = []

    async def enqueue(other: TaskQ) -> None:
        async with other:
            for number in range(10):
                made.append(await other.enqueue("email", number, idempotency_key=f"k{number}"))
                made.append(await other.enqueue("email", unique_key=f"w:{number}"))

    async with asyncio.TaskGroup() as group:
        for other in others:
            group.create_task(enqueue(other))

    assert sum(not job.was_there for job in made) == len({job.id for job in made}) == 20
    assert (await app.queues())["default"].ready == 20
