"""Workers that die, are told to end, or stand still: the job runs elsewhere and is completed once."""

import signal

import pytest
from tests.faults.checker import Allow
from tests.faults.world import World, eventually
from tests.integration.server_process import ServerProcess

from gotaskq import Job

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def running_on(world: World, process: ServerProcess) -> set[int]:
    return {run.job_id for run in world.log.runs() if run.pid == process.pid and run.ended_s is None}


def test_the_jobs_of_a_killed_worker_run_elsewhere(world: World) -> None:
    api = world.api()
    workers = [world.worker() for _ in range(3)]
    ids = world.post_many(api, 200, "slow", payload={"ms": 100})
    eventually(lambda: all(running_on(world, worker) for worker in workers))

    workers[0].kill()
    killed = running_on(world, workers[0])
    world.drain()

    store = world.check()
    jobs = store.jobs()
    assert killed, "it was killed while it ran something"
    assert {jobs[job_id].status for job_id in ids} == {"DONE"}
    assert {jobs[job_id].count("cr") for job_id in killed} == {1}
    assert {jobs[job_id].count("rt") for job_id in ids} == {0}
