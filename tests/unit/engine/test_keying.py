"""Requests with keys at the door: the job that is there comes back, marked so, and nothing is announced twice."""

from random import Random
from typing import Any, cast

import pytest
from msgspec import Raw
from tests.unit.engine.test_admission import Waiting

from gotaskq.backend import Backend, Enqueued, EnqueueReply, Existing
from gotaskq.backends.memory import MemoryBackend
from gotaskq.engine.admission import Admission
from gotaskq.engine.bus import EventBus
from gotaskq.engine.requests import JobRequest
from gotaskq.errors import (
    BackendUnavailableError,
    GotaskqError,
    InvalidRequestError,
    JobGoneError,
    KeyReusedError,
    QueueFullError,
)
from gotaskq.events import Event, JobEnqueued
from gotaskq.job import Job, JobId, Status
from gotaskq.keys import FoundBy, in_scope
from gotaskq.policies.ordering import PriorityFifo
from gotaskq.snowflake import partition_of
from gotaskq.testing.clock import FakeClock

PARTITIONS = 8


class Partitioned(Waiting):
    """A store that spreads its jobs, and waits for each call."""

    partitions = PARTITIONS


@pytest.fixture
async def backend(clock: FakeClock, rng: Random) -> MemoryBackend:
    backend = MemoryBackend(clock=clock, rng=rng)
    await backend.open()
    return backend


@pytest.fixture
def events() -> list[Event]:
    return []


def door_to(backend: object, clock: FakeClock, events: list[Event], *, max_retries: int = 4) -> Admission:
    bus = EventBus()
    bus.subscribe(JobEnqueued, events.append)
    return Admission(
        cast("Backend", backend),
        bus=bus,
        clock=clock,
        rng=Random(max_retries),
        ordering=PriorityFifo(),
        max_retries=max_retries,
        max_queue_depth=1_000,
    )


@pytest.fixture(params=["at once", "waited for", "partitioned"])
def door(request: pytest.FixtureRequest, backend: MemoryBackend, clock: FakeClock, events: list[Event]) -> Admission:
    stores = {"at once": backend, "waited for": Waiting(backend), "partitioned": Partitioned(backend)}
    return door_to(stores[request.param], clock, events)


@pytest.fixture
def spread(backend: MemoryBackend, clock: FakeClock, events: list[Event]) -> Admission:
    return door_to(Partitioned(backend), clock, events)


def asks(number: int = 0, **members: Any) -> JobRequest:
    return JobRequest("email", Raw(b"%d" % number), **members)


# ---- one


async def test_a_request_that_comes_again_is_answered_with_its_job(door: Admission, events: list[Event]) -> None:
    first, again = [await door.submit(asks(idempotency_key="k")) for _ in range(2)]

    assert (first.was_there, again.was_there, again.keys.found_by) == (False, True, FoundBy.IDEMPOTENCY_KEY)
    assert again.id == first.id
    assert [event.job.id for event in events if isinstance(event, JobEnqueued)] == [first.id]


async def test_a_unique_key_that_is_taken_is_answered_with_the_job_that_has_it(
    door: Admission, backend: MemoryBackend, events: list[Event]
) -> None:
    first = await door.submit(asks(1, unique_key="w:1"))
    await backend.cancel((await door.submit(asks(unique_key="w:2"))).id)

    again, freed = [await door.submit(asks(2, unique_key=key)) for key in ("w:1", "w:2")]

    assert (again.id, again.payload, again.keys.found_by) == (first.id, 1, FoundBy.UNIQUE_KEY)
    assert (again.unique_key, freed.was_there) == ("w:1", False)
    assert len(events) == 3


@pytest.mark.parametrize("member", ["unique_key", "idempotency_key"])
@pytest.mark.parametrize("bad", ["", "a b", "k" * 256, 7])
async def test_what_is_no_key_is_refused(door: Admission, member: str, bad: Any) -> None:
    with pytest.raises(InvalidRequestError) as refusal:
        await door.submit(asks(**{member: bad}))

    assert refusal.value.field == member


async def test_another_request_with_the_same_key_is_refused(door: Admission) -> None:
    await door.submit(asks(1, idempotency_key="k"))

    with pytest.raises(KeyReusedError):
        await door.submit(asks(2, idempotency_key="k"))


async def test_a_request_is_the_same_whatever_the_defaults_have_become(
    backend: MemoryBackend, clock: FakeClock, events: list[Event]
) -> None:
    first = await door_to(backend, clock, events).submit(asks(delay=5, idempotency_key="k"))

    again = await door_to(backend, clock, events, max_retries=9).submit(asks(delay=5.0, idempotency_key="k"))

    assert (again.id, again.max_retries) == (first.id, 4)


async def test_principals_do_not_meet_in_one_key(door: Admission) -> None:
    keys = [in_scope("k", principal) for principal in ("", "alice", "bob", "alice")]

    ids = [(await door.submit(asks(number, idempotency_key=key))).id for number, key in enumerate(keys[:3])]
    with pytest.raises(KeyReusedError):
        await door.submit(asks(9, idempotency_key=keys[3]))

    assert len(set(ids)) == 3


async def test_a_job_that_is_gone_is_named(door: Admission, backend: MemoryBackend) -> None:
    job = await door.submit(asks(idempotency_key="k"))
    await backend.cancel(job.id)
    await backend.delete([job.id])

    with pytest.raises(JobGoneError, match=str(job.id)) as gone:
        await door.submit(asks(idempotency_key="k"))

    assert gone.value.job_id == job.id


