"""Dead jobs as lines of JSON: what `GET /dlq/export` writes, and `POST /dlq/import` reads.

Invariant: a line that was written is one that can be read; a line that cannot names the member to blame.
"""

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Raw

from gotaskq.api.answers import refuse
from gotaskq.api.schemas import MAX_BODY_BYTES, decode_members, encode_job
from gotaskq.engine.requests import ABSENT, JobRequest
from gotaskq.errors import GotaskqError, InvalidRequestError, QueueNotFoundError
from gotaskq.headers import callers_own
from gotaskq.importing import Exported, Taken
from gotaskq.job import DEFAULT_QUEUE, Job, JobId
from gotaskq.names import check_queue_name
from gotaskq.payload import check_payload

MAX_LINES: Final = 1_000
NO_VALUE: Final = Raw(b"")
NO_NEWLINES: Final = bytes.maketrans(b"\r\n", b"  ")  # in JSON they stand between words alone


class _Line(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, gc=False):
    """A line: what makes the job again, and below what only tells of its life and is passed over."""

    id: Annotated[str, Meta(pattern="^[0-9]{1,19}$")]
    origin: Annotated[str, Meta(pattern="^[!-~]{1,64}$")]
    replays: Annotated[int, Meta(ge=0)] = 0
    type: str
    payload: Raw = NO_VALUE
    queue: str | None = None
    priority: int | None = None
    max_retries: int | None = None
    timeout: int | float | None = None
    schedule_timeout: int | float | None = None
    headers: dict[str, str] | None = None
    unique_key: str | None = None

    status: Raw = NO_VALUE
    delay: Raw = NO_VALUE
    retry_count: Raw = NO_VALUE
    created_at: Raw = NO_VALUE
    updated_at: Raw = NO_VALUE
    run_after: Raw = NO_VALUE
    started_at: Raw = NO_VALUE
    finished_at: Raw = NO_VALUE
    replayed_at: Raw = NO_VALUE
    replayed_from: Raw = NO_VALUE
    error: Raw = NO_VALUE
    reason: Raw = NO_VALUE
    attempt: Raw = NO_VALUE
    attempts: Raw = NO_VALUE
    crashes: Raw = NO_VALUE
    cancel_requested: Raw = NO_VALUE
    progress: Raw = NO_VALUE


def encode_line(job: Job) -> bytes:
    """Return a dead job as a line, with all that makes it again in another store."""
    more = b',"queue":"default"' if job.queue == DEFAULT_QUEUE else b""
    origin = msgspec.json.encode(job.enqueue_nonce)
    shown = encode_job(job, with_attempts=True).translate(NO_NEWLINES)
    return b'%b%b,"origin":%b}\n' % (shown[:-1], more, origin)


def decode_lines(body: bytes) -> list[tuple[int, Exported | InvalidRequestError]]:
    """Return the lines that are not empty with their numbers; raises InvalidRequestError for none, or too many."""
    lines = [(number, line) for number, line in enumerate(body.split(b"\n"), start=1) if line.strip()]
    if not 1 <= len(lines) <= MAX_LINES:
        raise InvalidRequestError(f"a file holds 1 to {MAX_LINES} lines, not {len(lines)}; send it in parts")
    return [(number, _decode_line(line)) for number, line in lines]


def encode_taken(taken: Sequence[tuple[int, Taken | GotaskqError]]) -> bytes:
    """Return how many lines came to what, and for those that were refused why."""
    outcomes = [outcome for _, outcome in taken]
    errors: list[dict[str, object]] = []
    for number, outcome in taken:
        if isinstance(outcome, GotaskqError):
            said = msgspec.json.decode(refuse(outcome).body)
            field = "queue" if isinstance(outcome, QueueNotFoundError) else said.get("field")
            errors.append({"line": number, "error": said["error"]} | ({"field": field} if field else {}))
    return msgspec.json.encode(
        {
            "lines": len(taken),
            "replayed": outcomes.count(Taken.REPLAYED),
            "stored": outcomes.count(Taken.STORED),
            "already": outcomes.count(Taken.ALREADY),
            "conflicts": outcomes.count(Taken.CONFLICT),
            "errors": errors,
        }
    )


def _decode_line(line: bytes) -> Exported | InvalidRequestError:
    try:
        read = decode_members(line, _Line)
        request = JobRequest(
            type=read.type,
            payload=_checked_payload(read.payload),
            priority=read.priority,
            max_retries=read.max_retries,
            queue=None if read.queue is None else check_queue_name(read.queue),
            timeout=read.timeout,
            schedule_timeout=read.schedule_timeout,
            headers=callers_own(read.headers or {}) or None,
            unique_key=read.unique_key,
        )
    except InvalidRequestError as error:
        return error
    return Exported(job_id=JobId(int(read.id)), origin=read.origin, replays=read.replays, request=request)


def _checked_payload(payload: Raw) -> Raw:
    if payload is NO_VALUE:
        return ABSENT
    if len(payload) > MAX_BODY_BYTES:
        raise InvalidRequestError(f"payload is larger than {MAX_BODY_BYTES} bytes", field="payload")
    check_payload(bytes(payload))
    return payload
