"""The attempt: whatever the handler does, it leaves as an outcome, and the slot is as good as new."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.engine.slots import JOB, begin, hang

from gotaskq.context import current_context
from gotaskq.engine.attempt import begin_attempt
from gotaskq.engine.slot import Slot
from gotaskq.errors import JobTimeoutError
from gotaskq.failure import describe, traceback_of
from gotaskq.job import Job
from gotaskq.outcome import Cancelled, Failed, Interrupted, Succeeded


class OwnError(BaseException):
    """Not an Exception, and yet only the handler's own affair."""


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

    assert begin_attempt(answer, JOB, slot) is None
    assert slot.job is None


# ---- stopped attempts that see it


def heeding(result: object) -> Callable[[Job], Awaitable[object]]:
    """Return a handler that looks whether it is to end, and then returns this."""

    async def handler(job: Job) -> object:
        context = current_context()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()
        assert context.is_cancelled
        return result

    return handler


@pytest.mark.parametrize("reason", [Interrupted(), Cancelled(), Failed("E: e", ValueError())])
async def test_one_that_was_told_and_returns_nothing_has_stopped(
    slot: Slot, reason: Interrupted | Cancelled | Failed
) -> None:
    attempt = begin(slot, heeding(None))
    await asyncio.sleep(0)
    slot.stop(reason)

    assert await attempt is reason


async def test_one_that_was_told_and_returns_something_has_finished(slot: Slot) -> None:
    attempt = begin(slot, heeding(7))
    await asyncio.sleep(0)
    slot.stop(Cancelled())

    assert await attempt == Succeeded(b"7")


async def test_one_that_took_too_long_is_told_with_where_it_was(slot: Slot) -> None:
    timeout = JobTimeoutError(30)
    attempt = begin(slot, hang)
    await asyncio.sleep(0)

    slot.stop(Failed(describe(timeout), timeout))
    outcome = await attempt

    assert isinstance(outcome, Failed)
    assert (outcome.error, outcome.exception) == ("JobTimeoutError: ran longer than 30 s", timeout)
    assert "in hang\n    await asyncio.Event().wait()" in outcome.traceback
    assert "gotaskq/engine" not in outcome.traceback


async def test_what_a_handler_waited_for_keeps_its_own_traceback(slot: Slot) -> None:
    async def divide() -> float:
        return 1 / 0

    async def wait_for_it(job: Job) -> None:
        await asyncio.create_task(divide())

    outcome = await begin(slot, wait_for_it)

    assert isinstance(outcome, Failed)
    assert outcome.error == "ZeroDivisionError: division by zero"
    assert [line.split(", in ")[1] for line in outcome.traceback.splitlines() if ", in " in line] == [
        "wait_for_it",
        "divide",
    ]


async def test_one_that_fails_in_its_clean_up_after_its_time_is_told_with_that(slot: Slot) -> None:
    async def fumble(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("the clean-up failed")

    timeout = JobTimeoutError(30)
    attempt = begin(slot, fumble)
    await asyncio.sleep(0)
    slot.stop(Failed(describe(timeout), timeout))
    outcome = await attempt

    assert isinstance(outcome, Failed)
    assert outcome.error == "JobTimeoutError: ran longer than 30 s"
    assert outcome.traceback.endswith("ValueError: the clean-up failed\n")


@pytest.mark.parametrize("presses", [2, 3])
async def test_however_often_an_attempt_is_pressed_the_next_one_is_not_hit(slot: Slot, presses: int) -> None:
    attempt = begin(slot, hang)
    await asyncio.sleep(0)

    slot.stop(Cancelled())
    for _ in range(presses - 1):
        slot.press()

    assert await attempt == Cancelled()
    assert attempt.cancelling() == 0


async def test_one_pressed_while_it_cleans_up_ends_there(slot: Slot) -> None:
    cleaning = asyncio.Event()

    async def clean_up(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cleaning.set()
            await asyncio.Event().wait()

    attempt = begin(slot, clean_up)
    await asyncio.sleep(0)
    slot.stop(Cancelled())
    await cleaning.wait()
    slot.press()

    assert await attempt == Cancelled()
    assert attempt.cancelling() == 0
