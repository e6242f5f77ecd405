"""`GET /jobs`: jobs by what is asked of them, page by page; and the words filters are written in.

The words are those of `POST /jobs/actions` too.
Invariant: what cannot be understood is refused by name, never passed over: a filter that is not heard shows too much.
"""

import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import datetime, timedelta
from typing import Final

from starlette.requests import Request

from gotaskq.api.answers import Answer
from gotaskq.api.requests import limit_of
from gotaskq.api.schemas import encode_job
from gotaskq.app import TaskQ
from gotaskq.criteria import payload_criterion
from gotaskq.errors import InvalidRequestError
from gotaskq.filters import JobFilter
from gotaskq.job import Status
from gotaskq.kinds import parse_duration_ms
from gotaskq.names import check_queue_name

MAX_PAGE: Final = 500
PAGE: Final = 100
MAX_CRITERIA: Final = 8  # each looks into every payload
MAX_AGO_MS: Final = 100 * 365 * 86_400_000
PAYLOAD: Final = "payload."
AN_INSTANT: Final = "an instant such as 2026-11-23T10:00:00Z"
FILTERS: Final = frozenset({"status", "type", "queue", "since", "until", "q"})
STATUSES: Final = {status.value: status for status in Status if status is not Status.FAILED}

_RFC_3339: Final = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII)


async def list_jobs(taskq: TaskQ, request: Request) -> Answer:
    """Answer `GET /jobs`."""
    words, criteria = read_query(request, known=FILTERS | {"limit", "cursor"})
    filters = filters_of(words, criteria)
    page = await taskq.list_jobs(
        cursor=request.query_params.get("cursor"), limit=limit_of(request, most=MAX_PAGE, default=PAGE), **filters
    )
    jobs = b",".join(map(encode_job, page.jobs))
    cursor = b"" if page.next_cursor is None else b',"next_cursor":"%b"' % page.next_cursor.encode()
    return Answer(200, b'{"jobs":[%b]%b}' % (jobs, cursor))


def filters_of(words: Mapping[str, str], criteria: Mapping[str, str], *, is_json: bool = False) -> JobFilter:
    """Return the filters that were written in words, of FILTERS, and what is asked of payloads, by path.

    With `is_json`, what is asked of payloads is JSON; else it may be the text of a string too.

    Raises InvalidRequestError that names the one to blame.
    """
    filters: JobFilter = {}
    if "status" in words:
        filters["status"] = _status(words["status"])
    if "type" in words:
        filters["job_type"] = words["type"]
    if "queue" in words:
        filters["queue"] = check_queue_name(words["queue"])
    if "since" in words:
        filters["since"] = _bound(words["since"], field="since")
    if "until" in words:
        filters["until"] = _bound(words["until"], field="until")
    if "q" in words:
        filters["text"] = words["q"]
    if criteria:
        if len(criteria) > MAX_CRITERIA:
            raise InvalidRequestError(f"at most {MAX_CRITERIA} filters may look into payloads", field="payload")
        filters["payload"] = [payload_criterion(path, text, is_json=is_json) for path, text in criteria.items()]
    return filters


def read_instant(text: str, *, field: str, allowed: str = AN_INSTANT) -> datetime:
    """Read an instant in RFC 3339; raises InvalidRequestError."""
    if _RFC_3339.fullmatch(text.upper()):
        try:
            return datetime.fromisoformat(text.upper())
        except ValueError:  # the 30th of February
            pass
    raise InvalidRequestError(f"{field} must be {allowed}, not {text[:64]!r}", field=field)


def read_query(request: Request, *, known: AbstractSet[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the parameters of a request, and what it asks of payloads, by path; raises InvalidRequestError."""
    words: dict[str, str] = {}
    criteria: dict[str, str] = {}
    for name, text in request.query_params.multi_items():
        read = criteria if name.startswith(PAYLOAD) else words
        if read is words and name not in known:
            names = ", ".join(sorted(known))
            raise InvalidRequestError(f"unknown parameter {name[:64]!r}; known: {names}, payload.…", field=name[:64])
        key = name.removeprefix(PAYLOAD) if read is criteria else name
        if key in read:
            raise InvalidRequestError(f"parameter {name[:64]!r} is there twice", field=name[:64])
        read[key] = text
    return words, criteria


def _status(text: str) -> Status:
    status = STATUSES.get(text.upper())
    if status is None:
        raise InvalidRequestError(f"status must be one of {', '.join(STATUSES)}", field="status")
    return status


def _bound(text: str, *, field: str) -> datetime | timedelta:
    """Read an instant, or how long ago it was."""
    try:
        ago_ms = parse_duration_ms(text)
    except ValueError:
        return read_instant(text, field=field, allowed=f"{AN_INSTANT}, or so long ago as 1h")
    if ago_ms > MAX_AGO_MS:
        raise InvalidRequestError(f"{field} must be at most 100 years ago", field=field)
    return timedelta(milliseconds=ago_ms)
