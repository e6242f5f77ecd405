"""How an attempt ended (Outcome), and what becomes of the job (Settlement).

The attempt makes outcomes, the decision turns each into exactly one settlement, a backend carries settlements out.
Both unions are closed: a `match` over them ends in `assert_never`.
"""

from typing import TypeAlias, assert_never

import msgspec

from gotaskq import job as transition
from gotaskq.job import DeathReason, Job, Lease


class Succeeded(msgspec.Struct, frozen=True, gc=False):
    """The handler returned."""


class Failed(msgspec.Struct, frozen=True):
    """The handler raised; `error` is `TypeName: message`, at most 1 KiB, in one printable line."""

    error: str
    exception: BaseException


class Interrupted(msgspec.Struct, frozen=True, gc=False):
    """We stopped the attempt; it did not fail and does not count."""


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    """Somebody asked for the job's end, and the handler has ended."""


class Unhandled(msgspec.Struct, frozen=True, gc=False):
    """This process has no handler for the job's type; another may have one."""


Outcome: TypeAlias = Succeeded | Failed | Interrupted | Cancelled | Unhandled


class Complete(msgspec.Struct, frozen=True, gc=False):
    """RUNNING → DONE."""

    lease: Lease


class Reschedule(msgspec.Struct, frozen=True, gc=False):
    """RUNNING → PENDING after a failure, due again in `delay_ms`; one retry is spent."""

    lease: Lease
    delay_ms: int
    error: str


class DeadLetter(msgspec.Struct, frozen=True, gc=False):
    """RUNNING → DEAD."""

    lease: Lease
    reason: DeathReason
    error: str


class Release(msgspec.Struct, frozen=True, gc=False):
    """RUNNING → PENDING without a failure; `is_unhandled`: nobody here has a handler for its type."""

    lease: Lease
    delay_ms: int = 0
    is_unhandled: bool = False


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """RUNNING → CANCELLED, as somebody asked; where nobody did, a store refuses it as LOST."""

    lease: Lease


Settlement: TypeAlias = Complete | Reschedule | DeadLetter | Release | Cancel


def carry_out(settlement: Settlement, job: Job, *, now_ms: int) -> Job:
    """Return the job as a settlement leaves it; the wish for a job's end wins over running it again."""
    match settlement:
        case Complete():
            return transition.complete(job, now_ms=now_ms)
        case DeadLetter(reason=reason, error=error):
            return transition.dead_letter(job, reason=reason, error=error, now_ms=now_ms)
        case Cancel():
            return transition.cancel(job, now_ms=now_ms)
        case Reschedule() | Release() if job.is_cancel_requested:
            return transition.cancel(job, now_ms=now_ms)
        case Reschedule(delay_ms=delay_ms, error=error):
            return transition.reschedule(job, delay_ms=delay_ms, error=error, now_ms=now_ms)
        case Release(delay_ms=delay_ms, is_unhandled=unhandled):
            return transition.release(job, delay_ms=delay_ms, unhandled=unhandled, now_ms=now_ms)
        case never:
            assert_never(never)
