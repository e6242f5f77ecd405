"""What a caller wants changed of a waiting job, checked as at enqueue.

Used by `TaskQ.amend`. Pure: the job as it was when somebody looked goes in, only its type and age matter, and those
never change; whether it still waits is for the store to say.
"""

from collections.abc import Callable
from datetime import datetime
from typing import TypedDict

from msgspec import Raw

from gotaskq.amendment import Amendment
from gotaskq.engine.limits import MAX_DELAY_S, checked_priority, checked_retries, delay_ms, timeouts
from gotaskq.errors import InvalidRequestError
from gotaskq.instants import instant_ms_of
from gotaskq.job import Job
from gotaskq.keywords import refuse_unknown
from gotaskq.payload import check_payload, encode_payload
from gotaskq.policies.ordering import Ordering

CHANGEABLE = "priority, delay or run_after, max_retries, timeout, schedule_timeout, payload"


class AmendOptions(TypedDict, total=False):
    """What changes of a job; what is left out stays."""

    priority: int
    delay: float  # seconds from now until it may run
    run_after: datetime  # the same as an instant; one that is past is now
    max_retries: int
    timeout: float | None  # seconds an attempt may take; None takes the limit away
    schedule_timeout: float | None  # seconds it may wait once it is due; None takes the limit away
    payload: object  # what JSON can hold, or a msgspec.Raw of JSON


def amendment_of(
    options: AmendOptions,
    job: Job,
    *,
    ordering: Ordering,
    check: Callable[[bytes], None] | None,
    now_ms: int,
) -> Amendment:
    """Return the change; `check` is that of the job's type.

    Raises InvalidRequestError, InvalidPayloadError, or TypeError for an option that is none.
    """
    refuse_unknown(options, AmendOptions)
    if not options:
        raise InvalidRequestError(f"nothing to change; name one of {CHANGEABLE}")
    if "delay" in options and "run_after" in options:
        raise InvalidRequestError("delay and run_after exclude each other; name one of them", field="run_after")
    payload_json = _payload_json(options["payload"]) if "payload" in options else None
    if payload_json is not None and check is not None:
        check(payload_json)
    priority = checked_priority(options["priority"]) if "priority" in options else None
    return Amendment(
        delay_ms=_delay_ms(options, now_ms),
        priority=priority,
        rank=None if priority is None else ordering.rank(priority=priority, created_at_ms=job.created_at_ms),
        max_retries=checked_retries(options["max_retries"]) if "max_retries" in options else None,
        execution_ms=timeouts(options["timeout"], None).execution_ms if "timeout" in options else None,
        schedule_ms=timeouts(None, options["schedule_timeout"]).schedule_ms if "schedule_timeout" in options else None,
        payload_json=payload_json,
    )


def _payload_json(payload: object) -> bytes:
    if not isinstance(payload, Raw):
        return encode_payload(payload)
    payload_json = bytes(payload)  # a body's, to the byte
    check_payload(payload_json)
    return payload_json


def _delay_ms(options: AmendOptions, now_ms: int) -> int | None:
    if "run_after" in options:
        wait_ms = max(instant_ms_of(options["run_after"], field="run_after") - now_ms, 0)
        if wait_ms > MAX_DELAY_S * 1000:
            raise InvalidRequestError(f"run_after must be within {MAX_DELAY_S} seconds from now", field="run_after")
        return wait_ms
    return delay_ms(options["delay"]) if "delay" in options else None
