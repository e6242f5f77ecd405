"""The server stands still, refuses, forgets or starts anew: what it acknowledged it keeps as far as it promised."""

import gc
import weakref
from pathlib import Path

import pytest
from tests.faults.checker import Allow
from tests.faults.conftest import MakeWorld
from tests.faults.world import PLAIN, World, eventually, let_pass
from tests.integration.metrics_page import sample
from tests.redis_servers import Flavour, flavours

from gotaskq.errors import StoreFullError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

EPOCH_CHANGES = "gotaskq_backend_epoch_changes_total"
LOSS_S = 2.0  # what `appendfsync everysec` may forget at worst


def test_a_server_that_stands_still_for_longer_than_the_leases_makes_nobody_run_twice(world: World) -> None:
    api, workers = world.api(), [world.worker(LEASE="2s") for _ in range(2)]
    world.warm_up()
    ids = world.post_many(api, 6, "slow", payload={"ms": 6_000})
    eventually(lambda: world.log.running() == set(ids))

    world.redis.freeze()
    let_pass(4.0)
    world.redis.thaw()
    world.note_end(lease_s=2.0)
    world.drain()

    store = world.check()
    assert all(worker.is_running for worker in workers)
    assert store.count("crash") == 0
    assert sorted(run.job_id for run in world.log.runs() if run.job_id in ids) == ids


@pytest.mark.parametrize("what", ["ALL", "WRITE"])
def test_a_pause_of_all_clients_is_latency(world: World, what: str) -> None:
    api, worker = world.api(), world.worker(LEASE="4s")
    world.warm_up(lease_s=4)
    world.post_many(api, 10, "slow", payload={"ms": 300})

    with world.redis.client() as client:
        client.client_pause(1_000, all=what == "ALL")
    world.post_many(api, 2)
    world.note_end(lease_s=4)
    world.drain()

    assert worker.is_running
    store = world.check()
    assert (store.count("done"), store.count("crash")) == (len(world.history.accepted), 0)


def test_what_was_acknowledged_outlives_a_crash_when_every_write_is_on_disk(make_world: MakeWorld) -> None:
    world = make_world(appendonly="yes", appendfsync="always")
    api, worker = world.api(), world.worker()
    world.warm_up()

    with world.posting(lambda: api, clients=4, job_type="slow", payload={"ms": 50}):
        for _ in range(2):
            let_pass(0.5)
            world.redis.restart()
            world.note_end()
            count = len(world.history.accepted)
            eventually(lambda: len(world.history.accepted) > count)  # noqa: B023 - called in this round
    world.drain()

    assert worker.is_running
    world.check(Allow(overlap=True))


def test_a_crash_loses_two_seconds_at_most_when_writes_reach_the_disk_every_second(make_world: MakeWorld) -> None:
    world = make_world(appendonly="yes", appendfsync="everysec")
    api = world.api()
    world.warm_up(spares=[PLAIN])
    world.post_many(api, 50)
    let_pass(LOSS_S)

    old = set(world.history.accepted)
    world.post_many(api, 50)
    world.redis.restart()
    worker = world.worker()
    world.note_end()
    world.drain()

    assert worker.is_running
    store = world.check(Allow(lost=lambda job_id: job_id not in old))
    print(f"lost {len(world.history.accepted) - len(store.jobs())} of the last 50")


def test_a_server_that_forgets_everything_is_told_of_and_served_on(world: World) -> None:
    api, worker = world.api(), world.worker()
    world.warm_up()
    world.post_many(api, 20, "noop", delay=3600)

    world.redis.restart()
    world.note_end()
    for process in (api, worker):
        process.wait_for_line("lost its jobs")
    lost = set(world.history.accepted)
    ids = [eventually(lambda: world.post(api)) for _ in range(10)]
    world.drain()

    assert [sample(process, EPOCH_CHANGES) for process in (api, worker)] == [1, 1]
    store = world.check(Allow(lost=lambda job_id: job_id in lost))
    assert store.jobs().keys() == set(ids)
    assert store.queues == {"default": "0"}


def test_a_flush_is_like_a_server_that_forgets(world: World) -> None:
    api, worker = world.api(), world.worker()
    assert api.post("/queue/mail").status == 201
    world.warm_up()
    world.post_many(api, 8, "slow", payload={"ms": 1_000})
    eventually(lambda: len(world.log.running()) == 4)

    with world.redis.client() as client:
        client.flushall()
    world.note_end()
    for process in (api, worker):
        process.wait_for_line("lost its jobs")
    lost = set(world.history.accepted)
    eventually(lambda: world.post(api))
    world.drain()

    assert [sample(process, EPOCH_CHANGES) for process in (api, worker)] == [1, 1]
    store = world.check(Allow(lost=lambda job_id: job_id in lost))
    assert store.queues == {"default": "0", "mail": "0"}, "a queue outlives its store's memory"


def test_a_flush_of_the_scripts_is_not_noticed(world: World) -> None:
    api, worker = world.api(), world.worker()
    world.warm_up()

    with world.posting(lambda: api, clients=2), world.redis.client() as client:
        for _ in range(20):
            client.script_flush()
            let_pass(0.05)
    world.note_end()
    world.drain()

    assert worker.is_running
    assert world.history.unknown == world.history.refused == {}
    store = world.check()
    assert store.count("crash") == 0


