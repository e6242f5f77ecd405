"""Admission: what comes through the door is stored and then announced; what is refused leaves no trace."""

from random import Random
from typing import cast

import pytest
from msgspec import Raw
from tests.unit.engine.jobs import pending

from gotaskq.backend import Backend
from gotaskq.backends.memory import MemoryBackend
from gotaskq.engine.admission import Admission
from gotaskq.engine.bus import EventBus
from gotaskq.engine.requests import JobRequest
from gotaskq.errors import (
    BackendUnavailableError,
    GotaskqError,
    InvalidRequestError,
    QueueExistsError,
    QueueFullError,
    QueueNotFoundError,
    ShuttingDownError,
    WithheldError,
)
from gotaskq.events import Event, JobEnqueued, QueueCreated
from gotaskq.job import Job, Status
from gotaskq.policies.ordering import PriorityFifo
from gotaskq.snowflake import SnowflakeIds
from gotaskq.store_limits import StoreLimits
from gotaskq.testing.clock import FakeClock

MAX_DEPTH = 3


class Waiting:
    """A store that has to be waited for, as one on a network is."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> object:
        if name == "enqueue_now":
            raise AttributeError(name)
        return getattr(self._backend, name)


@pytest.fixture
async def backend(clock: FakeClock, rng: Random) -> MemoryBackend:
    backend = MemoryBackend(StoreLimits(max_queue_depth=MAX_DEPTH), clock=clock, rng=rng)
    await backend.open()
    return backend


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture(params=["at once", "waited for"])
def admission(
    request: pytest.FixtureRequest, backend: MemoryBackend, events: list[Event], clock: FakeClock
) -> Admission:
    bus = EventBus()
    bus.subscribe(JobEnqueued, events.append)
    bus.subscribe(QueueCreated, events.append)
    return Admission(
        cast("Backend", Waiting(backend)) if request.param == "waited for" else backend,
        bus=bus,
        clock=clock,
        rng=Random(1),
        ordering=PriorityFifo(),
        max_retries=4,
        max_queue_depth=MAX_DEPTH,
    )


async def depth(backend: MemoryBackend) -> int:
    return sum(counts.depth for counts in (await backend.queues()).values())


# ---- accepted


async def test_a_request_becomes_a_stored_job_and_is_then_announced(
    admission: Admission, backend: MemoryBackend, events: list[Event], clock: FakeClock
) -> None:
    request = JobRequest("email", Raw(b'{"to":1}'), priority=7, delay=1.5, max_retries=0)

    job = await admission.submit(request)

    assert (job.type, job.payload_json, job.queue, job.status) == ("email", b'{"to":1}', "default", Status.PENDING)
    assert (job.priority, job.delay_ms, job.max_retries, job.retry_count, job.attempt) == (7, 1_500, 0, 0, 0)
    assert job.created_at_ms == job.updated_at_ms == clock.now_ms()
    assert job.run_after_ms == clock.now_ms() + 1_500
    assert job.rank == PriorityFifo().rank(priority=7, created_at_ms=clock.now_ms())
    assert await backend.get(job.id) == job
    assert events == [JobEnqueued(job)]


@pytest.mark.parametrize("admission", ["at once"], indirect=True)
async def test_a_store_that_never_waits_is_used_at_once(admission: Admission, backend: MemoryBackend) -> None:
    job = admission.submit_now(JobRequest("email"))

    assert admission.is_immediate
    assert await backend.get(job.id) == job


@pytest.mark.parametrize("admission", ["waited for"], indirect=True)
def test_a_store_that_waits_cannot_be_used_at_once(admission: Admission) -> None:
    with pytest.raises(GotaskqError, match="waited for"):
        admission.submit_now(JobRequest("email"))

    assert not admission.is_immediate


async def test_only_the_type_is_needed(admission: Admission) -> None:
    job = await admission.submit(JobRequest("email"))

    assert (job.payload_json, job.queue, job.priority, job.delay_ms, job.max_retries) == (b"null", "default", 0, 0, 4)
    assert job.run_after_ms == job.created_at_ms


async def test_requests_of_one_kind_become_jobs_of_their_own(admission: Admission, clock: FakeClock) -> None:
    first = await admission.submit(JobRequest("email", Raw(b"1")))
    await clock.advance(5)
    second = await admission.submit(JobRequest("email", Raw(b"2")))

    assert second.id > first.id
    assert (first.payload_json, second.payload_json) == (b"1", b"2")
    assert second.created_at_ms == first.created_at_ms + 5_000
    assert second.rank > first.rank


async def test_an_id_that_is_taken_is_drawn_again(
    admission: Admission, backend: MemoryBackend, events: list[Event], clock: FakeClock
) -> None:
    taken = [SnowflakeIds(Random(1)).draw(clock.now_ms())]
    await backend.enqueue([pending(id=job_id, enqueue_nonce="another") for job_id in taken])

    job = await admission.submit(JobRequest("email"))

    assert job.id not in taken
    assert await backend.get(job.id) == job
    assert events == [JobEnqueued(job)]


async def test_an_id_that_is_taken_again_and_again_is_given_up(
    admission: Admission, backend: MemoryBackend, events: list[Event], clock: FakeClock
) -> None:
    ids = SnowflakeIds(Random(1))
    await backend.enqueue([pending(id=ids.draw(clock.now_ms()), enqueue_nonce="another") for _ in range(3)])

    with pytest.raises(BackendUnavailableError, match="clock"):
        await admission.submit(JobRequest("email"))

    assert await depth(backend) == 3
    assert events == []


# ---- refused


REFUSED = [
    (JobRequest(), "type", "type is required"),
    (JobRequest(""), "type", "type is required"),
    (JobRequest("log ger"), "type", "type must be 1 to 128 of"),
    (JobRequest("größe"), "type", "type must be 1 to 128 of"),
    (JobRequest("a" * 129), "type", "type must be 1 to 128 of"),
    (JobRequest("email", priority=-1), "priority", "priority must be between 0 and 10"),
    (JobRequest("email", priority=11), "priority", "priority must be between 0 and 10"),
    (JobRequest("email", priority=10**30), "priority", "priority must be between 0 and 10"),
    (JobRequest("email", priority=True), "priority", "priority must be between 0 and 10"),
    (JobRequest("email", priority=1.0), "priority", "priority must be between 0 and 10"),  # type: ignore[arg-type]
    (JobRequest("email", delay=-0.001), "delay", "delay must be between 0 and 31536000 seconds"),
    (JobRequest("email", delay=31_536_001), "delay", "delay must be between 0 and 31536000 seconds"),
    (JobRequest("email", delay=float("nan")), "delay", "delay must be between 0 and 31536000 seconds"),
    (JobRequest("email", delay=float("inf")), "delay", "delay must be between 0 and 31536000 seconds"),
    (JobRequest("email", delay=True), "delay", "delay must be between 0 and 31536000 seconds"),
    (JobRequest("email", max_retries=-1), "max_retries", "max_retries must be between 0 and 100"),
    (JobRequest("email", max_retries=101), "max_retries", "max_retries must be between 0 and 100"),
    (JobRequest("email", max_retries=True), "max_retries", "max_retries must be between 0 and 100"),
    (JobRequest("email", max_retries=1.0), "max_retries", "max_retries must be between 0 and 100"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(
    ("request_", "field", "message"), REFUSED, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_a_value_outside_its_limits_is_refused_and_named(
    admission: Admission,
    backend: MemoryBackend,
    events: list[Event],
    request_: JobRequest,
    field: str,
    message: str,
) -> None:
    with pytest.raises(InvalidRequestError, match=message) as error:
        await admission.submit(request_)

    assert error.value.field == field
    assert await depth(backend) == 0
    assert events == []


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (JobRequest("email", priority=1), JobRequest("email", priority=True)),
        (JobRequest("email", delay=1), JobRequest("email", delay=True)),
        (JobRequest("email", max_retries=1), JobRequest("email", max_retries=True)),
    ],
    ids=["priority", "delay", "max_retries"],
)
async def test_what_only_equals_a_good_value_is_refused_all_the_same(
    admission: Admission, good: JobRequest, bad: JobRequest
) -> None:
    await admission.submit(good)

    with pytest.raises(InvalidRequestError):
        await admission.submit(bad)


async def test_an_unknown_queue_is_not_found(admission: Admission, backend: MemoryBackend, events: list[Event]) -> None:
    with pytest.raises(QueueNotFoundError, match="nowhere"):
        await admission.submit(JobRequest("email", queue="nowhere"))

    assert await depth(backend) == 0
    assert events == []


async def test_a_full_queue_takes_no_more(admission: Admission, backend: MemoryBackend, events: list[Event]) -> None:
    for _ in range(MAX_DEPTH):
        await admission.submit(JobRequest("email"))

    with pytest.raises(QueueFullError) as error:
        await admission.submit(JobRequest("email"))

    assert error.value.retry_after_s > 0
    assert await depth(backend) == len(events) == MAX_DEPTH


async def test_a_closed_door_takes_nothing(admission: Admission, backend: MemoryBackend) -> None:
    admission.is_closed = True

    with pytest.raises(ShuttingDownError):
        await admission.submit(JobRequest("email"))

    assert await depth(backend) == 0


# ---- many at once


async def test_of_many_each_is_answered_in_its_place(
    admission: Admission, backend: MemoryBackend, events: list[Event]
) -> None:
    requests = [JobRequest("a"), JobRequest("b", priority=11), JobRequest("c", queue="nowhere"), JobRequest("d")]

    answers = await admission.submit_many(requests, atomic=False)

    assert [answer.type for answer in answers if isinstance(answer, Job)] == ["a", "d"]
    assert [type(answer) for answer in answers[1:3]] == [InvalidRequestError, QueueNotFoundError]
    assert await depth(backend) == len(events) == 2


@pytest.mark.parametrize("bad", [JobRequest("b", priority=11), JobRequest("b", queue="nowhere")], ids=["bad", "lost"])
async def test_of_many_all_or_none(
    admission: Admission, backend: MemoryBackend, events: list[Event], bad: JobRequest
) -> None:
    answers: list[Job | GotaskqError] = await admission.submit_many([JobRequest("a"), bad], atomic=True)

    assert isinstance(answers[0], WithheldError)
    assert isinstance(answers[1], InvalidRequestError | QueueNotFoundError)
    assert await depth(backend) == 0
    assert events == []


async def test_many_with_an_id_that_is_taken_are_all_stored_once(
    admission: Admission, backend: MemoryBackend, events: list[Event], clock: FakeClock
) -> None:
    await backend.enqueue([pending(id=SnowflakeIds(Random(1)).draw(clock.now_ms()), enqueue_nonce="another")])

    answers = await admission.submit_many([JobRequest("a"), JobRequest("b")], atomic=False)

    jobs = [answer for answer in answers if isinstance(answer, Job)]
    assert [job.type for job in jobs] == ["a", "b"]
    assert [await backend.get(job.id) for job in jobs] == jobs
    assert await depth(backend) == 3
    assert events == [JobEnqueued(job) for job in jobs]


# ---- queues


async def test_a_queue_is_created_in_lower_case_and_announced(
    admission: Admission, backend: MemoryBackend, events: list[Event]
) -> None:
    name = await admission.create_queue("Mail.Out_1-x")

    assert name == "mail.out_1-x"
    assert list(await backend.queues()) == ["default", "mail.out_1-x"]
    assert events == [QueueCreated("mail.out_1-x")]


@pytest.mark.parametrize("name", ["default", "Default"])
async def test_a_queue_that_exists_is_refused(admission: Admission, events: list[Event], name: str) -> None:
    with pytest.raises(QueueExistsError, match="default"):
        await admission.create_queue(name)

    assert events == []
