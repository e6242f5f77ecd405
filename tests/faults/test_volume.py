"""Very many at once: due in one millisecond, dead, or waiting."""

import asyncio

import pytest
from tests.faults.checker import Allow
from tests.faults.conftest import Soon
from tests.faults.world import World

from gotaskq import Job
from gotaskq.errors import DeadJobNotFoundError, QueueFullError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

DUE_AT_ONCE = 50_000
SCRIPT_LIMIT_US = 250_000  # generous; an unbounded promotion of so many takes far longer


async def test_fifty_thousand_jobs_that_are_due_at_once_come_in_batches(world: World, soon: Soon) -> None:
    async with world.app(by_proxy=False, lease_ms=60_000) as app:
        for _ in range(DUE_AT_ONCE // 1_000):
            await app.enqueue_many([app.job("noop", delay=0.001) for _ in range(1_000)])
        with world.redis.client() as client:
            client.slowlog_reset()
            client.config_set("slowlog-log-slower-than", SCRIPT_LIMIT_US)

        async with app.workers(concurrency=10):
            await soon(world.is_drained)
        with world.redis.client() as client:
            slow = client.slowlog_get()

    assert slow == []
    store = world.check(Allow(strangers=True))
    assert (store.count("done"), len(world.log.runs())) == (DUE_AT_ONCE, DUE_AT_ONCE)


async def test_dead_jobs_beyond_the_limit_go_oldest_first(world: World, soon: Soon) -> None:
    async with world.app(max_dead_jobs=100, num_workers=1) as app, app.workers(concurrency=1):
        jobs = await world.enqueue_many(app, 150, "fail", max_retries=0)
        await soon(world.is_drained)

    store = world.store()
    assert store.jobs().keys() == {job.id for job in jobs[50:]}
    assert store.count("dead") == 150
    world.check(Allow(lost=lambda job_id: job_id in {job.id for job in jobs[:50]}, deleted=50))


async def test_two_who_replay_the_same_dead_jobs_replay_each_once(world: World, soon: Soon) -> None:
    async with world.app(lease_ms=10_000) as app, world.app() as other:
        async with app.workers(concurrency=4):
            jobs = await world.enqueue_many(app, 200, "fail", max_retries=0)
            await soon(world.is_drained)

        async def replay(who: int, job: Job) -> bool:
            try:
                await (app, other)[who].replay(job.id)
            except DeadJobNotFoundError:
                return False
            return True

        async with asyncio.TaskGroup() as group:
            tasks = [[group.create_task(replay(who, job)) for who in (0, 1)] for job in jobs]

    assert {sum(task.result() for task in pair) for pair in tasks} == {1}
    store = world.check(Allow(unfinished=True))
    assert {job.count("rp") for job in store.jobs().values()} == {1}


async def test_a_full_queue_refuses_and_takes_again(world: World, soon: Soon) -> None:
    async with world.app(max_queue_depth=50) as app:
        await world.enqueue_many(app, 50)
        with pytest.raises(QueueFullError):
            await app.enqueue("noop")
        refused = [await world.enqueue(app) for _ in range(20)]
        async with app.workers(concurrency=4):
            await soon(world.is_drained)
            after = await world.enqueue(app)
            await soon(world.is_drained)

    assert refused == [None] * 20
    assert len(world.history.refused) == 20
    assert after is not None
    assert world.check().count("enq") == 51
