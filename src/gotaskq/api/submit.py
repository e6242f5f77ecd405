"""Submitting jobs: the functions behind `POST /jobs`, `POST /{queue}/jobs` (for both lanes) and `POST /jobs/batch`."""

import msgspec

from gotaskq.api.answers import Answer, fault, quota_headers, refuse
from gotaskq.api.batches import decode_batch, encode_batch
from gotaskq.api.frames import Frames
from gotaskq.api.schemas import decode_submission, encode_job
from gotaskq.engine.admission import Admission, JobRequest
from gotaskq.errors import GotaskqError, InvalidRequestError, WithheldError
from gotaskq.headers import TRACEPARENT
from gotaskq.job import Job


async def submit(door: Admission, body: bytes, queue: str | None, *, trace: str | None = None) -> Answer:
    """Decode, admit, store, and answer 201 with the job, or with what is wrong; `trace` is that of the request."""
    try:
        return _with_quota(door, await accept(door, body, queue, trace=trace))
    except GotaskqError as error:
        return refuse(error)
    except Exception as error:  # noqa: BLE001 - a fault of ours must not take the connection's other requests down
        return fault(error)


async def accept(door: Admission, body: bytes, queue: str | None, *, trace: str | None = None) -> Job:
    """Decode, admit, store, and return the job; raises what is wrong."""
    request = decode_submission(body, queue)
    if trace is not None:
        _add_trace(request, trace)
    return await door.submit(request)


def submit_now(door: Admission, frames: Frames, body: bytes, queue: str | None) -> Answer:
    """Do as `submit`, with a store that takes jobs at once."""
    try:
        known = frames.match(body, queue)
        if known is not None:
            job = door.cast_now(*known)
            return _with_quota(door, job) if door.rules else Answer(201, encode_job(job))
        request = decode_submission(body, queue)
        job = door.submit_now(request)
        frames.learn(body, queue, request)
        return _with_quota(door, job)
    except GotaskqError as error:
        return refuse(error)
    except Exception as error:  # noqa: BLE001 - as above
        return fault(error)


def _with_quota(door: Admission, job: Job) -> Answer:
    """Answer that a job was stored, and where its queue has a rate limit, what is left of it."""
    quota = door.quota(job.queue)
    return Answer(201, encode_job(job), () if quota is None else quota_headers(job.queue, quota))


async def submit_batch(door: Admission, body: bytes, *, lines: bool, trace: str | None = None) -> Answer:
    """Store a batch: 201 where any job was stored, else the first refusal's status; errors name the job's index."""
    try:
        requests, is_atomic = decode_batch(body, lines=lines)
        if trace is not None:
            for request in requests:
                _add_trace(request, trace)
        answers = await door.submit_many(requests, atomic=is_atomic)
    except GotaskqError as error:
        return refuse(error)
    content = encode_batch(answers, lambda error: msgspec.json.decode(refuse(error).body)["error"])
    errors = [answer for answer in answers if isinstance(answer, GotaskqError)]
    if len(errors) < len(answers):
        return Answer(201, content)
    refusal = refuse(min(errors, key=lambda error: isinstance(error, WithheldError)))
    return Answer(refusal.status, refusal.body[:-1] + b"," + content[1:], refusal.headers)


def _add_trace(request: JobRequest | InvalidRequestError, trace: str) -> None:
    """Let a job belong to the trace of the request it came with, unless it names one itself."""
    if isinstance(request, JobRequest):
        request.headers = {TRACEPARENT: trace, **(request.headers or {})}
