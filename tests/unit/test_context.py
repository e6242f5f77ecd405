"""The context: what a handler says is checked at once, and code outside of an attempt finds none."""

import asyncio
import logging
import threading

import pytest
from tests.unit.engine.jobs import NoReports, running
from tests.unit.engine.slots import slot_with

from gotaskq.context import RUNNING_JOB, SEAT, Context, current_context
from gotaskq.errors import NoAttemptError
from gotaskq.trail import MAX_NOTE_BYTES, MAX_STATE_BYTES

JOB = running(attempt=3)


@pytest.fixture
def reports() -> NoReports:
    return NoReports()


@pytest.fixture
def context(reports: NoReports) -> Context:
    return Context(JOB, reports)


def test_it_tells_the_job_and_the_attempt(context: Context) -> None:
    assert (context.job, context.attempt) == (JOB, 3)


def test_its_logger_says_which_job_it_is(context: Context, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        context.log.info("sold out")

    [record] = caplog.records
    assert (record.name, record.getMessage()) == ("gotaskq.handler", "sold out")
    said = vars(record)
    assert (said["job_id"], said["type"], said["queue"], said["attempt"]) == ("7", "email", "default", 3)


# ---- what handlers say


@pytest.mark.parametrize("fraction", [0, 0.0, 0.25, 1, 1.0, True])
def test_progress_from_0_to_1_is_reported(context: Context, reports: NoReports, fraction: float) -> None:
    context.progress(fraction, "so far")

    assert reports.heard == [(JOB, float(fraction), "so far")]


@pytest.mark.parametrize("fraction", [-0.01, 1.01, float("nan"), float("inf"), 50])
def test_progress_outside_of_that_is_refused(context: Context, reports: NoReports, fraction: float) -> None:
    with pytest.raises(ValueError, match="it must be from 0 to 1"):
        context.progress(fraction)

    assert reports.heard == []


@pytest.mark.parametrize(
    ("note", "reported"),
    [
        ("y" * MAX_NOTE_BYTES, "y" * MAX_NOTE_BYTES),
        ("y" * (MAX_NOTE_BYTES + 1), "y" * MAX_NOTE_BYTES),
        ("ä" * 300, "ä" * (MAX_NOTE_BYTES // 2)),
        ("half \ud800 of it", "half ? of it"),  # no store could write it down
    ],
)
def test_a_note_is_cut_to_what_is_kept(context: Context, reports: NoReports, note: str, reported: str) -> None:
    context.progress(0.5, note)

    assert reports.heard == [(JOB, 0.5, reported)]


@pytest.mark.parametrize(
    ("state", "state_json"), [({"page": 4}, b'{"page":4}'), (None, b"null"), ([1, "ä"], '[1,"ä"]')]
)
def test_a_checkpoint_is_reported_as_json(
    context: Context, reports: NoReports, state: object, state_json: bytes | str
) -> None:
    context.checkpoint(state)

    assert reports.heard == [(JOB, state_json.encode() if isinstance(state_json, str) else state_json)]


def test_a_checkpoint_is_what_the_state_was_when_it_was_left(context: Context, reports: NoReports) -> None:
    state = {"page": 4}
    context.checkpoint(state)
    state["page"] = 5

    assert reports.heard == [(JOB, b'{"page":4}')]


@pytest.mark.parametrize(
    ("state", "text"),
    [
        (object(), "the checkpoint cannot be kept"),
        ("\ud800", "the checkpoint cannot be kept"),
        ("y" * (MAX_STATE_BYTES - 1), "65537 bytes as JSON; at most 65536 are kept: store it elsewhere"),
    ],
)
def test_a_checkpoint_that_cannot_be_kept_is_refused(
    context: Context, reports: NoReports, state: object, text: str
) -> None:
    with pytest.raises(ValueError, match=text):
        context.checkpoint(state)

    assert reports.heard == []


def test_a_checkpoint_may_have_64_kib(context: Context, reports: NoReports) -> None:
    context.checkpoint("y" * (MAX_STATE_BYTES - 2))

    assert len(reports.heard) == 1


def test_more_time_is_asked_for(context: Context, reports: NoReports) -> None:
    context.extend(60)

    assert reports.heard == [(JOB, 60.0)]


@pytest.mark.parametrize("timeout_s", [0, -1, float("nan"), float("inf")])
def test_more_time_than_there_is_is_refused(context: Context, reports: NoReports, timeout_s: float) -> None:
    with pytest.raises(ValueError, match="it must be more than 0 seconds"):
        context.extend(timeout_s)

    assert reports.heard == []


# ---- what handlers are told


def test_a_handler_that_looks_is_told_and_has_seen_it(context: Context) -> None:
    before = (context.is_cancelled, context.has_seen_cancel)

    context.ask_to_end()
    has_seen_before_looking = context.has_seen_cancel

    assert before == (False, False)
    assert not has_seen_before_looking
    assert context.is_cancelled
    assert context.has_seen_cancel


def test_a_handler_that_waits_is_woken(context: Context) -> None:
    asking = threading.Thread(target=context.ask_to_end)
    asking.start()

    was_told = context.wait_for_cancel(30)
    asking.join()

    assert was_told
    assert context.has_seen_cancel


def test_a_handler_that_waited_in_vain_has_seen_nothing(context: Context) -> None:
    assert not context.wait_for_cancel(0)
    assert not context.has_seen_cancel


# ---- where it is found


def test_outside_of_an_attempt_there_is_none() -> None:
    with pytest.raises(NoAttemptError, match="call current_context\\(\\) from a handler"):
        current_context()


async def test_tasks_and_threads_of_an_attempt_find_it_until_its_end() -> None:
    slot = slot_with(JOB)
    is_over = asyncio.Event()

    async def look_afterwards() -> None:
        await is_over.wait()
        current_context()

    async def attempt() -> tuple[list[Context], "asyncio.Task[None]"]:
        SEAT.set(slot)
        RUNNING_JOB.set(JOB)
        found = [current_context(), await asyncio.to_thread(current_context)]
        return found, asyncio.create_task(look_afterwards())

    found, left_behind = await asyncio.create_task(attempt())
    slot.end_attempt()
    slot.job = running(attempt=4)
    is_over.set()

    assert found[0] is found[1]
    with pytest.raises(NoAttemptError):
        await left_behind
