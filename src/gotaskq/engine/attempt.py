"""One attempt: run the handler with its middleware, and say how it ended.

Called by a slot. Whatever the handler does, it leaves here as an Outcome; only the cancellation of the worker itself
passes.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Coroutine
from typing import Final, TypeAlias

import msgspec
from msgspec.structs import replace

from gotaskq.control import Cancel, Control, Discard, Retry, Snooze
from gotaskq.engine.middleware import CallNext
from gotaskq.engine.own_context import Rest, begin_in_own_context
from gotaskq.engine.slot import Slot
from gotaskq.failure import describe, one_line, traceback_of
from gotaskq.job import RECORD_VERSION, DeathReason, Job
from gotaskq.outcome import Expired, Failed, Outcome, Refused, Snoozed, Succeeded, Unhandled
from gotaskq.trail import MAX_STATE_BYTES

SUCCEEDED: Final = Succeeded()
EXPIRED: Final = Expired()
UNHANDLED: Final = Unhandled()

Going: TypeAlias = Coroutine[None, None, Outcome]

logger = logging.getLogger(__name__)


def begin_attempt(call: CallNext, job: Job, slot: Slot) -> Going | None:
    """Run one attempt in this slot up to where its handler first waits.

    None: it has succeeded without waiting or a result. Else await what is returned for its outcome, at once.
    """
    slot.job = job
    try:
        begun = begin_in_own_context(call, job)
    except BaseException as error:  # noqa: BLE001 - what the handler raised, `_end` makes an outcome of
        return _end(slot, job, _raise(error))
    if begun is None and not slot.end_attempt():  # nearly all that get here
        return None
    return _end(slot, job, begun if isinstance(begun, Rest) else _return(begun))


def refusal_of(job: Job) -> Outcome | None:
    """Return how an attempt ends before it begins, for a job of a newer version or one that came too late."""
    if job.timeouts.schedule_ms and (job.started_at_ms or 0) > (job.expires_at_ms or 0):
        return EXPIRED
    return UNHANDLED if job.version > RECORD_VERSION else None


async def _raise(error: BaseException) -> object:
    raise error


async def _return(result: object) -> object:
    return result


async def _end(slot: Slot, job: Job, rest: Awaitable[object]) -> Outcome:
    outcome: Outcome
    try:
        outcome = _returned(slot, job, await rest)
    except asyncio.CancelledError as error:
        outcome = _stopped(slot, error)
    except (KeyboardInterrupt, GeneratorExit):
        raise  # the interpreter's own
    except BaseException as error:  # noqa: BLE001 - a handler may raise what it likes: it becomes an outcome
        outcome = _raised(slot, error)
    finally:
        is_stopping = slot.end_attempt()
    if is_stopping:
        await _clear_stop(slot)
    return outcome


def _returned(slot: Slot, job: Job, result: object) -> Outcome:
    """Say how an attempt ended whose handler returned."""
    if result is None:
        # One that looked and was told to end has stopped; one that never looked has finished all the same.
        return slot.stopped_by if slot.stopped_by is not None and slot.has_heeded else SUCCEEDED
    if isinstance(result, Control):
        return _raised(slot, result)
    return Succeeded(_encode_result(job, result))


def _encode_result(job: Job, result: object) -> bytes | None:
    """Return the result as JSON; the work is done, so one that cannot be kept is only missed, and not a failure."""
    try:
        result_json = msgspec.json.encode(result)
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        reason = describe(error)
    else:
        if len(result_json) <= MAX_STATE_BYTES:
            return result_json
        reason = f"{len(result_json)} bytes as JSON; at most {MAX_STATE_BYTES} are kept"
    logger.warning("result_not_kept", extra={"job_id": str(job.id), "type": job.type, "reason": reason})
    return None


def _raised(slot: Slot, error: BaseException) -> Outcome:
    match error:
        case Snooze(delay_s=delay_s):
            return Snoozed(round(delay_s * 1000))
        case Cancel(reason=reason):
            return Refused(DeathReason.CANCELLED, one_line(f"Cancel: {reason}"))
        case Discard(reason=reason):
            return Refused(DeathReason.DISCARDED, one_line(f"Discard: {reason}"))
        case Retry(reason=reason):
            led_here = error.__cause__ or error.__context__
            return Failed(describe(error if reason or led_here is None else led_here), error, traceback_of(error))
        case _:
            return _told_why(slot, error) or Failed(describe(error), error, traceback_of(error))


def _stopped(slot: Slot, error: asyncio.CancelledError) -> Outcome:
    if slot.is_closing:
        raise error  # not the attempt but the slot is being cancelled
    # Without a stop, the handler cancelled its own task or let some other task's cancellation escape.
    return _told_why(slot, error) or Failed(describe(error), error, traceback_of(error))


def _told_why(slot: Slot, error: BaseException) -> Outcome | None:
    """Return what a stopped attempt was stopped by; of one that took too long with where that was."""
    stopped_by = slot.stopped_by
    return replace(stopped_by, traceback=traceback_of(error)) if isinstance(stopped_by, Failed) else stopped_by


async def _clear_stop(slot: Slot) -> None:
    """Take back the cancellation, so that it cannot hit the slot's next attempt."""
    slot.stopped_by = None
    if slot.is_closing:
        return
    while slot.task is not None and slot.task.cancelling():
        slot.task.uncancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # where the handler never saw it, it is delivered here (before Python 3.13)
