"""Telling: what happens here is handed over while somebody watches, and what cannot be is a gap."""

from collections.abc import Callable, Sequence

import pytest

from gotaskq import TaskQ
from gotaskq.engine.bus import EventBus
from gotaskq.errors import BackendUnavailableError
from gotaskq.events import JobDone, JobEnqueued
from gotaskq.happening_log import KEPT, Entry
from gotaskq.job import Job
from gotaskq.telling import AWAY_PAUSE_S, BATCH, GAP, PAUSE_S, Telling
from gotaskq.testing.clock import FakeClock


class Log:
    """A log that says when it is watched, and may be away; it keeps what it is told, call by call."""

    def __init__(self) -> None:
        self.is_watched = False
        self.is_away = False
        self.calls: list[list[bytes]] = []
        self._hear: Callable[[], None] = lambda: None

    def hear_watched(self, hear: Callable[[], None]) -> None:
        self._hear = hear
        if self.is_watched:
            hear()

    async def watch(self) -> None:
        self.is_watched = True
        self._hear()

    async def tell(self, bodies: Sequence[bytes]) -> bool:
        if self.is_away:
            raise BackendUnavailableError
        self.calls.append([*bodies])
        return self.is_watched

    async def read(self, after: str | None, *, limit: int) -> list[Entry] | None:
        raise NotImplementedError

    async def wait_for_more(self, after: str, *, timeout_s: float) -> None:
        raise NotImplementedError


@pytest.fixture
def log() -> Log:
    return Log()


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
async def job() -> Job:
    async with TaskQ() as app:
        return await app.enqueue("email", {"secret": 1})


async def test_while_nobody_watches_nothing_is_even_listened_to(bus: EventBus, clock: FakeClock, log: Log) -> None:
    async with Telling(bus, clock).to(log):
        unwatched = JobDone in bus.observed
        await log.watch()

        assert (unwatched, JobDone in bus.observed) == (False, True)


async def test_what_happens_goes_out_at_once_and_then_together(
    bus: EventBus, clock: FakeClock, log: Log, job: Job
) -> None:
    async with Telling(bus, clock).to(log):
        await log.watch()
        bus.publish(JobEnqueued(job))
        await clock.settle()
        bus.publish(JobEnqueued(job))
        bus.publish(JobDone(job, 0.1))
        await clock.settle()
        early = [len(call) for call in log.calls]
        await clock.advance(PAUSE_S)

    assert (early, [len(call) for call in log.calls]) == ([1], [1, 2])
    assert b"secret" not in b"".join(log.calls[1])


async def test_a_call_that_failed_is_a_gap_once_the_store_is_back(
    bus: EventBus, clock: FakeClock, log: Log, job: Job
) -> None:
    async with Telling(bus, clock).to(log):
        await log.watch()
        log.is_away = True
        bus.publish(JobEnqueued(job))
        await clock.settle()
        log.is_away = False
        await clock.advance(AWAY_PAUSE_S)
        bus.publish(JobEnqueued(job))
        await clock.advance(PAUSE_S)

    assert [call[:1] == [GAP] for call in log.calls] == [True, False]


async def test_what_grows_while_the_store_is_away_is_dropped_as_a_gap(
    bus: EventBus, clock: FakeClock, log: Log, job: Job
) -> None:
    async with Telling(bus, clock).to(log):
        await log.watch()
        bus.publish_batch([JobEnqueued(job)] * KEPT)
        bus.publish(JobEnqueued(job))
        await clock.advance(1)

    assert [len(call) for call in log.calls] == [2]
    assert log.calls[0][0] == GAP


async def test_many_go_out_in_calls_that_are_bounded_without_a_pause(
    bus: EventBus, clock: FakeClock, log: Log, job: Job
) -> None:
    async with Telling(bus, clock).to(log):
        await log.watch()
        bus.publish_batch([JobEnqueued(job)] * (2 * BATCH + 1))
        await clock.settle()

        assert [len(call) for call in log.calls][:2] == [BATCH, BATCH]


async def test_what_is_left_at_the_end_is_handed_over(bus: EventBus, clock: FakeClock, log: Log, job: Job) -> None:
    async with Telling(bus, clock).to(log):
        await log.watch()
        bus.publish(JobDone(job, 0.1))

    assert [len(call) for call in log.calls] == [1]


async def test_once_nobody_watches_nothing_is_told_any_more(
    bus: EventBus, clock: FakeClock, log: Log, job: Job
) -> None:
    async with Telling(bus, clock).to(log):
        await log.watch()
        log.is_watched = False
        bus.publish(JobDone(job, 0.1))
        await clock.advance(1)

    assert log.calls == []


async def test_where_the_app_is_stood_in_for_nothing_is_told(
    bus: EventBus, clock: FakeClock, log: Log, job: Job
) -> None:
    telling = Telling(bus, clock)
    async with telling.to(log):
        await log.watch()
        async with telling.to(None):
            bus.publish(JobDone(job, 0.1))
        await clock.advance(1)

    assert log.calls == []
