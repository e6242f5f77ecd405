"""Submitting jobs: the functions behind `POST /jobs`, `POST /{queue}/jobs` (for both lanes) and `POST /jobs/batch`."""

from collections.abc import Sequence

import msgspec

from gotaskq.api.answers import Answer, fault, quota_headers, refuse
from gotaskq.api.batches import decode_batch, encode_batch
from gotaskq.api.frames import Frames
from gotaskq.api.once import KEY_HEADER, scope, status_of
from gotaskq.api.schemas import decode_submission, encode_job
from gotaskq.engine.admission import Admission
from gotaskq.engine.refusal import refusal_of
from gotaskq.engine.requests import JobRequest
from gotaskq.errors import GotaskqError, InvalidRequestError, KeyReusedError, QueueRateError
from gotaskq.headers import TRACEPARENT
from gotaskq.job import Job


async def submit(
    door: Admission,
    body: bytes,
    queue: str | None,
    *,
    key: str | None = None,
    principal: str = "",
    trace: str | None = None,
) -> Answer:
    """Decode, admit, store, and answer with the job, or with what is wrong; see `accept`."""
    try:
        return _answer_with(door, await accept(door, body, queue, key=key, principal=principal, trace=trace))
    except GotaskqError as error:
        return refuse(error)
    except Exception as error:  # noqa: BLE001 - a fault of ours must not take the connection's other requests down
        return fault(error)


async def accept(
    door: Admission,
    body: bytes,
    queue: str | None,
    *,
    key: str | None = None,
    principal: str = "",
    trace: str | None = None,
) -> Job:
    """Store the job of a body, and return it, or the one that is there by a key; raises GotaskqError.

    Beside the body came `key`, the idempotency key, and `trace`, whose it is; `principal` is whoever sent all of it.
    """
    request = decode_submission(body, queue)
    if trace is not None:
        _add_trace(request, trace)
    scope(request, principal, sent=key)
    try:
        return await door.submit(request)
    except KeyReusedError as error:
        if key is None:
            raise
        raise KeyReusedError(field=KEY_HEADER) from error


def submit_now(door: Admission, frames: Frames, body: bytes, queue: str | None) -> Answer | None:
    """Do as `submit`, with a store that takes jobs at once; None for one with keys or a callback."""
    try:
        known = frames.match(body, queue)
        if known is not None:
            job = door.cast_now(*known)
            return _answer_with(door, job) if door.rules else Answer(201, encode_job(job))
        request = decode_submission(body, queue)
        if not request.is_plain:
            return None
        job = door.submit_now(request)
        frames.learn(body, queue, request)
        return _answer_with(door, job)
    except GotaskqError as error:
        return refuse(error)
    except Exception as error:  # noqa: BLE001 - as above
        return fault(error)


def _answer_with(door: Admission, job: Job) -> Answer:
    """Answer with a job that was stored, or was there; where its queue has a rate limit, with what is left of it."""
    status, headers = status_of(job)
    quota = door.quota(job.queue)
    return Answer(
        status, encode_job(job), headers if quota is None else (*headers, *quota_headers([(job.queue, quota)]))
    )


async def submit_batch(
    door: Admission, body: bytes, *, lines: bool, principal: str = "", trace: str | None = None
) -> Answer:
    """Store a batch: 201 where any job was stored, else the refusal of all; errors name the job's index."""
    try:
        requests, is_atomic = decode_batch(body, lines=lines)
        if trace is not None:
            for request in requests:
                _add_trace(request, trace)
        requests = [_scoped(request, principal) for request in requests]
        answers = await door.submit_many(requests, atomic=is_atomic)
    except GotaskqError as error:
        return refuse(error)
    content = encode_batch(answers, lambda error: msgspec.json.decode(refuse(error).body))
    if (refused := refusal_of(answers)) is None:
        return Answer(201, content, _quotas(door, answers) if door.rules else ())
    refusal = refuse(refused)
    return Answer(refusal.status, refusal.body[:-1] + b"," + content[1:], refusal.headers)


def _quotas(door: Admission, answers: Sequence[Job | GotaskqError]) -> tuple[tuple[str, str], ...]:
    """Return the headers that say what is left of the rate limits of the queues of a batch."""
    queues = {answer.queue for answer in answers if isinstance(answer, Job | QueueRateError)}
    quotas = [(queue, quota) for queue in sorted(queues) if (quota := door.quota(queue)) is not None]
    return quota_headers(quotas)


def _add_trace(request: JobRequest | InvalidRequestError, trace: str) -> None:
    """Let a job belong to the trace of the request it came with, unless it names one itself."""
    if isinstance(request, JobRequest):
        request.headers = {TRACEPARENT: trace, **(request.headers or {})}


def _scoped(request: JobRequest | InvalidRequestError, principal: str) -> JobRequest | InvalidRequestError:
    if isinstance(request, JobRequest) and request.idempotency_key is not None:
        try:
            scope(request, principal)
        except InvalidRequestError as error:
            return error
    return request
