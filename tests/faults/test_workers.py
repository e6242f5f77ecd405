"""Workers that die, are told to end, or stand still: the job runs elsewhere and is completed once."""

import signal
from typing import Any, Final

import pytest
from tests.faults.checker import Allow
from tests.faults.world import PLAIN, World, eventually
from tests.integration.server_process import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def running_on(world: World, process: ServerProcess) -> set[int]:
    return {run.job_id for run in world.log.runs() if run.pid == process.pid and run.ended_s is None}


def take(world: World, api: ServerProcess, worker: ServerProcess, *, ms: int) -> int:
    """Submit a job that sleeps, and return its id once it runs on this worker, the only one there is."""
    [job_id] = world.post_many(api, 1, "slow", payload={"ms": ms})
    eventually(lambda: job_id in running_on(world, worker))
    return job_id


def test_the_jobs_of_a_killed_worker_run_elsewhere(world: World) -> None:
    api = world.api()
    workers = [world.worker() for _ in range(3)]
    world.warm_up()
    ids = world.post_many(api, 200, "slow", payload={"ms": 100})
    eventually(lambda: all(running_on(world, worker) for worker in workers))

    world.kill(workers[0])
    killed = running_on(world, workers[0])
    world.worker()
    world.drain()

    jobs = world.check().jobs()
    assert killed, "it was killed while it ran something"
    assert {jobs[job_id].status for job_id in ids} == {"DONE"}
    assert {jobs[job_id].count("cr") for job_id in killed} == {1}
    assert {jobs[job_id].count("rt") for job_id in ids} == {0}


# Where a worker dies, and with which jobs: they end by completing, by a retry, by giving up, or are given back.
CRASHES = [
    ("reserve", "before", "noop"),
    ("reserve", "after", "noop"),
    ("extend", "before", "slow"),
    ("extend", "after", "slow"),
    ("settle", "before", "noop"),
    ("settle", "after", "noop"),
    ("settle", "before", "flaky"),
    ("settle", "after", "flaky"),
    ("settle", "after", "fail"),
    ("settle", "before", "slow"),
    ("settle", "after", "slow"),
]


MANY_SLOTS: Final[dict[str, Any]] = {"NUM_WORKERS": "40"}


def test_a_worker_that_dies_at_any_point_completes_no_job_twice(world: World) -> None:
    api = world.api()
    world.warm_up(spares=[MANY_SLOTS])
    ids: dict[str, list[int]] = {}
    dead: list[ServerProcess] = []

    for priority, (method, moment, job_type) in enumerate(CRASHES):  # the newest go first, so each dies with its own
        payload = {"ms": 1_500, "failures": 1}
        ids.setdefault(job_type, []).extend(
            world.post_many(
                api, 4, job_type, payload=payload, priority=priority, max_retries=0 if job_type == "fail" else 1
            )
        )
        crashing = world.worker(app="tests.faults.dying:app", CRASH_AT=f"{method}:{moment}", SHUTDOWN_TIMEOUT="0")
        if (method, job_type) == ("settle", "slow"):
            eventually(lambda: running_on(world, crashing))  # noqa: B023 - called in this round
            crashing.signal(signal.SIGTERM)
        assert crashing.wait() == -signal.SIGKILL
        dead.append(crashing)
    world.worker(**MANY_SLOTS)
    for crashed in dead:
        world.note_loss(crashed)  # nobody was up to take over any sooner
    world.drain()

    jobs = world.check().jobs()
    assert {jobs[job_id].status for job_type in ("noop", "slow", "flaky") for job_id in ids[job_type]} == {"DONE"}
    assert {(jobs[job_id].status, jobs[job_id].fields["dr"]) for job_id in ids["fail"]} == {
        ("DEAD", "retries_exhausted")
    }


def test_a_worker_that_is_told_to_end_finishes_short_jobs(world: World) -> None:
    api, worker = world.api(), world.worker()
    world.warm_up()
    ids = world.post_many(api, 4, "slow", payload={"ms": 500})
    eventually(lambda: running_on(world, worker) == set(ids))

    exit_code = worker.stop()

    assert exit_code == 0
    store = world.check()
    accepted = len(world.history.accepted)
    assert store.by_status() == {"PENDING": 0, "RUNNING": 0, "DONE": accepted, "DEAD": 0, "CANCELLED": 0}
    assert sorted(run.job_id for run in world.log.runs() if run.job_id in ids) == ids