def test_a_log_that_ends_in_the_middle_costs_the_last_write_at_most(make_world: MakeWorld) -> None:
    world = make_world(appendonly="yes", appendfsync="always")
    api = world.api()
    world.warm_up(spares=[PLAIN])
    ids = world.post_many(api, 20)

    world.redis.kill()
    [log] = appended(world)
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - 7)
    world.redis.start()
    world.worker()
    world.note_end()
    eventually(lambda: world.post(api))
    world.drain()

    world.check(Allow(lost=lambda job_id: job_id == ids[-1]))


def appended(world: World) -> list[Path]:
    return list((world.redis.folder / "appendonlydir").glob("*.incr.aof"))


@pytest.mark.parametrize("flavour", flavours(), ids=lambda flavour: flavour.name)
def test_a_batch_for_which_memory_does_not_last_says_which_jobs_are_stored(
    make_world: MakeWorld, flavour: Flavour
) -> None:
    world = make_world(flavour)
    api = world.api()
    world.post_many(api, 5)
    with world.redis.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 3_000_000)

    answer = world.post_batch(api, 500, pad=15_000)

    errors = answer.json["errors"]
    assert answer.status == 201
    assert {error["error"] for error in errors} == {"the job store is full; try again later"}
    assert {error["index"] for error in errors} == set(range(500)) - set(range(len(answer.json["jobs"])))
    assert not world.history.unknown
    world.check(Allow(unfinished=True))


@pytest.mark.parametrize("flavour", flavours(), ids=lambda flavour: flavour.name)
def test_a_server_without_memory_takes_no_jobs_and_gives_them_out(make_world: MakeWorld, flavour: Flavour) -> None:
    world = make_world(flavour)
    api = world.api()
    world.post_many(api, 5)
    with world.redis.client() as client:
        client.config_set("maxmemory", client.info("memory")["used_memory"] + 1_000_000)

    eventually(lambda: world.post(api, "noop", pad=10_000) is None)
    refused = dict(world.history.refused)
    world.worker(COMPLETE_JOB_TTL="1ms")
    world.note_end()
    world.drain()
    eventually(lambda: world.post(api, "noop", pad=10_000))
    world.drain()

    assert refused, world.history.text()
    assert not world.history.unknown
    store = world.store()
    accepted, kept = set(world.history.accepted), store.jobs().keys()
    assert (store.count("done"), store.count("crash")) == (len(accepted), 0)
    world.check(Allow(lost=accepted.__contains__, deleted=len(accepted - kept)))


def test_a_server_that_cannot_save_stops_the_work_and_loses_nothing(make_world: MakeWorld) -> None:
    world = make_world(save="3600 1")
    api, worker = world.api(), world.worker(LEASE="5s")
    world.warm_up(lease_s=5)
    ids = world.post_many(api, 8, "slow", payload={"ms": 1_000})
    eventually(lambda: len(world.log.running()) == 4)

    obstacle = world.redis.folder / "dump.rdb"
    obstacle.mkdir()
    save(world, "err")
    assert world.post(api) is None
    worker.wait_for_line("settling waits")
    obstacle.rmdir()
    save(world, "ok")
    world.note_end(lease_s=5.0)
    eventually(lambda: world.post(api))
    world.drain()

    store = world.check(Allow(overlap=True))
    assert {store.jobs()[job_id].status for job_id in ids} == {"DONE"}


def save(world: World, expected: str) -> None:
    with world.redis.client() as client:
        eventually(lambda: client.info("persistence")["rdb_bgsave_in_progress"] == 0)
        client.bgsave()
        eventually(lambda: client.info("persistence")["rdb_last_bgsave_status"] == expected)


@pytest.mark.parametrize("refusal", ["NOREPLICAS", "READONLY"])
def test_a_server_that_refuses_writes_is_waited_for(world: World, refusal: str) -> None:
    api, worker = world.api(), world.worker(LEASE="10s")
    world.warm_up(lease_s=10)
    ids = world.post_many(api, 8, "slow", payload={"ms": 500})
    eventually(lambda: len(world.log.running()) == 4)

    with world.redis.client() as client:
        if refusal == "NOREPLICAS":
            client.config_set("min-replicas-to-write", 1)
        else:
            client.execute_command("REPLICAOF", "127.0.0.1", "1")
        assert world.post(api) is None
        worker.wait_for_line("settling waits")
        if refusal == "NOREPLICAS":
            client.config_set("min-replicas-to-write", 0)
        else:
            client.execute_command("REPLICAOF", "NO", "ONE")
    world.note_end(lease_s=10.0)
    eventually(lambda: world.post(api))
    world.drain()

    store = world.check()
    assert {store.jobs()[job_id].status for job_id in ids} == {"DONE"}
    assert store.count("crash") == 0


async def test_a_refused_job_is_let_go_of_at_once(world: World) -> None:
    async def refused() -> "weakref.ref[StoreFullError]":
        try:  # what pytest.raises returns is part of a cycle itself
            await app.enqueue("noop")
        except StoreFullError as error:
            return weakref.ref(error)
        raise AssertionError("it found room")

    async with world.app() as app:
        await app.enqueue("noop")
        world.redis.config_set("maxmemory", "1")
        gc.disable()
        try:
            first, _ = await refused(), await refused()  # the last is held until another comes
            assert first() is None, "it is part of a cycle, with the job, and waits for a garbage collection"
        finally:
            gc.enable()
