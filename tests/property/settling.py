"""Settlements by the name of their kind, and what the model makes of each."""

from tests.property.model import Model

from gotaskq.job import DeathReason, Lease
from gotaskq.outcome import Cancel, Complete, DeadLetter, Release, Reschedule, Settlement


def settlement_of(kind: str, lease: Lease, delay_ms: int) -> Settlement:
    match kind:
        case "cancel":
            return Cancel(lease)
        case "complete":
            return Complete(lease, b"%d" % delay_ms if delay_ms else None)
        case "reschedule":
            return Reschedule(lease, delay_ms, f"error {delay_ms}", "a\nb\n")
        case "expired":
            return DeadLetter(lease, DeathReason.EXPIRED, "too late")
        case "dead-letter":
            return DeadLetter(lease, DeathReason.NO_RETRY, f"error {delay_ms}")
        case _:
            return Release(lease, delay_ms, kind == "unhandled")


def settle_model(model: Model, settlement: Settlement, *, now_ms: int) -> str:
    """Let the model carry out what the holder of a lease decided, and return its reply."""
    job_id = settlement.lease.job_id
    match settlement:
        case Complete(result_json=result_json):
            return model.complete(job_id, result_json=result_json, now_ms=now_ms)
        case Cancel():
            return model.cancelled_by_holder(job_id, now_ms=now_ms)
        case Reschedule(delay_ms=delay_ms, error=error, traceback=traceback):
            return model.reschedule(job_id, delay_ms=delay_ms, error=error, traceback=traceback, now_ms=now_ms)
        case Release(delay_ms=delay_ms, is_unhandled=unhandled):
            return model.release(job_id, delay_ms=delay_ms, unhandled=unhandled, now_ms=now_ms)
        case DeadLetter(reason=reason, error=error, traceback=traceback):
            return model.dead_letter(job_id, reason=reason.value, error=error, traceback=traceback, now_ms=now_ms)
