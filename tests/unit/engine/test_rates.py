"""Rates: how many jobs of a queue ended in a second, of late."""

import pytest
from tests.unit.engine.jobs import pending

from gotaskq.engine.bus import EventBus
from gotaskq.engine.rates import MAX_QUEUES, FinishRates
from gotaskq.events import JobCancelled, JobDied, JobDone
from gotaskq.job import DeathReason
from gotaskq.testing.clock import FakeClock


@pytest.fixture
def bus() -> EventBus:
    return EventBus()


@pytest.fixture
def rates(bus: EventBus, clock: FakeClock) -> FinishRates:
    return FinishRates(bus, clock)


def finish(bus: EventBus, count: int, queue: str = "default") -> None:
    bus.publish_batch([JobDone(pending(queue=queue), 0.1)] * count)


async def test_where_nothing_ended_there_is_no_rate(rates: FinishRates, clock: FakeClock) -> None:
    at_once = rates.per_second("default")
    await clock.advance(100)

    assert (at_once, rates.per_second("default")) == (0.0, 0.0)


async def test_every_end_counts_for_its_own_queue(bus: EventBus, rates: FinishRates, clock: FakeClock) -> None:
    await clock.advance(4)
    finish(bus, 2)
    finish(bus, 4, "mail")
    bus.publish(JobDied(pending(), DeathReason.NO_RETRY, "E: e", 0.1))
    bus.publish(JobCancelled(pending()))

    assert rates.per_second("default") == pytest.approx(1.0)
    assert rates.per_second("mail") == pytest.approx(1.0)


async def test_a_steady_rate_is_found_whenever_somebody_asks(
    bus: EventBus, rates: FinishRates, clock: FakeClock
) -> None:
    for second in range(1, 200):
        await clock.advance(1)
        finish(bus, 3)
        assert rates.per_second("default") == pytest.approx(3.0, rel=0.06), second


async def test_what_ended_more_than_a_minute_ago_is_forgotten(
    bus: EventBus, rates: FinishRates, clock: FakeClock
) -> None:
    finish(bus, 600)
    await clock.advance(54)
    still = rates.per_second("default")
    await clock.advance(6)

    assert still > 0
    assert rates.per_second("default") == 0.0


async def test_a_queue_that_just_began_is_as_fast_as_it_is(bus: EventBus, rates: FinishRates, clock: FakeClock) -> None:
    await clock.advance(1_000)
    for _ in range(10):
        await clock.advance(1)
        finish(bus, 5)

    assert rates.per_second("default") == pytest.approx(5.0)


async def test_a_few_ends_are_no_burst(bus: EventBus, rates: FinishRates, clock: FakeClock) -> None:
    await clock.advance(1_000)
    finish(bus, 1)
    await clock.advance(1)

    assert rates.per_second("default") < 1 / 55


async def test_memory_is_bounded(bus: EventBus, rates: FinishRates, clock: FakeClock) -> None:
    for number in range(MAX_QUEUES + 5):
        finish(bus, 1, f"q{number}")
    await clock.advance(1)

    assert rates.per_second("q0") == 1.0
    assert rates.per_second(f"q{MAX_QUEUES + 1}") == 0.0
