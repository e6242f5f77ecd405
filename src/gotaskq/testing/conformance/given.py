"""The words the contract's tests are written in: make jobs, bring them where the test begins, look at them."""

from collections.abc import Iterable, Mapping
from random import Random
from typing import Final

from gotaskq.backend import Backend, Enqueued, JobQuery, QueueCounts, Settled
from gotaskq.clock import Clock
from gotaskq.headers import encode_headers
from gotaskq.job import (
    DEFAULT_QUEUE,
    NO_TIMEOUTS,
    RECORD_VERSION,
    DeathReason,
    Job,
    JobId,
    Lease,
    Status,
    Timeouts,
)
from gotaskq.keys import NO_KEYS, Idempotency, Keys
from gotaskq.outcome import Complete, DeadLetter, Reschedule
from gotaskq.policies.ordering import PriorityFifo
from gotaskq.policies.scheduling import Turn
from gotaskq.snowflake import SnowflakeIds

WORKER: Final = "worker-1"
LEASE_S: Final = 30
ALL: Final = 1_000  # more than any test has
PAGES_MAX: Final = 1_000  # a listing of a test that goes on longer never ends


class Jobs:
    """Makes PENDING jobs as admission does: ids in order of time, the rank from priority and age."""

    def __init__(self, clock: Clock, rng: Random) -> None:
        self._clock = clock
        self._ids = SnowflakeIds(rng)
        self._ordering = PriorityFifo()

    def __call__(
        self,
        *,
        job_id: int | None = None,
        job_type: str = "email.send",
        queue: str = DEFAULT_QUEUE,
        payload_json: bytes = b'{"to":"a@b.c"}',
        priority: int = 0,
        delay_s: float = 0,
        max_retries: int = 3,
        nonce: str = "enqueue-1",
        created_at_ms: int | None = None,
        execution_s: float = 0,
        schedule_s: float = 0,
        version: int = RECORD_VERSION,
        headers: Mapping[str, str] | None = None,
        unique_key: str = "",
        request: Idempotency | None = None,
    ) -> Job:
        now_ms = self._clock.now_ms()
        created_at_ms = now_ms if created_at_ms is None else created_at_ms
        delay_ms, execution_ms, schedule_ms = (round(1000 * time_s) for time_s in (delay_s, execution_s, schedule_s))
        return Job(
            id=self._ids.draw(now_ms) if job_id is None else JobId(job_id),
            type=job_type,
            queue=queue,
            payload_json=payload_json,
            priority=priority,
            delay_ms=delay_ms,
            max_retries=max_retries,
            rank=self._ordering.rank(priority=priority, created_at_ms=created_at_ms),
            created_at_ms=created_at_ms,
            updated_at_ms=created_at_ms,
            run_after_ms=created_at_ms + delay_ms,
            enqueue_nonce=nonce,
            timeouts=Timeouts(execution_ms, schedule_ms) if execution_ms or schedule_ms else NO_TIMEOUTS,
            version=version,
            headers_json=encode_headers(headers),
            keys=Keys(unique_key, request) if unique_key or request else NO_KEYS,
        )


async def enqueue(backend: Backend, *jobs: Job) -> None:
    assert await backend.enqueue(jobs) == [Enqueued.OK] * len(jobs)


async def reserve(
    backend: Backend, *queues: str, limit: int = ALL, lease_s: float = LEASE_S, worker: str = WORKER
) -> list[Job]:
    """Reserve from these queues (none named: the default one) with a turn of one job each."""
    turns = [Turn(queue, 1) for queue in queues or (DEFAULT_QUEUE,)]
    return await backend.reserve(turns, limit=limit, lease_ms=round(lease_s * 1000), worker=worker)


async def given_running(backend: Backend, job: Job, *, lease_s: float = LEASE_S, worker: str = WORKER) -> Job:
    """Enqueue a job, which must be the next of its queue, and reserve it."""
    await enqueue(backend, job)
    return await start_again(backend, job, lease_s=lease_s, worker=worker)


async def start_again(backend: Backend, job: Job, *, lease_s: float = LEASE_S, worker: str = WORKER) -> Job:
    """Reserve a job that waits, which must be the next of its queue."""
    [running] = await reserve(backend, job.queue, limit=1, lease_s=lease_s, worker=worker)
    assert running.id == job.id
    return running


async def fail(backend: Backend, running: Job, error: str = "SMTPError: 421", *, delay_s: float = 0) -> Job:
    """Reschedule a job that runs, and return it as it waits."""
    failure = Reschedule(lease_of(running), round(delay_s * 1000), error, f"Traceback of\n{error}")
    assert await backend.settle([failure]) == [Settled.OK]
    return await look(backend, running)


async def given_done(backend: Backend, job: Job) -> Job:
    running = await given_running(backend, job)
    assert await backend.settle([Complete(lease_of(running))]) == [Settled.OK]
    return await look(backend, job)


async def given_dead(backend: Backend, job: Job) -> Job:
    running = await given_running(backend, job)
    await die(backend, running)
    return await look(backend, job)


async def given_cancelled(backend: Backend, job: Job) -> Job:
    await enqueue(backend, job)
    cancelled = await backend.cancel(job.id)
    assert cancelled is not None
    return cancelled


async def die(backend: Backend, *running: Job) -> None:
    """Dead-letter jobs that run, in one call."""
    deaths = [DeadLetter(lease_of(job), DeathReason.RETRIES_EXHAUSTED, "SMTPError: 550") for job in running]
    assert await backend.settle(deaths) == [Settled.OK] * len(running)


async def look(backend: Backend, job: Job) -> Job:
    """Return the job as the store has it now."""
    found = await backend.get(job.id)
    assert found is not None
    return found


async def counts(backend: Backend, queue: str = DEFAULT_QUEUE) -> QueueCounts:
    return (await backend.queues())[queue]


def counted(
    *, ready: int = 0, scheduled: int = 0, running: int = 0, dead: int = 0, is_paused: bool = False
) -> QueueCounts:
    return QueueCounts(ready=ready, scheduled=scheduled, running=running, dead=dead, is_paused=is_paused)


async def walk(backend: Backend, query: JobQuery | None = None, *, limit: int = ALL) -> list[JobId]:
    """Return the ids of a whole listing, fetched page by page."""
    listed: list[JobId] = []
    after: str | None = None
    for _ in range(PAGES_MAX):
        page = await backend.list_jobs(query or JobQuery(), after=after, limit=limit)
        assert len(page.jobs) <= limit
        listed += ids(page.jobs)
        after = page.next_cursor
        if after is None:
            return listed
    raise AssertionError(f"the listing has not ended after {PAGES_MAX} pages")


def ids(jobs: Iterable[Job]) -> list[JobId]:
    return [job.id for job in jobs]


def lease_of(job: Job) -> Lease:
    assert job.status is Status.RUNNING
    assert job.lease is not None
    return job.lease
