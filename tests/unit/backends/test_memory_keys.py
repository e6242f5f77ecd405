"""The bound on idempotency keys in memory: what is beyond is refused, and nothing is forgotten before its time."""

from random import Random

import pytest

from gotaskq.backend import Enqueued, Existing
from gotaskq.backends.memory import MemoryBackend
from gotaskq.job import Job
from gotaskq.keys import FoundBy, Idempotency
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import FakeClock
from gotaskq.testing.conformance.given import Jobs

TTL_S = 60


@pytest.fixture
async def backend(clock: FakeClock, rng: Random) -> MemoryBackend:
    backend = MemoryBackend(StoreLimits(max_idempotency_keys=2, idempotency_ttl_ms=TTL_S * 1000), clock=clock, rng=rng)
    await backend.open()
    return backend


@pytest.fixture
def job(clock: FakeClock) -> Jobs:
    return Jobs(clock, Random(1))


def keyed(job: Jobs, key: str, *, unique_key: str = "") -> Job:
    return job(request=Idempotency(key, "asked"), unique_key=unique_key)


async def test_no_more_keys_are_kept_than_allowed(backend: MemoryBackend, job: Jobs) -> None:
    replies = await backend.enqueue([keyed(job, key) for key in "abc"])

    assert replies == [Enqueued.OK, Enqueued.OK, Enqueued.KEYS_FULL]


async def test_known_requests_and_jobs_without_keys_are_served_all_the_same(backend: MemoryBackend, job: Jobs) -> None:
    first, second = keyed(job, "a"), keyed(job, "b")
    await backend.enqueue([first, second])

    replies = await backend.enqueue([keyed(job, "a"), job(unique_key="u"), job()])

    assert replies == [Existing(first.id, FoundBy.IDEMPOTENCY_KEY), Enqueued.OK, Enqueued.OK]


async def test_a_key_whose_job_is_gone_keeps_its_place(backend: MemoryBackend, job: Jobs) -> None:
    first = keyed(job, "a")
    await backend.enqueue([first, keyed(job, "b")])
    await backend.cancel(first.id)
    await backend.delete([first.id])

    replies = await backend.enqueue([keyed(job, "c"), keyed(job, "a")])

    assert replies == [Enqueued.KEYS_FULL, Existing(first.id, FoundBy.IDEMPOTENCY_KEY)]


async def test_there_is_room_once_a_key_has_run_out(backend: MemoryBackend, job: Jobs, clock: FakeClock) -> None:
    await backend.enqueue([keyed(job, "a")])
    await clock.advance(1)
    await backend.enqueue([keyed(job, "b")])
    await clock.advance(TTL_S - 1)

    assert await backend.enqueue([keyed(job, key) for key in "cd"]) == [Enqueued.OK, Enqueued.KEYS_FULL]


async def test_a_request_that_comes_again_after_its_time_takes_its_own_place(
    backend: MemoryBackend, job: Jobs, clock: FakeClock
) -> None:
    await backend.enqueue([keyed(job, "a")])
    await clock.advance(TTL_S)
    await backend.enqueue([keyed(job, "a")])

    assert await backend.enqueue([keyed(job, key) for key in "bc"]) == [Enqueued.OK, Enqueued.KEYS_FULL]


async def test_a_request_that_finds_the_job_of_its_unique_key_needs_a_place_too(
    backend: MemoryBackend, job: Jobs
) -> None:
    await backend.enqueue([keyed(job, "a", unique_key="u"), keyed(job, "b")])

    assert await backend.enqueue([keyed(job, "c", unique_key="u")]) == [Enqueued.KEYS_FULL]


async def test_an_all_or_nothing_call_has_room_for_all_its_keys_or_takes_none(
    backend: MemoryBackend, job: Jobs, clock: FakeClock
) -> None:
    await backend.enqueue([keyed(job, "old")])
    await clock.advance(TTL_S)

    refused = await backend.enqueue([keyed(job, key) for key in "abc"], atomic=True)
    taken = await backend.enqueue([keyed(job, key) for key in "ab"], atomic=True)

    assert refused == [Enqueued.WITHHELD, Enqueued.WITHHELD, Enqueued.KEYS_FULL]
    assert taken == [Enqueued.OK, Enqueued.OK]
