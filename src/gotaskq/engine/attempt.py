"""One attempt: run the handler with its middleware, and say how it ended.

Called by a slot. Whatever the handler does, it leaves here as an Outcome; only the cancellation of the worker itself
passes.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Coroutine
from typing import Final

from gotaskq.engine.context import begin_in_own_context
from gotaskq.engine.middleware import CallNext
from gotaskq.engine.slot import Slot
from gotaskq.errors import RemoteError
from gotaskq.job import Job
from gotaskq.outcome import Failed, Outcome, Succeeded

MAX_ERROR_BYTES: Final = 1_024
SUCCEEDED: Final = Succeeded()

_CONTROL_CHARACTERS: Final = dict.fromkeys((*range(32), 127, *range(128, 160), 8232, 8233), " ")


def begin_attempt(call: CallNext, job: Job, slot: Slot) -> Coroutine[None, None, Outcome] | None:
    """Run one attempt in this slot up to where its handler first waits.

    None: the handler has returned, and the attempt has succeeded. Else await what is returned for its outcome, at once.
    """
    slot.job = job
    rest: Awaitable[None] | None
    try:
        rest = begin_in_own_context(call, job)
    except BaseException as error:  # noqa: BLE001 - what the handler raised, `_end` makes an outcome of
        rest = _raise(error)
    if rest is None and not slot.is_stopping:
        slot.job = None
        return None
    return _end(slot, rest)


async def _raise(error: BaseException) -> None:
    raise error


async def _end(slot: Slot, rest: Awaitable[None] | None) -> Outcome:
    outcome: Outcome = SUCCEEDED
    try:
        if rest is not None:
            await rest
    except asyncio.CancelledError as error:
        outcome = _stopped(slot, error)
    except (KeyboardInterrupt, GeneratorExit):
        raise  # the interpreter's own
    except BaseException as error:  # noqa: BLE001 - a handler may raise what it likes: it becomes a Failed
        outcome = slot.stopped_by or Failed(describe(error), error)
    finally:
        slot.job = None
    if slot.is_stopping:
        await _clear_stop(slot)
    return outcome


def describe(error: BaseException) -> str:
    """Return `TypeName: message`, in one printable line of at most 1 KiB."""
    try:
        message = str(error)
    except Exception:  # noqa: BLE001 - an exception that cannot even be shown is still a failure
        message = "<its message cannot be shown>"
    name = error.type_name if isinstance(error, RemoteError) else type(error).__name__
    text = f"{name}: {message}" if message else name
    text = text[:MAX_ERROR_BYTES].translate(_CONTROL_CHARACTERS)
    return text.encode("utf-8", "replace")[:MAX_ERROR_BYTES].decode("utf-8", "ignore")


def _stopped(slot: Slot, error: asyncio.CancelledError) -> Outcome:
    if slot.is_closing:
        raise error  # not the attempt but the slot is being cancelled
    # Without a stop, the handler cancelled its own task or let some other task's cancellation escape.
    return slot.stopped_by or Failed(describe(error), error)


async def _clear_stop(slot: Slot) -> None:
    """Take back the cancellation, so that it cannot hit the slot's next attempt."""
    slot.stopped_by = None
    if slot.is_closing:
        return
    while slot.task is not None and slot.task.cancelling():
        slot.task.uncancel()
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)  # where the handler never saw it, it is delivered here (before Python 3.13)
