"""Endings: an end in this process is heard of at once, one elsewhere is found by looking."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace
from tests.unit.engine.jobs import pending

from gotaskq.engine.bus import EventBus
from gotaskq.engine.endings import FIRST_LOOK_S, LAST_LOOK_S, Endings, look_until_ended
from gotaskq.events import Event, JobCancelled, JobDied, JobDone
from gotaskq.job import DeathReason, Job, JobId, Status
from gotaskq.testing.clock import FakeClock


class Store:
    """One job, and how often somebody looked at it."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.looks = 0

    async def look(self, _: JobId) -> Job:
        self.looks += 1
        return self.job

    def end(self, status: Status) -> Job:
        self.job = replace(self.job, status=status)
        return self.job


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def endings(bus: EventBus, clock: FakeClock) -> Endings:
    return Endings(bus, clock)


@pytest.fixture
def store() -> Store:
    return Store(pending())


@pytest.mark.parametrize("status", [Status.DONE, Status.DEAD, Status.CANCELLED])
async def test_a_job_that_has_ended_is_not_waited_for(
    endings: Endings, store: Store, clock: FakeClock, status: Status
) -> None:
    ended = store.end(status)

    assert await endings.wait(ended.id, store.look, timeout_s=None) is ended
    assert clock.pending == 0


@pytest.mark.parametrize(
    ("status", "event"),
    [
        (Status.DONE, lambda job: JobDone(job, 0.1)),
        (Status.DEAD, lambda job: JobDied(job, DeathReason.NO_RETRY, "no", None)),
        (Status.CANCELLED, JobCancelled),
    ],
)
async def test_an_end_here_wakes_all_who_wait_for_it(
    endings: Endings, store: Store, bus: EventBus, clock: FakeClock, status: Status, event: Callable[[Job], Event]
) -> None:
    job_id = store.job.id
    waiting = [asyncio.create_task(endings.wait(job_id, store.look, timeout_s=None)) for _ in range(2)]
    await clock.advance(0)

    bus.publish(event(store.end(status)))

    assert [await wait for wait in waiting] == [store.job, store.job]
    assert store.looks == 4


async def test_another_jobs_end_wakes_nobody(endings: Endings, store: Store, bus: EventBus, clock: FakeClock) -> None:
    waiting = asyncio.create_task(endings.wait(store.job.id, store.look, timeout_s=1))
    await clock.advance(0)

    bus.publish(JobDone(replace(store.job, id=JobId(store.job.id + 1)), 0.1))
    await clock.advance(0)

    assert store.looks == 1
    await clock.advance(1)
    with pytest.raises(TimeoutError):
        await waiting


async def test_an_end_elsewhere_is_found_by_looking_less_and_less_often(
    endings: Endings, store: Store, clock: FakeClock
) -> None:
    waiting = asyncio.create_task(endings.wait(store.job.id, store.look, timeout_s=None))
    await clock.advance(60)
    looks = store.looks
    store.end(Status.DONE)

    await clock.advance(LAST_LOOK_S)

    assert waiting.done()
    assert looks < 60 / LAST_LOOK_S + 12


async def test_what_looking_raises_ends_the_waiting(endings: Endings) -> None:
    async def fail(_: JobId) -> Job:
        raise LookupError

    look: Callable[[JobId], Awaitable[Job]] = fail
    with pytest.raises(LookupError):
        await endings.wait(JobId(1), look, timeout_s=None)


class Thread:
    """A thread's way to look and to sleep: it sleeps in no time, and a job ends after so many looks."""

    def __init__(self, clock: FakeClock, *, ends_at_look: int) -> None:
        self._clock = clock
        self._ends_at_look = ends_at_look
        self.looks = 0
        self.slept_s: list[float] = []

    def look(self, job_id: JobId) -> Job:
        self.looks += 1
        job = replace(pending(), id=job_id)
        return replace(job, status=Status.DONE) if self.looks >= self._ends_at_look else job

    def sleep(self, pause_s: float) -> None:
        self.slept_s.append(pause_s)
        self._clock.jump(pause_s)


def test_a_thread_looks_soon_and_then_more_rarely(clock: FakeClock) -> None:
    thread = Thread(clock, ends_at_look=20)

    ended = look_until_ended(JobId(7), thread.look, timeout_s=None, clock=clock, sleep=thread.sleep)

    assert (ended.id, ended.status, thread.looks) == (7, Status.DONE, 20)
    assert thread.slept_s[0] == FIRST_LOOK_S
    assert thread.slept_s == sorted(thread.slept_s)
    assert max(thread.slept_s) == LAST_LOOK_S


def test_a_thread_looks_a_last_time_at_its_timeout(clock: FakeClock) -> None:
    thread = Thread(clock, ends_at_look=99)

    with pytest.raises(TimeoutError, match="job 7 has not ended within 1 s; it goes on all the same"):
        look_until_ended(JobId(7), thread.look, timeout_s=1, clock=clock, sleep=thread.sleep)

    assert sum(thread.slept_s) == pytest.approx(1)
    assert thread.looks == len(thread.slept_s) + 1


def test_a_job_that_has_ended_costs_a_thread_one_look(clock: FakeClock) -> None:
    thread = Thread(clock, ends_at_look=1)

    look_until_ended(JobId(7), thread.look, timeout_s=0, clock=clock, sleep=thread.sleep)

    assert (thread.looks, thread.slept_s) == (1, [])
