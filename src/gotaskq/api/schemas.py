"""The wire contract: what a request body may hold, and how a job looks in an answer.

Both lanes decode and encode here and nowhere else.
Invariant: the payload's bytes come back exactly as they were sent; members we added are left out where they are empty.
"""

import json
import re
from collections import Counter
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Raw

from gotaskq.engine.requests import ABSENT, JobRequest
from gotaskq.errors import InvalidRequestError
from gotaskq.headers import REPLAYED_FROM
from gotaskq.job import DEFAULT_QUEUE, NO_TIMEOUTS, PENDING, DeathReason, Job, Status
from gotaskq.keys import NO_KEYS
from gotaskq.names import check_queue_name
from gotaskq.payload import BACKSLASH, SHORT_PAYLOAD_BYTES, check_payload
from gotaskq.trail import Attempt

_MILLISECONDS: Final = tuple(b'.%03dZ"' % millisecond for millisecond in range(1000))

MAX_BODY_BYTES: Final = 1 << 20

_UNKNOWN: Final = re.compile(r"unknown field `([^`]*)`(?: - at `\$\.(.*)`)?", re.DOTALL)

M = TypeVar("M")


_decode = msgspec.json.Decoder(JobRequest).decode
_encode = msgspec.json.encode


def decode_submission(body: bytes, queue: str | None) -> JobRequest:
    """Return the request a body holds, for the queue of the path, else of its own, else none in particular.

    Raises InvalidRequestError that names the member to blame.
    """
    try:
        request = _decode(body)
    except msgspec.ValidationError as error:
        raise invalid_member(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError("invalid json") from error
    payload = bytes(request.payload)
    # Every member has a colon, so where there are no more colons outside the payload than members that were found, no
    # member came twice; that settles nearly every body at once.
    if body.count(b":") - payload.count(b":") > count_members(request):
        refuse_repeated_members(body)
    if not body.isascii():
        check_utf8(body)  # the decoder passes over what is inside the payload
    if len(payload) > SHORT_PAYLOAD_BYTES or BACKSLASH in payload:
        check_payload(payload)
    if queue is not None:
        request.queue = queue
    elif request.queue is not None:
        request.queue = check_queue_name(request.queue)
    return request


def decode_members(body: bytes, kind: type[M]) -> M:
    """Return a small body's members; raises InvalidRequestError that names the member to blame."""
    try:
        members = msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise refused_member(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError("invalid json") from error
    check_utf8(body)
    refuse_repeated_members(body)
    return members


def encode_job(job: Job, *, with_attempts: bool = False) -> bytes:
    """Return the job as a JSON object, the original's members first and in its order."""
    before, after = _encode_kind(job.type, job.status, job.priority, job.delay_ms, job.max_retries, job.retry_count)
    instants = _encode_instants(job.created_at_ms, job.updated_at_ms, job.run_after_ms)
    # One that waits on the default queue and never ran has none of the members we added.
    is_new = (
        job.started_at_ms is None
        and job.status is PENDING
        and job.queue == DEFAULT_QUEUE
        and job.replays == 0
        and job.timeouts is NO_TIMEOUTS
        and job.headers_json is None
        and job.keys is NO_KEYS
    )
    more = b"" if is_new else _encode_more(job)
    if with_attempts and job.trail.attempts:
        more += b',"attempts":' + _encode([shown_attempt(attempt) for attempt in job.trail.attempts])
    return b'{"id":"%d%b%b%b%b%b}' % (job.id, before, job.payload_json, after, instants, more)


# Jobs of one burst share these, byte for byte, so they are remembered (benchmarks/questions/http_ingestion.py).
@lru_cache(maxsize=1_024)
def _encode_kind(
    job_type: str, status: Status, priority: int, delay_ms: int, max_retries: int, retry_count: int
) -> tuple[bytes, bytes]:
    """Return what stands before the payload, from behind the id, and what stands after it, up to the instants."""
    before = b'","type":"%b","payload":' % job_type.encode()  # its pattern admits nothing that JSON would escape
    return before, b',"status":"%b","priority":%d,"delay":%b,"max_retries":%d,"retry_count":%d,' % (
        status.value.encode(),
        priority,
        _encode_seconds(delay_ms),
        max_retries,
        retry_count,
    )


@lru_cache(maxsize=1_024)
def _encode_instants(created_at_ms: int, updated_at_ms: int, run_after_ms: int) -> bytes:
    instants = map(encode_instant, (created_at_ms, updated_at_ms, run_after_ms))
    return b'"created_at":%b,"updated_at":%b,"run_after":%b' % tuple(instants)


def encode_jobs(jobs: list[Job]) -> bytes:
    """Return the jobs as a bare JSON array."""
    return b"[" + b",".join(map(encode_job, jobs)) + b"]"


def encode_error(message: str, *, field: str | None = None) -> bytes:
    """Return the error object every refusal answers with."""
    return _encode({"error": message} if field is None else {"error": message, "field": field})


def encode_instant(instant_ms: int) -> bytes:
    """Return milliseconds since 1970 as a JSON string in RFC 3339, UTC."""
    return _encode_second(instant_ms // 1000) + _MILLISECONDS[instant_ms % 1000]


@lru_cache(maxsize=256)
def _encode_second(second: int) -> bytes:
    return datetime.fromtimestamp(second, UTC).strftime('"%Y-%m-%dT%H:%M:%S').encode()


def _encode_more(job: Job) -> bytes:
    """Return the members we added, each with a comma before it, where they are not empty."""
    more: dict[str, object] = {
        "queue": None if job.queue == DEFAULT_QUEUE else job.queue,
        "timeout": job.timeouts.execution_ms and Raw(_encode_seconds(job.timeouts.execution_ms)),
        "unique_key": job.unique_key,
        "schedule_timeout": job.timeouts.schedule_ms and Raw(_encode_seconds(job.timeouts.schedule_ms)),
        "headers": None if job.headers_json is None else Raw(job.headers_json),
        "result": None if job.result_json is None else Raw(job.result_json),
        "error": job.error,
        "reason": _reason(job),
        "attempt": job.attempt,
        "crashes": job.crashes,
        "replays": job.replays,
        "replayed_from": _replayed_from(job),
        "replayed_at": job.trail.replayed_at_ms and Raw(encode_instant(job.trail.replayed_at_ms)),
        "cancel_requested": job.is_cancel_requested,
        "progress": _shown_progress(job),
        "started_at": job.started_at_ms and Raw(encode_instant(job.started_at_ms)),
        "finished_at": job.finished_at_ms and Raw(encode_instant(job.finished_at_ms)),
    }
    return b"".join(b',"%b":%b' % (name.encode(), _encode(value)) for name, value in more.items() if value)


def _replayed_from(job: Job) -> str | None:
    """Return the id of the dead job in whose place this one was stored; free for jobs without headers."""
    is_named = job.headers_json is not None and REPLAYED_FROM.encode() in job.headers_json
    return job.headers.get(REPLAYED_FROM) if is_named else None


def _shown_progress(job: Job) -> dict[str, object] | None:
    fraction, note = job.trail.progress, job.trail.note
    if fraction is None:
        return None
    return {"fraction": fraction, "note": note} if note else {"fraction": fraction}


def shown_attempt(attempt: Attempt) -> dict[str, object]:
    """Return an attempt that failed, as it is shown with its job."""
    shown: dict[str, object] = {
        "attempt": attempt.number,
        "status": Status.FAILED.value,
        "started_at": Raw(encode_instant(attempt.started_at_ms)),
        "finished_at": Raw(encode_instant(attempt.ended_at_ms)),
        "worker": attempt.worker,
        "error": attempt.error,
    }
    return shown | {"traceback": attempt.traceback} if attempt.traceback else shown


def _reason(job: Job) -> str | None:
    """Return why a job is dead, or why one that was taken goes on waiting."""
    if job.death_reason is not None:
        return job.death_reason.value
    return DeathReason.NO_HANDLER.value if job.unhandled_since_ms is not None else None


def _encode_seconds(milliseconds: int) -> bytes:
    seconds, rest = divmod(milliseconds, 1000)
    return b"%d" % seconds if not rest else repr(milliseconds / 1000).encode()


def count_members(request: JobRequest) -> int:
    """Return how many members a decoded request has for certain: those that differ from what stands in when absent."""
    return (
        (request.type is not None)
        + (request.payload is not ABSENT)
        + (request.priority is not None)
        + (request.delay is not None)
        + (request.max_retries is not None)
        + (request.queue is not None)
        + (request.timeout is not None)
        + (request.schedule_timeout is not None)
        + (request.headers is not None)
        + (request.unique_key is not None)
        + (request.idempotency_key is not None)
        + (request.callback is not None)
    )


def invalid_member(error: msgspec.ValidationError) -> InvalidRequestError:
    """Turn msgspec's "Expected `int`, got `str` - at `$.priority`" into our words."""
    reason, _, path = str(error).partition(" - at `$.")
    field = path.rstrip("`").removesuffix("[...]") or None  # msgspec does not say which of an object's values it was
    if field is None:
        return InvalidRequestError(f"invalid json: {reason}")
    if field == "priority":
        return InvalidRequestError("priority must be between 0 and 10", field=field)
    return InvalidRequestError(f"invalid {field}: {reason}", field=field)


def refused_member(error: msgspec.ValidationError) -> InvalidRequestError:
    """Turn an error of msgspec's into our words; a member that is not known is named."""
    unknown = _UNKNOWN.search(str(error))
    if unknown is None:
        return invalid_member(error)
    name = unknown[1][:64]
    field = f"{unknown[2]}.{name}" if unknown[2] else name
    return InvalidRequestError(f"{name!r} is no member that can be given here", field=field)


def check_utf8(body: bytes) -> None:
    """Raise InvalidRequestError for bytes that are no UTF-8."""
    try:
        body.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequestError("invalid json") from error


def refuse_repeated_members(body: bytes) -> None:
    """Refuse an object that names one member twice, or a header: readers would disagree on which one counts."""
    members = _members(body)
    repeated = _repeated([name for name, _ in members])
    if repeated is not None:
        raise InvalidRequestError(f"member {repeated!r} is there twice", field=repeated)
    headers = [pairs for name, pairs in members if name == "headers"]
    repeated = _repeated([name for name, _ in headers[0] or ()]) if headers else None
    if repeated is not None:
        raise InvalidRequestError(f"header {repeated!r} is there twice", field="headers")
    callbacks = [pairs for name, pairs in members if name == "callback"]
    repeated = _repeated([name for name, _ in callbacks[0] or ()]) if callbacks else None
    if repeated is not None:
        raise InvalidRequestError(f"member {repeated!r} of callback is there twice", field=f"callback.{repeated}")


def _repeated(names: list[str]) -> str | None:
    return next((name[:64] for name, times in Counter(names).items() if times > 1), None)


def _members(body: bytes) -> list[tuple[str, Any]]:
    """Return the members of the outermost object, repeated ones too; objects in it as their members likewise."""
    try:
        members: list[tuple[str, Any]] = json.loads(body, object_pairs_hook=list, parse_int=str, parse_float=str)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError("invalid json") from error
    return members
