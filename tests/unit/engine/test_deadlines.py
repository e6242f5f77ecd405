"""Deadlines: an attempt that runs for too long is stopped, one step harder each time, and no other is touched."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.unit.engine.jobs import running
from tests.unit.engine.slots import presses, slot_with

from gotaskq.engine.deadlines import LAST_GRACE_S, STOP_GRACE_S, Deadlines
from gotaskq.engine.slot import Slot
from gotaskq.errors import JobTimeoutError
from gotaskq.outcome import Cancelled, Failed, Interrupted
from gotaskq.testing.clock import FakeClock

JOB, OTHER, NEXT = running(), running(type="other"), running(attempt=2)


@pytest.fixture
def slots() -> list[Slot]:
    return [slot_with(JOB), slot_with(OTHER)]


@pytest.fixture
def given_up() -> list[Slot]:
    return []


@pytest.fixture
async def deadlines(slots: list[Slot], given_up: list[Slot], clock: FakeClock) -> AsyncIterator[Deadlines]:
    deadlines = Deadlines(slots, clock=clock, give_up=given_up.append)
    running = asyncio.create_task(deadlines.run())
    await clock.settle()
    yield deadlines
    running.cancel()
    await asyncio.wait([running])


async def test_a_handler_is_cancelled_at_its_timeout(deadlines: Deadlines, slots: list[Slot], clock: FakeClock) -> None:
    deadlines.begin(slots[0], timeout_s=30, now_s=0)

    await clock.advance(29.9)
    pressed_early = presses(slots[0])
    await clock.advance(0.1)

    assert pressed_early == 0
    assert presses(slots[0]) == 1
    assert isinstance(slots[0].stopped_by, Failed)
    assert slots[0].stopped_by.error == "JobTimeoutError: ran longer than 30 s"
    assert isinstance(slots[0].stopped_by.exception, JobTimeoutError)
    assert (presses(slots[1]), slots[1].stopped_by) == (0, None)


async def test_each_grace_is_followed_by_something_harder(
    deadlines: Deadlines, slots: list[Slot], given_up: list[Slot], clock: FakeClock
) -> None:
    deadlines.begin(slots[0], timeout_s=30, now_s=0)

    seen = []
    for step_s in (30, STOP_GRACE_S, LAST_GRACE_S, 3_600):
        await clock.advance(step_s)
        seen.append((presses(slots[0]), len(given_up)))

    assert seen == [(1, 0), (2, 0), (2, 1), (2, 1)]


async def test_the_sooner_deadline_counts_whichever_was_set_first(
    deadlines: Deadlines, slots: list[Slot], clock: FakeClock
) -> None:
    deadlines.begin(slots[0], timeout_s=60, now_s=0)
    await clock.advance(1)
    deadlines.begin(slots[1], timeout_s=10, now_s=1)

    await clock.advance(10)

    assert [presses(slot) for slot in slots] == [0, 1]


@pytest.mark.parametrize("ends_after_s", [10, 30, 34])
async def test_the_next_attempt_has_a_deadline_of_its_own(
    deadlines: Deadlines, slots: list[Slot], clock: FakeClock, ends_after_s: float
) -> None:
    [slot, _] = slots
    deadlines.begin(slot, timeout_s=30, now_s=0)
    await clock.advance(ends_after_s)
    slot.end_attempt()
    slot.stopped_by = None
    pressed_before = presses(slot)

    slot.job = NEXT
    deadlines.begin(slot, timeout_s=30, now_s=clock.monotonic_s())
    await clock.advance(29.9)
    pressed_early = presses(slot) - pressed_before
    await clock.advance(0.1)

    assert pressed_early == 0
    assert presses(slot) - pressed_before == 1


async def test_an_attempt_without_a_timeout_inherits_none(
    deadlines: Deadlines, slots: list[Slot], given_up: list[Slot], clock: FakeClock
) -> None:
    deadlines.begin(slots[0], timeout_s=30, now_s=0)
    await clock.advance(29)
    slots[0].end_attempt()
    slots[0].job = NEXT

    await clock.advance(3_600)

    assert (presses(slots[0]), given_up) == (0, [])


async def test_a_handler_may_take_more_time(deadlines: Deadlines, slots: list[Slot], clock: FakeClock) -> None:
    deadlines.begin(slots[0], timeout_s=30, now_s=0)
    await clock.advance(20)

    deadlines.extend(JOB, 60)
    await clock.advance(59.9)
    pressed_early = presses(slots[0])
    await clock.advance(0.1)

    assert pressed_early == 0
    assert presses(slots[0]) == 1


@pytest.mark.parametrize("asks_late", [True, False])
async def test_more_time_comes_too_late_for_one_that_was_told_to_stop_or_has_ended(
    deadlines: Deadlines, slots: list[Slot], clock: FakeClock, asks_late: bool
) -> None:
    deadlines.begin(slots[0], timeout_s=30, now_s=0)
    await clock.advance(30)
    if not asks_late:
        slots[0].end_attempt()
        slots[0].job = NEXT
    due_s = slots[0].act_at_s

    deadlines.extend(JOB, 3_600)

    assert slots[0].act_at_s == due_s


@pytest.mark.parametrize("reason", [Cancelled(), Interrupted()])
async def test_one_that_is_being_cancelled_keeps_its_grace_and_its_reason(
    deadlines: Deadlines, slots: list[Slot], given_up: list[Slot], clock: FakeClock, reason: Cancelled | Interrupted
) -> None:
    deadlines.begin(slots[0], timeout_s=30, now_s=0)
    await clock.advance(29)
    slots[0].stop(reason)

    seen = []
    for step_s in (1, STOP_GRACE_S, LAST_GRACE_S):
        await clock.advance(step_s)
        seen.append((presses(slots[0]), len(given_up)))

    assert seen == [(1, 0), (2, 0), (2, 1)]  # a second time at once would have its executor let go of it
    assert slots[0].stopped_by == reason


async def test_a_deadline_that_floats_put_a_hair_too_late_is_kept_all_the_same(
    deadlines: Deadlines, slots: list[Slot], clock: FakeClock
) -> None:
    await clock.advance(0.1)
    deadlines.begin(slots[0], timeout_s=0.2, now_s=clock.monotonic_s())  # 0.1 + 0.2 > 0.3

    await clock.advance(0.2)

    assert presses(slots[0]) == 1
