"""Which jobs a caller means: the filters of listings and of acts on many jobs, as Python has them.

Used by `TaskQ.list_jobs` and `TaskQ.bulk`; surfaces fill one in from what they were sent.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypedDict

from gotaskq.backend import JobQuery
from gotaskq.criteria import PayloadCriterion, payload_criterion
from gotaskq.instants import MILLISECOND, instant_ms_of
from gotaskq.job import Status
from gotaskq.keywords import refuse_unknown
from gotaskq.payload import encode_payload


class JobFilter(TypedDict, total=False):
    """Which jobs; what is left out or None admits all, and all that is named must hold at once."""

    status: Status | None
    queue: str | None
    job_type: str | None
    since: datetime | timedelta | None  # made then or later; a timedelta is so long ago
    until: datetime | timedelta | None  # made before then
    text: str | None  # in the type, the id or the error, whatever the case
    payload: Mapping[str, object] | Sequence[PayloadCriterion] | None  # dotted path → value: {"user.id": 7}


def query_of(filters: JobFilter, *, now_ms: int) -> JobQuery:
    """Return what a store is asked for; raises InvalidRequestError or TypeError that name the filter to blame."""
    refuse_unknown(filters, JobFilter)
    return JobQuery(
        status=filters.get("status"),
        queue=filters.get("queue"),
        type=filters.get("job_type"),
        since_ms=_instant_ms(filters.get("since"), "since", now_ms),
        until_ms=_instant_ms(filters.get("until"), "until", now_ms),
        text=filters.get("text") or None,
        payload=_criteria(filters.get("payload") or ()),
    )


def _instant_ms(bound: datetime | timedelta | None, field: str, now_ms: int) -> int | None:
    if bound is None:
        return None
    return now_ms - bound // MILLISECOND if isinstance(bound, timedelta) else instant_ms_of(bound, field=field)


def _criteria(payload: Mapping[str, object] | Sequence[PayloadCriterion]) -> tuple[PayloadCriterion, ...]:
    if not isinstance(payload, Mapping):
        return tuple(payload)
    return tuple(
        payload_criterion(path, encode_payload(value).decode(), is_json=True) for path, value in payload.items()
    )
