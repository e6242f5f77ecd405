"""The settler: settlements reach the store in batches, none is dropped, and events follow what the store confirmed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from random import Random

import pytest
from tests.unit.engine.jobs import pending

from gotaskq.backend import Settled
from gotaskq.backends.memory import MemoryBackend
from gotaskq.clock import Clock
from gotaskq.engine.bus import EventBus
from gotaskq.engine.deadlines import Deadlines
from gotaskq.engine.reports import Reports
from gotaskq.engine.settler import MAX_BATCH, MAX_WAITING, Ended, Settler
from gotaskq.engine.slot import Slot
from gotaskq.errors import BackendUnavailableError
from gotaskq.events import (
    Event,
    JobCancelled,
    JobDied,
    JobDone,
    JobReleased,
    JobRetryScheduled,
    LeaseLost,
)
from gotaskq.job import DeathReason, Job, JobId, Lease, Status, held_lease
from gotaskq.outcome import Cancel, Complete, DeadLetter, Release, Reschedule, Settlement
from gotaskq.policies.scheduling import Turn
from gotaskq.testing.clock import FakeClock

EVENTS: list[type[Event]] = [JobDone, JobRetryScheduled, JobDied, JobReleased, JobCancelled, LeaseLost]


class CountingBackend(MemoryBackend):
    """Remembers how large each batch was; for as many calls as asked it is away, or its reply is lost."""

    def __init__(self, *, clock: Clock, rng: Random) -> None:
        super().__init__(clock=clock, rng=rng)
        self.batches: list[int] = []
        self.away_calls = 0
        self.lost_replies = 0

    async def settle(self, settlements: Sequence[Settlement]) -> list[Settled]:
        await asyncio.sleep(0)
        if self.away_calls:
            self.away_calls -= 1
            raise BackendUnavailableError("away")
        self.batches.append(len(settlements))
        replies = await super().settle(settlements)
        if self.lost_replies:
            self.lost_replies -= 1
            raise BackendUnavailableError("the reply was lost")
        return replies


@pytest.fixture
async def backend(clock: FakeClock, rng: Random) -> CountingBackend:
    backend = CountingBackend(clock=clock, rng=rng)
    await backend.open()
    return backend


@pytest.fixture
def events() -> list[Event]:
    return []


@pytest.fixture
async def settler(
    backend: CountingBackend, events: list[Event], clock: FakeClock, rng: Random
) -> AsyncIterator[Settler]:
    bus = EventBus()
    for event_type in EVENTS:
        bus.subscribe(event_type, events.append)
    reports = Reports(backend, deadlines=Deadlines([], clock=clock, give_up=do_nothing), bus=bus, clock=clock)
    settler = Settler(backend, reports=reports, bus=bus, clock=clock, rng=rng)
    running = asyncio.create_task(settler.run())
    yield settler
    running.cancel()
    await asyncio.wait([running])


def do_nothing(_: Slot) -> None:
    """Give up no slot: there is none."""


async def leased(backend: MemoryBackend, clock: FakeClock, *, count: int = 1) -> list[Job]:
    """Return jobs as a worker reserved them."""
    now_ms = clock.now_ms()
    waiting = [
        pending(id=JobId(number), created_at_ms=now_ms, updated_at_ms=now_ms, run_after_ms=now_ms)
        for number in range(1, count + 1)
    ]
    await backend.enqueue(waiting)
    return await backend.reserve([Turn("default", count)], limit=count, lease_ms=30_000, worker="here:1")


def ended(job: Job, *, duration_s: float | None = 0.25) -> Ended:
    return Ended(job, Complete(held_lease(job)), duration_s)


each_settlement = pytest.mark.parametrize(
    ("settle", "status", "told"),
    [
        (lambda lease: Complete(lease), Status.DONE, lambda job: JobDone(job, 0.25)),
        (
            lambda lease: Reschedule(lease, 70, "E: e"),
            Status.PENDING,
            lambda job: JobRetryScheduled(job, "E: e", 70, 0.25),
        ),
        (
            lambda lease: DeadLetter(lease, DeathReason.NO_RETRY, "E: e"),
            Status.DEAD,
            lambda job: JobDied(job, DeathReason.NO_RETRY, "E: e", 0.25),
        ),
        (lambda lease: Release(lease), Status.PENDING, lambda job: JobReleased(job, is_unhandled=False)),
        (
            lambda lease: Release(lease, 5_000, is_unhandled=True),
            Status.PENDING,
            lambda job: JobReleased(job, is_unhandled=True),
        ),
        (lambda lease: Cancel(lease), Status.CANCELLED, JobCancelled),
    ],
    ids=["complete", "reschedule", "dead-letter", "release", "release unhandled", "cancel"],
)


@each_settlement
async def test_a_settlement_is_carried_out_and_then_told(
    settler: Settler,
    backend: CountingBackend,
    events: list[Event],
    clock: FakeClock,
    settle: Callable[[Lease], Settlement],
    status: Status,
    told: Callable[[Job], Event],
) -> None:
    [job] = await leased(backend, clock)
    settlement = settle(held_lease(job))
    if isinstance(settlement, Cancel):
        await backend.cancel(job.id)

    settler.put(Ended(job, settlement, 0.25))
    await settler.flush()

    stored = await backend.get(job.id)
    assert stored is not None
    assert stored.status is status
    assert events == [told(job)]


async def test_what_came_in_meanwhile_is_the_next_batch(
    settler: Settler, backend: CountingBackend, events: list[Event], clock: FakeClock
) -> None:
    jobs = await leased(backend, clock, count=300)

    for job in jobs:
        settler.put(ended(job))
    await settler.flush()

    assert backend.batches == [MAX_BATCH, MAX_BATCH, 300 - 2 * MAX_BATCH]
    assert len(events) == 300


async def test_while_the_store_is_away_nothing_is_dropped_nor_told(
    settler: Settler, backend: CountingBackend, events: list[Event], clock: FakeClock
) -> None:
    backend.away_calls = 5
    first, second = await leased(backend, clock, count=2)

    settler.put(ended(first))
    await clock.advance(0.01)
    settler.put(ended(second))
    leases_meanwhile, events_meanwhile = settler.leases(), list(events)
    await clock.advance(60)

    assert leases_meanwhile == [held_lease(first), held_lease(second)]
    assert events_meanwhile == []
    assert events == [JobDone(first, 0.25), JobDone(second, 0.25)]
    assert settler.leases() == []


async def test_a_lost_lease_is_told_and_the_result_discarded(
    settler: Settler, backend: CountingBackend, events: list[Event], clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    [job] = await leased(backend, clock)
    await clock.advance(31)
    await backend.reap(limit=1, max_crashes=3)

    settler.put(ended(job))
    await settler.flush()

    stored = await backend.get(job.id)
    assert stored is not None
    assert stored.status is Status.PENDING
    assert events == [LeaseLost(job)]
    assert caplog.messages == ["lease lost: the result is discarded"]


async def test_a_repeat_is_not_told_again(
    settler: Settler, backend: CountingBackend, events: list[Event], clock: FakeClock
) -> None:
    [job] = await leased(backend, clock)

    settler.put(ended(job))
    settler.put(ended(job))
    await settler.flush()

    assert events == [JobDone(job, 0.25)]


@each_settlement
async def test_a_settlement_whose_reply_was_lost_is_told_when_it_is_repeated(
    settler: Settler,
    backend: CountingBackend,
    events: list[Event],
    clock: FakeClock,
    settle: Callable[[Lease], Settlement],
    status: Status,
    told: Callable[[Job], Event],
) -> None:
    backend.lost_replies = 2
    [job] = await leased(backend, clock)
    settlement = settle(held_lease(job))
    if isinstance(settlement, Cancel):
        await backend.cancel(job.id)

    settler.put(Ended(job, settlement, 0.25))
    await clock.advance(1)

    assert backend.batches == [1, 1, 1]
    assert events == [told(job)]


async def test_a_cancel_whose_reply_was_lost_is_told_when_it_is_repeated(
    settler: Settler, backend: CountingBackend, events: list[Event], clock: FakeClock
) -> None:
    backend.lost_replies = 1
    [job] = await leased(backend, clock)
    await backend.cancel(job.id)

    settler.put(Ended(job, Reschedule(held_lease(job), 70, "E: e"), 0.25))
    await clock.advance(1)

    assert events == [JobCancelled(job)]


async def test_a_retry_whose_reply_was_lost_is_not_taken_for_the_cancel_of_a_later_attempt(
    settler: Settler, backend: CountingBackend, events: list[Event], clock: FakeClock
) -> None:
    backend.lost_replies = 1
    [job] = await leased(backend, clock)

    settler.put(Ended(job, Reschedule(held_lease(job), 0, "E: e"), 0.25))
    await clock.advance(0.01)
    await backend.reserve([Turn("default", 1)], limit=1, lease_ms=1, worker="there:1")
    await backend.cancel(job.id)
    clock.set_now_ms(clock.now_ms() + 5)
    await backend.reap(limit=1, max_crashes=3)
    await clock.advance(1)

    assert events == [JobRetryScheduled(job, "E: e", 0, 0.25)]


@pytest.mark.parametrize(
    "later",
    [
        lambda lease: Complete(lease),
        lambda lease: Reschedule(lease, 70, "E: e"),
        lambda lease: DeadLetter(lease, DeathReason.NO_RETRY, "E: e"),
        lambda lease: Cancel(lease),
    ],
    ids=["complete", "reschedule", "dead-letter", "cancel"],
)
async def test_what_comes_after_a_job_was_given_back_is_not_told_however_replies_are_lost(
    settler: Settler,
    backend: CountingBackend,
    events: list[Event],
    clock: FakeClock,
    later: Callable[[Lease], Settlement],
) -> None:
    backend.lost_replies = 1
    [job] = await leased(backend, clock)

    settler.put(Ended(job, Release(held_lease(job)), None))
    settler.put(Ended(job, later(held_lease(job)), 0.25))
    await clock.advance(1)

    assert events == [JobReleased(job, is_unhandled=False)]


async def test_a_job_whose_end_was_asked_for_is_told_as_cancelled(
    settler: Settler, backend: CountingBackend, events: list[Event], clock: FakeClock
) -> None:
    [job] = await leased(backend, clock)
    await backend.cancel(job.id)

    settler.put(Ended(job, Reschedule(held_lease(job), 70, "E: e"), 0.25))
    await settler.flush()

    assert events == [JobCancelled(job)]


async def test_slots_wait_when_too_much_is_unsettled(
    settler: Settler, backend: CountingBackend, clock: FakeClock
) -> None:
    jobs = await leased(backend, clock, count=MAX_WAITING)

    has_room = [settler.put(ended(job)) for job in jobs]
    await settler.room()
    batches_when_there_was_room = len(backend.batches)

    assert has_room == [True] * (MAX_WAITING - 1) + [False]
    assert batches_when_there_was_room == 1
    await settler.flush()


async def test_there_is_nothing_to_flush_at_the_start(settler: Settler) -> None:
    await settler.flush()