class Fading(Waiting):
    """A store whose answer is out of date: the job it found has ended, and is forgotten, before anyone can look."""

    def __init__(self, backend: MemoryBackend) -> None:
        super().__init__(backend)
        self._jobs = backend

    async def enqueue(self, jobs: list[Job], *, atomic: bool = False) -> list[EnqueueReply]:
        replies = await self._jobs.enqueue(jobs, atomic=atomic)
        for reply in replies:
            if isinstance(reply, Existing):
                await self._jobs.cancel(reply.job_id)
                await self._jobs.delete([reply.job_id])
        return replies


async def test_a_unique_key_that_became_free_meanwhile_is_taken(
    backend: MemoryBackend, clock: FakeClock, events: list[Event]
) -> None:
    door = door_to(Fading(backend), clock, events)
    first = await door.submit(asks(unique_key="w:1"))

    second = await door.submit(asks(unique_key="w:1"))

    assert (second.id == first.id, second.was_there, second.status) == (False, False, Status.PENDING)


class Cut(Waiting):
    """A store that answers no look-up."""

    async def get(self, job_id: JobId) -> Job | None:
        raise BackendUnavailableError


async def test_when_the_job_that_is_there_cannot_be_looked_up_its_id_is_told(
    backend: MemoryBackend, clock: FakeClock, events: list[Event]
) -> None:
    door = door_to(Cut(backend), clock, events)
    first = await door.submit(asks(idempotency_key="k"))

    with pytest.raises(BackendUnavailableError) as away:
        await door.submit(asks(idempotency_key="k"))

    assert away.value.job_id == first.id


async def test_a_store_that_finds_what_nobody_looked_for_is_not_believed(
    backend: MemoryBackend, clock: FakeClock, events: list[Event]
) -> None:
    job = door_to(backend, clock, events).admit(asks())

    with pytest.raises(GotaskqError, match="which has no keys"):
        door_to(backend, clock, events)._accepted(job, Existing(JobId(1), FoundBy.UNIQUE_KEY))


# ---- many


async def test_jobs_of_a_batch_that_are_there_come_back_with_the_others(door: Admission, events: list[Event]) -> None:
    keyed = [asks(1, idempotency_key="k"), asks(2, unique_key="w:1")]
    before = [await door.submit(request) for request in keyed]

    answers = await door.submit_many([asks(), *keyed, asks(3, idempotency_key="k")], atomic=False)

    assert [getattr(answer, "was_there", None) for answer in answers] == [False, True, True, None]
    assert [answer.id for answer in answers[1:3] if isinstance(answer, Job)] == [job.id for job in before]
    assert isinstance(answers[3], KeyReusedError)
    assert len(events) == 3


async def test_a_job_of_a_batch_that_is_gone_spares_the_others(door: Admission, backend: MemoryBackend) -> None:
    gone = await door.submit(asks(idempotency_key="k"))
    await backend.cancel(gone.id)
    await backend.delete([gone.id])

    answers = await door.submit_many([asks(idempotency_key="k"), asks()], atomic=False)

    assert isinstance(answers[0], JobGoneError)
    assert isinstance(answers[1], Job)


# ---- partitions


async def test_jobs_with_the_same_key_have_the_same_partition(spread: Admission, backend: MemoryBackend) -> None:
    homes: dict[str, set[int]] = {}
    for number in range(40):
        for key in (f"k{number}", "always"):
            job = await spread.submit(asks(unique_key=key))
            homes.setdefault(key, set()).add(partition_of(job.id))
            await backend.cancel(job.id)

    assert {len(found) for found in homes.values()} == {1}
    assert len(set.union(*homes.values())) == PARTITIONS


async def test_both_keys_would_ask_for_two_partitions(spread: Admission) -> None:
    with pytest.raises(InvalidRequestError, match="not both") as refusal:
        await spread.submit(asks(unique_key="u", idempotency_key="k"))

    assert refusal.value.field == "unique_key"


async def test_the_jobs_of_an_all_or_nothing_call_follow_the_one_with_a_key(spread: Admission) -> None:
    alone = await spread.submit(asks(unique_key="w:1", delay=60))

    answers = await spread.submit_many([asks(), asks(unique_key="w:2"), asks()], atomic=True)

    partitions = {partition_of(answer.id) for answer in answers if isinstance(answer, Job)}
    twin = await spread.submit(asks(unique_key="w:2"))
    assert len(partitions) == 1
    assert partition_of(twin.id) in partitions
    assert alone.was_there is False


class Colliding(Partitioned):
    """A store in which the first ids drawn are taken."""

    def __init__(self, backend: MemoryBackend) -> None:
        super().__init__(backend)
        self._jobs = backend
        self._refuses = 2

    async def enqueue(self, jobs: list[Job], *, atomic: bool = False) -> list[EnqueueReply]:
        self._refuses -= 1
        if self._refuses >= 0:
            return [Enqueued.COLLISION] * len(jobs)
        return await self._jobs.enqueue(jobs, atomic=atomic)


async def test_an_id_that_is_drawn_again_stays_in_its_partition(
    backend: MemoryBackend, clock: FakeClock, events: list[Event]
) -> None:
    door = door_to(Colliding(backend), clock, events)

    [first] = await door.submit_many([asks(unique_key="w:1")], atomic=False)
    [again] = await door.submit_many([asks(unique_key="w:1")], atomic=False)

    assert isinstance(first, Job)
    assert isinstance(again, Job)
    assert again.id == first.id
    assert partition_of(first.id) == partition_of(door.admit(asks(unique_key="w:1")).id)


async def test_a_full_queue_refuses_a_new_key(backend: MemoryBackend, clock: FakeClock, events: list[Event]) -> None:
    door = door_to(backend, clock, events)
    backend._queues["default"].max_depth = 0

    with pytest.raises(QueueFullError):
        await door.submit(asks(unique_key="w:1"))
