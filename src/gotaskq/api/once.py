"""Requests that are sent again: the header that says so, and what tells a job that was there from a new one.

Used by both lanes and by batches; docs/guides/send-a-job-once.md.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from starlette.requests import Request

from gotaskq.engine.requests import JobRequest
from gotaskq.errors import GotaskqError, InvalidRequestError
from gotaskq.job import Job
from gotaskq.keys import FoundBy, checked_key, in_scope

KEY_HEADER: Final = "Idempotency-Key"
# A repeat gets the status of the request it repeats; a unique key found another request's job, and made none.
FOUND: Final[Mapping[FoundBy, tuple[int, str]]] = {
    FoundBy.IDEMPOTENCY_KEY: (201, "idempotency-replayed"),
    FoundBy.UNIQUE_KEY: (200, "unique-replayed"),
}


def sent_key(request: Request) -> str | None:
    """Return the request's idempotency key, as its header has it; raises InvalidRequestError."""
    keys = request.headers.getlist(KEY_HEADER)
    if len(keys) > 1:
        raise InvalidRequestError(f"{KEY_HEADER} must be there once", field=KEY_HEADER)
    return checked_key(keys[0], field=KEY_HEADER) if keys else None


def refuse_key_of_batch(request: Request) -> None:
    """Raise InvalidRequestError for a header that could mean a whole batch: it is no protection there."""
    if KEY_HEADER in request.headers:
        message = f"{KEY_HEADER} is of one job; give each job of a batch an idempotency_key of its own"
        raise InvalidRequestError(message, field=KEY_HEADER)


def scope(request: JobRequest, principal: str, *, sent: str | None = None) -> None:
    """Put the idempotency key of a request, from its body or as it was sent beside it, into its sender's scope."""
    key = request.idempotency_key
    if key is not None:
        checked_key(key, field="idempotency_key")  # one that looks scoped would reach into another's scope
    if sent is not None:
        if key not in (None, sent):
            raise InvalidRequestError(f"{KEY_HEADER} and idempotency_key differ", field=KEY_HEADER)
        key = sent
    if key is not None:
        request.idempotency_key = in_scope(key, principal)


def status_of(job: Job) -> tuple[int, tuple[tuple[str, str], ...]]:
    """Return the status, and the headers beside, of an answer with a job that was stored, or was there by a key."""
    if job.keys.found_by is None:
        return 201, ()
    status, header = FOUND[job.keys.found_by]
    return status, ((header, "true"),)


def encode_found(answers: Sequence[Job | GotaskqError]) -> bytes:
    """Return the member of a batch's answer that names the jobs which were there; empty when none was."""
    found = [
        {"index": index, "by": answer.keys.found_by.value}
        for index, answer in enumerate(answers)
        if isinstance(answer, Job) and answer.keys.found_by is not None
    ]
    return b',"replayed":' + msgspec.json.encode(found) if found else b""
