"""Those who submit jobs: their process is killed, another draws the same ids, or knows more types than the workers."""

from random import Random

import pytest
from tests.faults.checker import Allow
from tests.faults.footprint import returning_what_it_took
from tests.faults.world import PLAIN, WITHIN_S, World, eventually, let_pass

from gotaskq import Job
from gotaskq.backend import Enqueued
from gotaskq.backends.redis import RedisBackend
from gotaskq.clock import SystemClock
from gotaskq.job import JobId
from gotaskq.snowflake import SnowflakeIds

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_what_an_api_process_accepted_outlives_it(world: World) -> None:
    worker = world.worker()
    apis = [world.api()]
    world.warm_up()

    with world.posting(lambda: apis[-1], clients=8):
        for _ in range(4):
            accepted = len(world.history.accepted)
            eventually(lambda: len(world.history.accepted) > accepted + 20)  # noqa: B023 - called in this round
            let_pass(world.rng.uniform(0, 0.1))
            apis[-1].kill()
            apis.append(world.api())
            world.note_end()
    world.drain()

    assert worker.is_running
    assert world.history.unknown, "no call was under way when its process was killed"
    store = world.check()
    assert world.history.accepted.keys() <= store.jobs().keys()


async def test_two_processes_that_draw_the_same_ids_store_each_job_once(world: World) -> None:
    store = RedisBackend(world.redis.url, clock=SystemClock(), rng=Random(0))
    drawn = [draw_jobs(10_000, nonce) for nonce in ("first", "second")]

    async with returning_what_it_took(world.masters, within_s=WITHIN_S):
        await store.open()
        replies = [await store.enqueue(jobs) for jobs in drawn]
        repeated = await store.enqueue(drawn[0])
        await store.close()

    assert drawn[0][0].id == drawn[1][0].id
    assert set(replies[0]) == {Enqueued.OK}
    assert set(replies[1]) == {Enqueued.COLLISION}
    assert set(repeated) == {Enqueued.DUPLICATE}
    left = world.check(Allow(strangers=True, unfinished=True))
    assert {job.nonce for job in left.jobs().values()} == {"first"}


def draw_jobs(count: int, nonce: str) -> list[Job]:
    """Draw the ids of a process whose sequence begins where all others' do."""
    ids, now_ms = SnowflakeIds(Random(7)), SystemClock.now_ms()
    return [job_of(ids.draw(1_795_000_000_000), now_ms, nonce) for _ in range(count)]


def job_of(job_id: JobId, now_ms: int, nonce: str) -> Job:
    return Job(
        id=job_id, type="noop", queue="default", payload_json=b"null", priority=0, delay_ms=0, max_retries=0, rank=1,
        created_at_ms=now_ms, updated_at_ms=now_ms, run_after_ms=now_ms, enqueue_nonce=nonce,
    )  # fmt: skip


async def test_apps_that_draw_the_same_ids_draw_anew(world: World) -> None:
    async with world.app() as first, world.app() as second:
        mine = await first.enqueue_many([first.job("noop", {"n": number}) for number in range(500)])
        theirs = await second.enqueue_many([second.job("noop", {"n": number}) for number in range(500)])

    ids = {job.id for job in (*mine, *theirs)}
    assert len(ids) == 1_000
    assert world.check(Allow(strangers=True, unfinished=True)).jobs().keys() == ids


def test_a_type_that_an_old_worker_does_not_know_waits_for_a_new_one(world: World) -> None:
    api = world.api()
    world.warm_up(spares=[PLAIN])
    old = world.worker(HANDLER_TYPES="noop")
    [job_id] = world.post_many(api, 1, "slow", payload={"ms": 10})
    known = world.post_many(api, 5)
    old.wait_for_line("job_released")
    eventually(lambda: set(known) <= world.log.started())

    given_back = world.store().jobs()[job_id]
    assert old.stop() == 0
    world.worker()
    world.note_end()
    world.drain()

    assert (given_back.status, given_back.count("at"), given_back.count("rl")) == ("PENDING", 0, 1)
    done = world.check().jobs()[job_id]
    assert (done.status, done.count("rt"), done.count("cr")) == ("DONE", 0, 0)


def test_processes_with_other_scripts_share_a_store(world: World) -> None:
    api, worker = world.api(), world.worker()
    newer = world.worker(app="tests.faults.newer:app")
    world.warm_up()

    ids = world.post_many(api, 60, "slow", payload={"ms": 20})
    world.drain()

    assert worker.is_running
    store = world.check()
    assert {store.jobs()[job_id].status for job_id in ids} == {"DONE"}
    assert {run.pid for run in world.log.runs()} == {worker.pid, newer.pid}
