"""Nothing is broken: one slot starts the jobs of each queue and partition by priority, then age.

And the check of that notices when it is not so.
"""

import pytest
from tests.faults.checker import disordered
from tests.faults.handlers import Run
from tests.faults.store import Partition, Store, StoredJob
from tests.faults.world import World

PARTITIONS = 3
QUEUES = ("default", "mail")
JOBS = 120


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_one_slot_starts_jobs_by_priority_and_then_age(world: World) -> None:
    api = world.api(PARTITIONS=str(PARTITIONS))
    assert api.post("/queue/mail").status == 201
    for _ in range(JOBS):
        world.post(api, priority=world.rng.randint(0, 10), queue=world.rng.choice(QUEUES))

    world.worker(PARTITIONS=str(PARTITIONS), NUM_WORKERS="1")
    world.drain()

    store = world.check()
    lines = {(part.tag, job.queue) for part in store.partitions.values() for job in part.jobs.values()}
    assert (len(lines), store.count("done")) == (PARTITIONS * len(QUEUES), JOBS)
    assert disordered(store, world.log.runs()) == []


def queued(job_id: int, *, priority: int = 0, queue: str = "default") -> StoredJob:
    return StoredJob(job_id, 0, 1_000, "n", "noop", queue, priority, 0, 3, b"{}")


def queued_store() -> Store:
    """Return two partitions; what is right is 12, 11, 13 beside 14 on another queue, and 21 before 22."""
    first = [queued(11), queued(12, priority=5), queued(13), queued(14, priority=9, queue="mail")]
    second = [queued(21, priority=10), queued(22, priority=10)]
    return Store({part.tag: part for part in (partition("{0}", first), partition("{1}", second))}, {})


def partition(tag: str, jobs: list[StoredJob]) -> Partition:
    return Partition(tag, {job.id: job for job in jobs})


def runs_of(*job_ids: int) -> list[Run]:
    return [Run(job_id, 1, f"t{at}", 1, "noop", float(at), at, ended_s=float(at)) for at, job_id in enumerate(job_ids)]


def test_each_queue_and_partition_has_an_order_of_its_own() -> None:
    assert disordered(queued_store(), runs_of(12, 21, 11, 22, 13, 14)) == []


def test_a_second_run_of_a_job_is_not_out_of_order() -> None:
    assert disordered(queued_store(), runs_of(12, 11, 13, 12)) == []


@pytest.mark.parametrize(
    ("started", "says"),
    [
        ((11, 12, 13), "I8: in default of {0}, job 11 of priority 0 started before 12 of 5"),
        ((12, 13, 14, 11), "I8: in default of {0}, job 13 of priority 0 started before 11 of 0"),
        ((22, 12, 21), "I8: in default of {1}, job 22 of priority 10 started before 21 of 10"),
    ],
)
def test_a_job_that_was_not_its_turn_is_named(started: tuple[int, ...], says: str) -> None:
    assert disordered(queued_store(), runs_of(*started)) == [says]
