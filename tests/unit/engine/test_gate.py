"""The gate: what the rules of a queue make of a job, and when a refused caller is told to come back."""

from collections.abc import Sequence
from random import Random

import pytest
from tests.unit.engine.jobs import pending

from gotaskq.backends.memory import MemoryBackend
from gotaskq.engine.admission import Admission
from gotaskq.engine.bus import EventBus
from gotaskq.engine.gate import LATEST_S, UNKNOWN_S
from gotaskq.engine.rates import FinishRates
from gotaskq.engine.requests import JobRequest
from gotaskq.errors import (
    QueueBusyError,
    QueueDrainingError,
    QueueFullError,
    QueueLateError,
    QueueRateError,
    Quota,
    WithheldError,
)
from gotaskq.events import JobDone
from gotaskq.job import DEFAULT_QUEUE, Job
from gotaskq.policies.ordering import Fifo, PriorityFifo
from gotaskq.queue_rules import Change
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import FakeClock

EMAIL = JobRequest("email")


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
async def backend(clock: FakeClock, rng: Random) -> MemoryBackend:
    backend = MemoryBackend(StoreLimits(max_queue_depth=1_000), clock=clock, rng=rng)
    await backend.open()
    return backend


@pytest.fixture
def admission(backend: MemoryBackend, bus: EventBus, clock: FakeClock) -> Admission:
    return Admission(
        backend,
        bus=bus,
        clock=clock,
        rng=Random(1),
        ordering=PriorityFifo(),
        max_retries=4,
        max_queue_depth=1_000,
        rates=FinishRates(bus, clock),
    )


async def given_rules(backend: MemoryBackend, **changes: Change) -> None:
    await backend.governor.change(DEFAULT_QUEUE, changes)


async def refusal(admission: Admission, request: JobRequest = EMAIL) -> QueueBusyError:
    with pytest.raises(QueueBusyError) as error:
        await admission.submit(request)
    return error.value


async def depth(backend: MemoryBackend) -> int:
    return (await backend.queues())[DEFAULT_QUEUE].depth


async def test_rules_hold_from_the_moment_they_are_set(admission: Admission, backend: MemoryBackend) -> None:
    await admission.submit(EMAIL)
    mould = admission.mould(EMAIL)
    await given_rules(backend, is_draining=True)

    with pytest.raises(QueueDrainingError):
        admission.cast_now(mould, b"null")

    await given_rules(backend, is_draining=False)
    assert admission.cast_now(mould, b"null").queue == DEFAULT_QUEUE


async def test_a_job_that_names_no_retries_gets_the_queues(admission: Admission, backend: MemoryBackend) -> None:
    await given_rules(backend, max_retries=0)

    jobs = [await admission.submit(JobRequest("email", max_retries=named)) for named in (None, 4, 7)]
    await given_rules(backend, max_retries=None)

    assert [job.max_retries for job in jobs] == [0, 4, 7]
    assert (await admission.submit(EMAIL)).max_retries == 4


@pytest.mark.parametrize(("ordering", "expected"), [("fifo", Fifo()), ("priority", PriorityFifo())])
async def test_a_queue_orders_its_jobs_its_own_way(
    admission: Admission, backend: MemoryBackend, ordering: str, expected: Fifo | PriorityFifo
) -> None:
    await given_rules(backend, ordering=ordering)

    job = await admission.submit(JobRequest("email", priority=3))

    assert job.rank == expected.rank(priority=3, created_at_ms=job.created_at_ms)


# ---- depth, and when there is room


async def test_a_full_queue_says_its_own_limit(admission: Admission, backend: MemoryBackend) -> None:
    await given_rules(backend, max_depth=1)
    await admission.submit(EMAIL)

    error = await refusal(admission)

    assert isinstance(error, QueueFullError)
    assert str(error) == "queue default is full: 1 jobs are waiting; try again later"


