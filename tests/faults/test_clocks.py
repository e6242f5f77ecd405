"""Clocks that are wrong or are set: a worker's does not matter, the store's makes things early or late, never wrong."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.checker import Allow
from tests.faults.world import APP, World, eventually
from tests.faults.wrong_clock import WrongClock, is_off, is_server_off
from tests.redis_servers import RedisServer

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

SKEW_S = 300  # well beyond what a test waits: whatever goes by this clock comes far too early or never
STEP_S = 60
SLOTS = 4


@pytest.fixture
def clock(tmp_path: Path) -> WrongClock:
    return WrongClock(tmp_path)


@pytest.mark.parametrize("skew_s", [SKEW_S, -SKEW_S])
def test_a_worker_whose_clock_is_wrong_and_jumps_works_as_any_other(
    world: World, clock: WrongClock, skew_s: int
) -> None:
    api, worker = world.api(), world.worker(by_proxy=False, app=APP, **clock.env)
    world.warm_up()
    clock.set(skew_s)
    eventually(lambda: is_off(worker, skew_s))
    long = world.post_many(api, SLOTS - 1, "slow", payload={"ms": 5_000})
    eventually(lambda: set(long) <= world.log.running())

    others = world.post_many(api, 10, delay=1)
    others += world.post_many(api, 10, "flaky", payload={"failures": 1})
    for offset_s in (-skew_s, 0, skew_s):
        clock.set(offset_s)
        eventually(lambda: is_off(worker, offset_s))  # noqa: B023 - called in this round
        others += world.post_many(api, 10)
    world.note_end()
    world.drain()

    store = world.check()
    jobs = store.jobs()
    assert {jobs[job_id].status for job_id in long + others} == {"DONE"}
    assert {jobs[job_id].count("at") for job_id in long} == {1}
    assert (store.count("crash"), store.count("lost")) == (0, 0)


@pytest.fixture
def server(world: World, clock: WrongClock) -> Iterator[RedisServer]:
    """Give the store a clock that can be set."""
    with RedisServer(env=clock.env) as server:
        world.servers["server with its own clock"] = server
        world.url, world.masters = server.url, [server]
        yield server


def test_a_store_whose_clock_steps_forward_is_early_and_completes_each_job_once(
    world: World, clock: WrongClock, server: RedisServer
) -> None:
    api, worker, other = world.api(), world.worker(), world.worker()
    world.warm_up()
    ids = world.post_many(api, SLOTS, "slow", payload={"ms": 3_000})
    eventually(lambda: set(ids) <= world.log.running())
    ids += world.post_many(api, 10, delay=STEP_S * 3 // 4)

    clock.set(STEP_S)
    eventually(lambda: is_server_off(server, STEP_S))
    world.note_end()
    ids += world.post_many(api, 10)
    world.drain(within_s=STEP_S / 2)

    assert worker.is_running
    assert other.is_running
    store = world.check(Allow(overlap=True, early=True))
    assert {store.jobs()[job_id].status for job_id in ids} == {"DONE"}
    assert store.count("done") == len(world.history.accepted)


def test_a_store_whose_clock_steps_back_is_late_and_loses_nothing(
    world: World, clock: WrongClock, server: RedisServer
) -> None:
    api, doomed = world.api(), world.worker()
    world.warm_up()
    [orphan] = world.post_many(api, 1, "slow", payload={"ms": 3_000})
    eventually(lambda: orphan in world.log.running())
    worker = world.worker()
    long = world.post_many(api, SLOTS, "slow", payload={"ms": 3_000})
    eventually(lambda: set(long) <= world.log.running())
    late = world.post_many(api, 5, delay=1)

    doomed.kill()
    clock.set(-STEP_S)
    eventually(lambda: is_server_off(server, -STEP_S))
    prompt = world.post_many(api, 10)
    eventually(lambda: {*prompt} <= {run.job_id for run in world.log.runs() if run.ended_s is not None})
    ran_meanwhile = world.log.started()
    clock.set(0)
    eventually(lambda: is_server_off(server, 0))
    world.note_end()
    world.drain()

    assert worker.is_running
    store = world.check(Allow(overlap=True))
    jobs = store.jobs()
    assert ran_meanwhile.isdisjoint(late)
    assert {job.status for job in jobs.values()} == {"DONE"}
    assert jobs[orphan].count("cr") == 1
