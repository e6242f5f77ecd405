"""Settlements as the settle script takes them: kind, id, nonce, and two members that depend on the kind."""

from typing import TypeAlias, assert_never

from gotaskq.backends.redis.keys import member
from gotaskq.outcome import Cancel, Complete, DeadLetter, Release, Reschedule, Settlement

Arguments: TypeAlias = tuple[str, str, str, str | int, str]


def settlement_arguments(settlement: Settlement) -> Arguments:
    """Return the five arguments of a settlement."""
    lease = settlement.lease
    match settlement:
        case Complete():
            return "C", member(lease.job_id), lease.nonce, "", ""
        case Reschedule(delay_ms=delay_ms, error=error):
            return "R", member(lease.job_id), lease.nonce, delay_ms, error
        case DeadLetter(reason=reason, error=error):
            return "D", member(lease.job_id), lease.nonce, reason.value, error
        case Release(delay_ms=delay_ms, is_unhandled=is_unhandled):
            return "L", member(lease.job_id), lease.nonce, delay_ms, "1" if is_unhandled else ""
        case Cancel():
            return "X", member(lease.job_id), lease.nonce, "", ""
        case never:
            assert_never(never)
