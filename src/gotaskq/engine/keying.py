"""Requests with keys: what they become on their way into the store, and the jobs they find there.

Used by admission, for those few requests that have a key.
Invariant: jobs with the same key get ids of the same partition, so that a store can keep key and job in one step.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec.structs import replace

from gotaskq.backend import Backend, Existing
from gotaskq.errors import BackendUnavailableError, InvalidRequestError, JobGoneError
from gotaskq.job import Job
from gotaskq.keys import NO_KEYS, FoundBy, Idempotency, Keys, checked_key, without_scope
from gotaskq.snowflake import SpreadIds, partition_of

if TYPE_CHECKING:
    from gotaskq.engine.requests import JobRequest

DIGEST_DIGITS: Final = 32  # 128 bits: no two keys meet


def with_keys(job: Job, request: "JobRequest", spread: SpreadIds | None, *, now_ms: int) -> Job:
    """Return the job of a request with the request's keys, in their partition; raises InvalidRequestError."""
    keys = _keys_of(request)
    if spread is None:
        return replace(job, keys=keys)
    if keys.unique and keys.idempotency is not None:
        # Each asks for a partition of its own, and a record in the one cannot be kept in step with a job in the other.
        raise InvalidRequestError(
            "a job takes unique_key or an idempotency key, not both, where the store has partitions", field="unique_key"
        )
    return replace(job, keys=keys, id=spread.draw_in(_home_of(keys, spread.partitions), now_ms))


def gathered(jobs: Sequence[Job], spread: SpreadIds, *, now_ms: int) -> list[Job]:
    """Return jobs that shall be stored together with ids of the partition that the first key among them asks for."""
    home = next((partition_of(job.id) for job in jobs if job.keys is not NO_KEYS), None)
    if home is None:
        return list(jobs)
    return [job if job.keys is not NO_KEYS else replace(job, id=spread.draw_in(home, now_ms)) for job in jobs]


async def found(existing: Existing, backend: Backend) -> Job | None:
    """Return the job that is there in the place of a new one, marked so; None where its unique key is free by now.

    Raises JobGoneError where the request came before, and its job is no longer kept.
    """
    try:
        job = await backend.get(existing.job_id)
    except BackendUnavailableError as error:
        raise BackendUnavailableError(str(error), job_id=existing.job_id) from error
    if job is not None:
        return replace(job, keys=Keys(job.unique_key, found_by=existing.by))
    if existing.by is FoundBy.IDEMPOTENCY_KEY:
        raise JobGoneError(existing.job_id)
    return None


def _keys_of(request: "JobRequest") -> Keys:
    unique_key, idempotency_key = request.unique_key, request.idempotency_key
    return Keys(
        "" if unique_key is None else checked_key(unique_key, field="unique_key"),
        None if idempotency_key is None else _idempotency(request, idempotency_key),
    )


def _idempotency(request: "JobRequest", key: str) -> Idempotency:
    checked_key(without_scope(key), field="idempotency_key")
    return Idempotency(_digest(key.encode()), _digest(_asked_for(request)))


def _asked_for(request: "JobRequest") -> bytes:
    """Return what a request asks for, in so many words.

    Not what the defaults make of it: they may be others when the same request comes again, after a deployment.
    """
    numbers = (request.delay, request.timeout, request.schedule_timeout)
    options = (request.type, request.queue, request.priority, request.max_retries, request.unique_key)
    seconds = [None if number is None else float(number) for number in numbers]
    asked_for = msgspec.json.encode((options, seconds)) + bytes(request.payload)
    return asked_for if request.callback is None else asked_for + msgspec.json.encode(request.callback)


def _home_of(keys: Keys, partitions: int) -> int:
    digest = keys.idempotency.digest if keys.idempotency is not None else _digest(keys.unique.encode())
    return int(digest, 16) % partitions


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:DIGEST_DIGITS]
