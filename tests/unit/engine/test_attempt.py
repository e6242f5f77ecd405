"""The attempt: whatever the handler does, it leaves as an outcome, and the slot is as good as new."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import pytest
from tests.unit.engine.jobs import NoReports, running

from gotaskq.engine.attempt import SUCCEEDED, begin_attempt
from gotaskq.engine.slot import Slot
from gotaskq.failure import describe, traceback_of
from gotaskq.job import Job
from gotaskq.outcome import Cancelled, Failed, Interrupted, Outcome, Succeeded

JOB = running()
T = TypeVar("T")


class OwnError(BaseException):
    """Not an Exception, and yet only the handler's own affair."""


@pytest.fixture
async def slot() -> AsyncIterator[Slot]:
    slot = Slot(NoReports())
    yield slot
    if slot.task is not None and not slot.task.done():
        slot.task.cancel()
        await asyncio.wait([slot.task])


def begin(slot: Slot, call: Callable[[Job], Awaitable[object]]) -> "asyncio.Task[Outcome]":
    """Run an attempt in the slot's own task, and then show that the task can wait again."""

    async def attempt() -> Outcome:
        begun = begin_attempt(call, JOB, slot)
        outcome = begun if isinstance(begun, Succeeded) else await begun
        await asyncio.sleep(0)
        return outcome

    task = asyncio.create_task(attempt())
    slot.task = task  # type: ignore[assignment]  # a worker's slots return nothing; this one tells the outcome
    return task


async def hang(job: Job) -> None:
    await asyncio.Event().wait()


async def test_a_handler_that_returns_has_succeeded(slot: Slot) -> None:
    seen: list[Job | None] = []

    async def look(job: Job) -> None:
        seen.append(slot.job)

    outcome = await begin(slot, look)

    assert outcome == Succeeded()
    assert seen == [JOB]
    assert slot.job is None


@pytest.mark.parametrize("error", [ValueError("no luck"), SystemExit(3), OwnError("odd"), asyncio.CancelledError("x")])
async def test_a_handler_that_raises_has_failed(slot: Slot, error: BaseException) -> None:
    async def fail(job: Job) -> None:
        raise error

    outcome = await begin(slot, fail)

    assert outcome == Failed(describe(error), error, traceback_of(error))
    assert slot.job is None


async def test_a_call_that_raises_before_it_is_awaited_has_failed(slot: Slot) -> None:
    def refuse(job: Job) -> Awaitable[object]:
        raise TypeError("not like this")

    outcome = await begin(slot, refuse)

    assert isinstance(outcome, Failed)
    assert outcome.error == "TypeError: not like this"


@pytest.mark.parametrize("reason", [Interrupted(), Cancelled()])
async def test_a_stopped_attempt_ends_with_the_reason(slot: Slot, reason: Interrupted | Cancelled) -> None:
    attempt = begin(slot, hang)
    await asyncio.sleep(0)

    slot.stop(reason)
    outcome = await attempt

    assert outcome == reason
    assert attempt.cancelling() == 0
    assert (slot.job, slot.stopped_by) == (None, None)


async def test_a_second_stop_changes_nothing(slot: Slot) -> None:
    attempt = begin(slot, hang)
    await asyncio.sleep(0)

    slot.stop(Cancelled())
    slot.stop(Interrupted())

    assert await attempt == Cancelled()
    assert attempt.cancelling() == 0


async def test_a_stopped_handler_that_finishes_all_the_same_has_succeeded(slot: Slot) -> None:
    async def finish(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return

    attempt = begin(slot, finish)
    await asyncio.sleep(0)

    slot.stop(Interrupted())

    assert await attempt == Succeeded()
    assert attempt.cancelling() == 0


async def test_a_stopped_handler_that_fails_in_its_clean_up_was_stopped(slot: Slot) -> None:
    async def fumble(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("the clean-up failed")

    attempt = begin(slot, fumble)
    await asyncio.sleep(0)

    slot.stop(Interrupted())

    assert await attempt == Interrupted()


async def test_a_stop_that_the_handler_never_sees_does_not_hit_the_next_attempt(slot: Slot) -> None:
    async def stop_itself(job: Job) -> None:
        slot.stop(Cancelled())

    outcome = await begin(slot, stop_itself)

    assert outcome == Succeeded()


async def test_a_handler_that_cancels_its_own_task_has_failed(slot: Slot) -> None:
    async def cancel_itself(job: Job) -> None:
        assert slot.task is not None
        slot.task.cancel()
        slot.task.cancel()
        await asyncio.sleep(0)

    attempt = begin(slot, cancel_itself)

    assert isinstance(await attempt, Failed)
    assert attempt.cancelling() == 0


async def test_a_slot_that_is_closed_ends_with_its_attempt(slot: Slot) -> None:
    attempt = begin(slot, hang)
    await asyncio.sleep(0)

    slot.close()
    await asyncio.wait([attempt])

    assert attempt.cancelled()
    assert slot.job is None


async def test_an_idle_slot_cannot_be_stopped(slot: Slot) -> None:
    slot.task = asyncio.create_task(asyncio.sleep(0))

    slot.stop(Interrupted())
    await slot.task

    assert slot.stopped_by is None


async def test_a_handler_that_does_not_wait_leaves_nothing_to_wait_for(slot: Slot) -> None:
    async def answer(job: Job) -> None:
        pass

    assert begin_attempt(answer, JOB, slot) is SUCCEEDED
    assert slot.job is None