@pytest.mark.parametrize(
    ("ended", "within_s", "told_s"), [(0, 10, UNKNOWN_S), (100, 10, 1), (5, 20, 4), (1, 50, 50), (1, 59, 59)]
)
async def test_who_finds_a_full_queue_is_told_how_fast_it_is_emptied(
    admission: Admission,
    backend: MemoryBackend,
    bus: EventBus,
    clock: FakeClock,
    ended: int,
    within_s: int,
    told_s: int,
) -> None:
    await given_rules(backend, max_depth=1)
    await admission.submit(EMAIL)
    bus.publish_batch([JobDone(pending(), 0.1)] * ended)
    await clock.advance(within_s)

    assert (await refusal(admission)).retry_after_s == told_s


# ---- age


async def test_a_late_queue_takes_no_job_until_it_has_caught_up(
    admission: Admission, backend: MemoryBackend, clock: FakeClock
) -> None:
    await given_rules(backend, max_age_ms=10_000)
    await admission.submit(EMAIL)
    await clock.advance(10)
    await admission.submit(EMAIL)
    await clock.advance(2.5)

    error = await refusal(admission)
    await backend.governor.purge(DEFAULT_QUEUE, limit=1)

    assert isinstance(error, QueueLateError)
    allowed = "its oldest ready job has waited for 12.5 s, and 10 s are allowed"
    assert str(error) == f"queue default is late: {allowed}; try again later"
    await admission.submit(EMAIL)
    assert await depth(backend) == 2


@pytest.mark.parametrize(("age_s", "told_s"), [(12, UNKNOWN_S), (40, 30), (500, LATEST_S)])
async def test_who_finds_a_late_queue_is_told_by_how_much(
    admission: Admission, backend: MemoryBackend, clock: FakeClock, age_s: int, told_s: int
) -> None:
    await given_rules(backend, max_age_ms=10_000)
    await admission.submit(EMAIL)
    await clock.advance(age_s)

    assert (await refusal(admission)).retry_after_s == told_s


# ---- rate


async def test_a_rate_limit_lets_so_many_through_a_second(
    admission: Admission, backend: MemoryBackend, clock: FakeClock
) -> None:
    await given_rules(backend, rate_limit=4)
    for _ in range(4):
        await admission.submit(EMAIL)

    error = await refusal(admission)
    await clock.advance(0.25)
    await admission.submit(EMAIL)
    again = await refusal(admission)

    assert isinstance(error, QueueRateError)
    assert (error.quota, error.retry_after_s) == (Quota(4, 0, 1), 1)
    assert isinstance(again, QueueRateError)
    assert await depth(backend) == 5


async def test_what_is_left_of_a_rate_limit_is_told(
    admission: Admission, backend: MemoryBackend, clock: FakeClock
) -> None:
    await given_rules(backend, rate_limit=4)
    full = admission.quota(DEFAULT_QUEUE)
    for _ in range(3):
        await admission.submit(EMAIL)
    less = admission.quota(DEFAULT_QUEUE)
    await clock.advance(60)

    assert (full, less, admission.quota(DEFAULT_QUEUE)) == (Quota(4, 4, 1), Quota(4, 1, 1), Quota(4, 4, 1))
    assert admission.quota("elsewhere") is None


async def test_another_rate_limit_begins_anew(admission: Admission, backend: MemoryBackend) -> None:
    await given_rules(backend, rate_limit=1)
    await admission.submit(EMAIL)
    await given_rules(backend, rate_limit=2)

    assert admission.quota(DEFAULT_QUEUE) == Quota(2, 2, 1)


# ---- many at once


def kinds(answers: Sequence[object]) -> list[type]:
    return [type(answer) for answer in answers]


async def test_of_a_batch_what_the_rules_allow_is_taken(admission: Admission, backend: MemoryBackend) -> None:
    await given_rules(backend, rate_limit=2)

    answers = await admission.submit_many([EMAIL] * 3, atomic=False)

    assert kinds(answers) == [Job, Job, QueueRateError]
    assert await depth(backend) == 2


async def test_all_or_nothing_is_nothing_where_the_rules_refuse_one(
    admission: Admission, backend: MemoryBackend
) -> None:
    await given_rules(backend, rate_limit=2)

    answers = await admission.submit_many([EMAIL] * 3, atomic=True)

    assert kinds(answers) == [WithheldError, WithheldError, QueueRateError]
    assert await depth(backend) == 0
