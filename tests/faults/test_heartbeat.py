"""Leases are kept by whoever lives, and by nobody else: blocked loops, a held GIL, a worker that is cut off."""

import pytest
from tests.faults.checker import Allow
from tests.faults.world import PLAIN, World, eventually
from tests.integration.server_process import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

LEASE_MS = 1_000  # as `World.worker` sets it


def take(world: World, api: ServerProcess, job_type: str, *, ms: int) -> int:
    """Submit a job, and return its id as soon as it runs."""
    [job_id] = world.post_many(api, 1, job_type, payload={"ms": ms})
    eventually(lambda: job_id in world.log.started())
    return job_id


def metric(worker: ServerProcess, name: str) -> float:
    lines = worker.get("/metrics").body.decode().splitlines()
    [value] = [line.split(" ")[1] for line in lines if line.startswith(f"{name} ")]
    return float(value)


def test_a_handler_that_blocks_the_loop_costs_no_lease(world: World) -> None:
    api, blocked = world.api(), world.worker()
    world.warm_up(spares=[PLAIN])
    waiting = take(world, api, "slow", ms=3 * LEASE_MS)

    blocking = take(world, api, "block", ms=3 * LEASE_MS)
    world.worker()  # who would take what lapses
    world.drain()
    world.note_end(at_s=world.log.ended_s(blocking))

    jobs = world.check().jobs()
    assert [(jobs[job_id].count("at"), jobs[job_id].count("cr")) for job_id in (waiting, blocking)] == [(1, 0)] * 2
    assert "work (" in blocked.wait_for_line("the event loop stands still")
    assert "loop_stalled" in blocked.stderr
    assert metric(blocked, "gotaskq_loop_stall_seconds_count") >= 1
    assert metric(blocked, "gotaskq_loop_stall_seconds_sum") > 1
    assert metric(blocked, "gotaskq_event_loop_lag_seconds") > 1


def test_a_handler_that_holds_the_gil_may_run_twice_and_completes_once(world: World) -> None:
    api, holding = world.api(), world.worker()
    world.warm_up(spares=[PLAIN])
    job_id = take(world, api, "hold", ms=2 * LEASE_MS)

    world.worker()
    world.note_loss(holding)
    world.drain()

    store = world.check(Allow(overlap=True))
    assert (store.jobs()[job_id].status, store.count("done")) == ("DONE", len(world.history.accepted))


def test_only_exclusive_attempts_of_a_worker_that_is_cut_off_are_stopped(world: World) -> None:
    api, cut_off = world.api(), world.worker(by_proxy=True)
    world.warm_up(spares=[PLAIN])
    exclusive = take(world, api, "alone", ms=4 * LEASE_MS)
    normal = take(world, api, "slow", ms=4 * LEASE_MS)

    world.proxy.blackhole()
    line = cut_off.wait_for_line("an exclusive attempt lost its lease")
    world.worker()
    world.note_loss(cut_off)
    eventually(lambda: [count_runs(world, job_id) for job_id in (exclusive, normal)] == [2, 2])
    world.proxy.heal()
    world.drain()

    assert f'"{exclusive}"' in line or f"={exclusive}" in line
    cut_off.wait_for_line("lease_lost")
    store = world.check(Allow(overlap=True))
    assert [store.jobs()[job_id].status for job_id in (exclusive, normal)] == ["DONE", "DONE"]
    assert store.count("done") == len(world.history.accepted)
    assert [has_ended(world, job_id, cut_off.pid) for job_id in (exclusive, normal)] == [False, True]


def count_runs(world: World, job_id: int) -> int:
    return len([run for run in world.log.runs() if run.job_id == job_id])


def has_ended(world: World, job_id: int, pid: int) -> bool:
    [run] = [run for run in world.log.runs() if (run.job_id, run.pid) == (job_id, pid)]
    return run.ended_s is not None