def test_a_worker_that_is_told_to_end_gives_long_jobs_back(world: World) -> None:
    api, worker = world.api(), world.worker(SHUTDOWN_TIMEOUT="100ms")
    world.warm_up(spares=[PLAIN])
    job_id = take(world, api, worker, ms=1_500)

    exit_code = worker.stop()

    assert exit_code == 0
    given_back = world.check(Allow(unfinished=True)).jobs()[job_id]
    assert (given_back.status, given_back.count("at"), given_back.count("rl")) == ("PENDING", 0, 1)
    world.worker()
    world.note_loss(worker)
    world.drain()
    done = world.check().jobs()[job_id]
    assert (done.status, done.count("at"), done.count("cr"), done.count("rt")) == ("DONE", 1, 0, 0)


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_gives_everything_back_at_once(world: World, first: signal.Signals) -> None:
    api, worker = world.api(), world.worker(SHUTDOWN_TIMEOUT="1h")
    world.warm_up()
    job_id = take(world, api, worker, ms=3_600_000)

    worker.signal(first)
    worker.wait_for_line("draining")
    worker.signal(signal.SIGTERM)
    exit_code = worker.wait()

    assert exit_code == 0
    given_back = world.check(Allow(unfinished=True)).jobs()[job_id]
    assert (given_back.status, given_back.count("rl")) == ("PENDING", 1)


def test_a_worker_that_stood_still_for_longer_than_the_lease_discards_its_result(world: World) -> None:
    api, frozen = world.api(), world.worker()
    world.warm_up(spares=[PLAIN])
    job_id = take(world, api, frozen, ms=1_000)

    frozen.signal(signal.SIGSTOP)
    world.worker()
    world.note_loss(frozen)
    world.drain()
    before = world.store().jobs()[job_id]
    frozen.signal(signal.SIGCONT)
    frozen.wait_for_line("lease_lost")

    after = world.check(Allow(overlap=True))
    assert after.jobs()[job_id] == before
    assert (before.status, before.count("cr"), before.count("at")) == ("DONE", 1, 2)
    assert (after.count("done"), after.count("lost")) == (len(world.history.accepted), 1)


def test_a_worker_that_stood_still_for_less_than_the_lease_goes_on(world: World) -> None:
    api, frozen = world.api(), world.worker(LEASE="1h")
    world.warm_up(spares=[PLAIN])
    job_id = take(world, api, frozen, ms=500)

    frozen.signal(signal.SIGSTOP)
    world.worker()
    others = world.post_many(api, 20)
    eventually(lambda: set(others) <= {run.job_id for run in world.log.runs() if run.ended_s is not None})
    frozen.signal(signal.SIGCONT)
    world.note_end()
    world.drain()

    job = world.check().jobs()[job_id]
    assert (job.status, job.count("at"), job.count("cr")) == ("DONE", 1, 0)


def test_a_job_that_kills_its_worker_is_dead_at_the_third_time(world: World) -> None:
    api = world.api()
    worker, deaths = world.worker(), 0
    world.warm_up()
    [poison] = world.post_many(api, 1, "poison")
    ids: list[int] = []

    while (status := world.store().jobs()[poison].status) != "DEAD":
        if not worker.is_running:
            deaths += 1
            dead, worker = worker, world.worker()
            world.note_loss(dead)
            ids += world.post_many(api, 25)
        eventually(lambda: not worker.is_running or world.store().jobs()[poison].status == "DEAD")  # noqa: B023
    world.drain()

    jobs = world.check().jobs()
    assert (status, jobs[poison].fields["dr"], jobs[poison].count("cr")) == ("DEAD", "worker_lost", 3)
    assert deaths == 3
    assert {jobs[job_id].status for job_id in ids} == {"DONE"}


def test_jobs_that_lapse_with_a_job_that_kills_its_worker_outlive_it(world: World) -> None:
    api = world.api()
    world.warm_up(spares=[PLAIN])
    ids = world.post_many(api, 25)
    [poison] = world.post_many(api, 1, "poison")
    ids += world.post_many(api, 25)
    worker, deaths = world.worker(), 0

    while (status := world.store().jobs()[poison].status) != "DEAD":
        if not worker.is_running:
            deaths += 1
            dead, worker = worker, world.worker()
            world.note_loss(dead)
        eventually(lambda: not worker.is_running or world.store().jobs()[poison].status == "DEAD")  # noqa: B023
    world.drain()

    jobs = world.check().jobs()
    assert (status, jobs[poison].fields["dr"], deaths) == ("DEAD", "worker_lost", 3)
    assert {jobs[job_id].status for job_id in ids} == {"DONE"}
