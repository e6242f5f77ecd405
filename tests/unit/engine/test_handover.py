"""The handover: jobs reach slots first come first served, and no more are fetched than will soon start."""

import asyncio
from collections.abc import Callable

import pytest
from tests.unit.engine.jobs import running

from gotaskq.engine.handover import HORIZON_S, MAX_AHEAD, Handover
from gotaskq.job import Job, JobId
from gotaskq.testing.clock import FakeClock


def jobs(count: int) -> list[Job]:
    return [running(id=JobId(number)) for number in range(1, count + 1)]


def run(handover: Handover, count: int) -> None:
    """Run waiting jobs, each in no time."""
    for _ in range(count):
        assert handover.take_now() is not None
        handover.ended(0.0)


async def room_at_once(handover: Handover) -> int:
    """Return the room there is, or 0 when the fetcher would have to wait for any."""
    asking = asyncio.create_task(handover.room())
    await asyncio.sleep(0)
    if asking.done():
        return asking.result()
    asking.cancel()
    await asyncio.wait([asking])
    return 0


async def test_jobs_are_taken_in_the_order_they_were_put() -> None:
    handover = Handover(3)
    first, second, third = jobs(3)
    handover.put([first, second])
    handover.put([third])

    taken = [handover.take_now(), await handover.take(), handover.take_now(), handover.take_now()]

    assert taken == [first, second, third, None]
    assert handover.running == 3


async def test_slots_that_wait_are_served_in_the_order_they_came() -> None:
    handover = Handover(2)
    slots = [asyncio.create_task(handover.take()) for _ in range(2)]
    await asyncio.sleep(0)
    first, second = jobs(2)

    handover.put([first])
    handover.put([second])

    assert [await slot for slot in slots] == [first, second]


async def test_a_slot_that_gave_up_waiting_takes_nothing_from_the_next() -> None:
    handover = Handover(2)
    gone, waiting = (asyncio.create_task(handover.take()) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    [job] = jobs(1)

    handover.put([job])

    assert await waiting == job
    assert gone.cancelled()


async def test_room_is_the_free_slots_less_what_waits_for_them() -> None:
    handover = Handover(4)
    handover.put(jobs(2))
    handover.take_now()

    room = await handover.room()

    assert room == 2


async def test_the_fetcher_waits_until_a_slot_asks_again(clock: FakeClock) -> None:
    handover = Handover(1)
    handover.put(jobs(1))
    handover.take_now()
    fetcher = asyncio.create_task(handover.room())
    await clock.settle()
    was_waiting = not fetcher.done()

    handover.ended(60.0)
    slot = asyncio.create_task(handover.take())

    assert was_waiting
    assert await fetcher == 1
    slot.cancel()
    await asyncio.wait([slot])


async def test_the_fetcher_hears_when_half_of_what_it_brought_is_taken(clock: FakeClock) -> None:
    handover = Handover(1)
    handover.put(jobs(1))
    run(handover, 1)
    handover.put(jobs(1 + MAX_AHEAD))
    fetcher = asyncio.create_task(handover.room())
    await clock.settle()

    run(handover, 1 + MAX_AHEAD // 2)
    await clock.settle()
    was_waiting = not fetcher.done()
    run(handover, 1)

    assert was_waiting
    assert await fetcher == 2 + MAX_AHEAD // 2


async def test_before_any_duration_is_known_nothing_is_fetched_ahead() -> None:
    handover = Handover(10)

    assert await handover.room() == 10


@pytest.mark.parametrize(
    ("duration_s", "ahead"), [(0.0, MAX_AHEAD), (0.001, 500), (0.05, 10), (0.5, 1), (1.0, 0), (3600.0, 0)]
)
async def test_as_much_is_fetched_ahead_as_starts_within_the_horizon(duration_s: float, ahead: int) -> None:
    handover = Handover(10)
    handover.put(jobs(1))
    handover.take_now()

    handover.ended(duration_s)

    assert await handover.room() == 10 + ahead
    assert ahead <= max(HORIZON_S * 10 / max(duration_s, 1e-9), 0)


async def test_one_long_job_ends_the_fetching_ahead() -> None:
    handover = Handover(1)
    handover.put(jobs(3))
    for duration_s in (0.001, 0.001, 60.0):
        handover.take_now()
        handover.ended(duration_s)

    assert await handover.room() == 1


async def test_what_is_cleared_is_not_fetched_ahead_again_at_once() -> None:
    handover = Handover(2)
    handover.put(jobs(1))
    handover.take_now()
    handover.ended(0.0)
    waiting = jobs(5)
    handover.put(waiting)

    cleared = handover.clear()

    assert cleared == waiting
    assert handover.waiting() == []
    assert handover.take_now() is None
    assert await handover.room() == 2


async def test_it_is_idle_once_every_attempt_has_ended(clock: FakeClock) -> None:
    handover = Handover(2)
    handover.put(jobs(2))
    handover.take_now()
    handover.take_now()
    idle = asyncio.create_task(handover.idle())
    done: Callable[[], bool] = idle.done
    await clock.settle()
    seen = [done()]

    for _ in range(2):
        handover.ended(0.1)
        await clock.settle()
        seen.append(done())

    assert seen == [False, False, True]


async def test_it_is_idle_from_the_start() -> None:
    await Handover(1).idle()


async def test_a_full_handover_asks_for_nothing() -> None:
    handover = Handover(2)
    handover.put(jobs(2))

    assert await room_at_once(handover) == 0
