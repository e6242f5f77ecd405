"""How an attempt ended (Outcome), and what becomes of the job (Settlement).

The attempt makes outcomes, the decision turns each into exactly one settlement, a backend carries settlements out.
Both unions are closed: a `match` over them ends in `assert_never`.
"""

from typing import TypeAlias, assert_never

import msgspec

from gotaskq import job as transition
from gotaskq.job import DeathReason, Job, Lease


class Succeeded(msgspec.Struct, frozen=True, gc=False):
    """The handler returned; `result_json` is what, at most 64 KiB, or None."""

    result_json: bytes | None = None


class Failed(msgspec.Struct, frozen=True):
    """The handler raised; `error` is `TypeName: message`, at most 1 KiB, in one printable line; the traceback 4 KiB."""

    error: str
    exception: BaseException
    traceback: str = ""


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The handler said that this job must not be tried again."""

    reason: DeathReason
    error: str


class Snoozed(msgspec.Struct, frozen=True, gc=False):
    """The handler asked to be called again in `delay_ms`; this attempt does not count."""

    delay_ms: int


class Interrupted(msgspec.Struct, frozen=True, gc=False):
    """We stopped the attempt; it did not fail and does not count."""


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    """Somebody asked for the job's end, and the handler has ended."""


class Expired(msgspec.Struct, frozen=True, gc=False):
    """The job came too late to be started."""


class Unhandled(msgspec.Struct, frozen=True, gc=False):
    """This process has no handler for the job's type; another may have one."""


Outcome: TypeAlias = Succeeded | Failed | Refused | Snoozed | Interrupted | Cancelled | Expired | Unhandled


class Complete(msgspec.Struct, frozen=True, gc=False):
    """RUNNING → DONE, with what the handler returned, as JSON."""

    lease: Lease
    result_json: bytes | None = None


class Reschedule(msgspec.Struct, frozen=True, gc=False):
    """RUNNING → PENDING after a failure, due again in `delay_ms`; one retry is spent."""

    lease: Lease
    delay_ms: int
    error: str
    traceback: str = ""


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """RUNNING → DEAD."""

    lease: Lease
    reason: DeathReason
    error: str
    traceback: str = ""


class Release(msgspec.Struct, frozen=True, gc=False):
    """RUNNING → PENDING without a failure.

    `is_unhandled`: nobody here has a handler for its type; `is_snoozed`: its handler asked for it.
    """

    lease: Lease
    delay_ms: int = 0
    is_unhandled: bool = False
    is_snoozed: bool = False


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """RUNNING → CANCELLED, as somebody asked; where nobody did, a store refuses it as LOST."""

    lease: Lease


Settlement: TypeAlias = Complete | Reschedule | DeadLetter | Release | Cancel


def carry_out(settlement: Settlement, job: Job, *, now_ms: int) -> Job:
    """Return the job as a settlement leaves it; the wish for a job's end wins over running it again."""
    match settlement:
        case Complete(result_json=result_json):
            return transition.complete(job, result_json=result_json, now_ms=now_ms)
        case DeadLetter(reason=reason, error=error, traceback=traceback):
            return transition.dead_letter(job, reason=reason, error=error, traceback=traceback, now_ms=now_ms)
        case Cancel():
            return transition.cancel(job, now_ms=now_ms)
        case Reschedule() | Release() if job.is_cancel_requested:
            return transition.cancel(job, now_ms=now_ms)
        case Reschedule(delay_ms=delay_ms, error=error, traceback=traceback):
            return transition.reschedule(job, delay_ms=delay_ms, error=error, traceback=traceback, now_ms=now_ms)
        case Release(delay_ms=delay_ms, is_unhandled=unhandled):
            return transition.release(job, delay_ms=delay_ms, unhandled=unhandled, now_ms=now_ms)
        case never:
            assert_never(never)
