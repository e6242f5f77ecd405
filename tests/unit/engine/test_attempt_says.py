"""What handlers return, and what they say they want of their jobs."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.engine.slots import begin

from gotaskq.control import Cancel, Control, Discard, Retry, Snooze
from gotaskq.engine.attempt import SUCCEEDED
from gotaskq.engine.slot import Slot
from gotaskq.job import DeathReason, Job
from gotaskq.outcome import Failed, Interrupted, Outcome, Refused, Snoozed, Succeeded
from gotaskq.trail import MAX_STATE_BYTES


def returning(result: object) -> Callable[[Job], Awaitable[object]]:
    """Return a handler that returns this."""

    async def handler(job: Job) -> object:
        return result

    return handler


async def waiting(job: Job) -> object:
    await asyncio.sleep(0)
    return [job.attempt, None]


@pytest.mark.parametrize(
    ("result", "result_json"),
    [
        (None, None),
        (False, b"false"),
        (0, b"0"),
        ({"size": 250}, b'{"size":250}'),
        ("y" * (MAX_STATE_BYTES - 2), b'"' + b"y" * (MAX_STATE_BYTES - 2) + b'"'),
    ],
)
async def test_what_a_handler_returns_is_its_result(slot: Slot, result: object, result_json: bytes | None) -> None:
    assert await begin(slot, returning(result)) == Succeeded(result_json)


async def test_a_result_may_come_after_a_wait(slot: Slot) -> None:
    assert await begin(slot, waiting) == Succeeded(b"[1,null]")


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (object(), "TypeError: Encoding objects of type object is unsupported"),
        ("\ud800", "UnicodeEncodeError: "),
        ({(1, 2): 3}, "TypeError: "),
        ("y" * (MAX_STATE_BYTES - 1), "65537 bytes as JSON; at most 65536 are kept"),
    ],
)
async def test_a_result_that_cannot_be_kept_is_missed_with_a_warning(
    slot: Slot, result: object, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    outcome = await begin(slot, returning(result))

    assert outcome == SUCCEEDED
    [record] = caplog.records
    assert (record.levelname, record.getMessage()) == ("WARNING", "result_not_kept")
    assert vars(record)["reason"].startswith(reason)


async def test_a_result_that_holds_itself_is_missed_too(slot: Slot, caplog: pytest.LogCaptureFixture) -> None:
    endless: list[object] = []
    endless.append(endless)

    assert await begin(slot, returning(endless)) == SUCCEEDED
    assert caplog.messages == ["result_not_kept"]


# ---- what handlers want of their job


WISHES = [
    (Snooze(30), Snoozed(30_000)),
    (Snooze(0.0015), Snoozed(2)),
    (Cancel("no\nneed"), Refused(DeathReason.CANCELLED, "Cancel: no need")),
    (Discard("no use"), Refused(DeathReason.DISCARDED, "Discard: no use")),
]


@pytest.mark.parametrize(("wish", "outcome"), WISHES)
async def test_a_handler_may_raise_what_it_wants(slot: Slot, wish: Control, outcome: Outcome) -> None:
    async def ask(job: Job) -> None:
        raise wish

    assert await begin(slot, ask) == outcome


@pytest.mark.parametrize(("wish", "outcome"), WISHES)
async def test_a_handler_may_return_what_it_wants(slot: Slot, wish: Control, outcome: Outcome) -> None:
    assert await begin(slot, returning(wish)) == outcome


async def test_a_retry_is_a_failure_that_says_when(slot: Slot) -> None:
    wish = Retry(5, "the shop is closed")

    outcome = await begin(slot, returning(wish))

    assert isinstance(outcome, Failed)
    assert (outcome.error, outcome.exception) == ("Retry: the shop is closed", wish)


@pytest.mark.parametrize("reason", ["", "try later"])
async def test_a_retry_without_a_reason_tells_the_error_that_led_there(slot: Slot, reason: str) -> None:
    async def ask(job: Job) -> None:
        try:
            int("page")
        except ValueError:
            raise Retry(5, reason)  # noqa: B904 - as users write it

    outcome = await begin(slot, ask)

    assert isinstance(outcome, Failed)
    assert outcome.error == (
        f"Retry: {reason}" if reason else "ValueError: invalid literal for int() with base 10: 'page'"
    )
    assert "ValueError: invalid literal for int() with base 10: 'page'" in outcome.traceback


async def test_what_a_stopped_handler_wants_counts(slot: Slot) -> None:
    async def ask(job: Job) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise Snooze(30) from None

    attempt = begin(slot, ask)
    await asyncio.sleep(0)
    slot.stop(Interrupted())

    assert await attempt == Snoozed(30_000)
    assert attempt.cancelling() == 0
