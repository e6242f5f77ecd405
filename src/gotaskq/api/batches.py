"""The wire contract of `POST /jobs/batch`: many requests in, the jobs and the refusals out.

Invariant: a job of a batch is read, refused and shown exactly as one that is posted alone.
"""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec
from msgspec import UNSET, Raw, UnsetType

from gotaskq.api.once import encode_found
from gotaskq.api.schemas import MAX_BODY_BYTES, count_members, decode_submission, encode_job, invalid_member
from gotaskq.engine.requests import JobRequest
from gotaskq.errors import GotaskqError, InvalidRequestError
from gotaskq.job import Job
from gotaskq.names import check_queue_name
from gotaskq.payload import BACKSLASH, SHORT_PAYLOAD_BYTES, check_payload

MAX_BATCH: Final = 1_000


class Batch(msgspec.Struct, gc=False):
    """The body: each job is read by itself."""

    jobs: list[Raw]
    atomic: bool = False


class PlainBatch(msgspec.Struct, gc=False):
    """The same, of jobs that can all be read at once."""

    jobs: list[JobRequest]
    atomic: bool | UnsetType = UNSET


_decode_batch = msgspec.json.Decoder(Batch).decode
_decode_plain = msgspec.json.Decoder(PlainBatch).decode


def decode_batch(body: bytes, *, lines: bool) -> tuple[Sequence[JobRequest | InvalidRequestError], bool]:
    """Return the requests of a batch, or why one is none, and whether all or none shall be stored.

    A batch is `{"jobs": […], "atomic": false}`, or with `lines` one job a line. Raises InvalidRequestError for what is
    neither, and for more than MAX_BATCH jobs.
    """
    if lines:
        return _decode_each([line for line in body.split(b"\n") if line.strip()]), False
    plain = _plain_batch(body)
    if plain is not None:
        return [_with_queue(request) for request in plain.jobs], plain.atomic is True
    try:
        batch = _decode_batch(body)
    except msgspec.ValidationError as error:
        raise invalid_member(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequestError("invalid json") from error
    return _decode_each(batch.jobs), batch.atomic


def encode_batch(answers: Sequence[Job | GotaskqError], describe: Callable[[GotaskqError], dict[str, object]]) -> bytes:
    """Return the stored jobs in order, what there is to say of each other one, and which jobs were there by a key."""
    jobs: list[bytes] = []
    errors: list[dict[str, object]] = []
    for index, answer in enumerate(answers):
        if isinstance(answer, Job):
            jobs.append(encode_job(answer))
        else:
            errors.append({"index": index, **describe(answer)})
    return b'{"jobs":[%b],"errors":%b%b}' % (b",".join(jobs), msgspec.json.encode(errors), encode_found(answers))


def _decode_each(items: Sequence[bytes | Raw]) -> list[JobRequest | InvalidRequestError]:
    if not 1 <= len(items) <= MAX_BATCH:
        raise InvalidRequestError(f"a batch holds 1 to {MAX_BATCH} jobs, not {len(items)}", field="jobs")
    return [_decode_item(bytes(item)) for item in items]


def _decode_item(item: bytes) -> JobRequest | InvalidRequestError:
    if len(item) > MAX_BODY_BYTES:
        return InvalidRequestError("job is larger than 1 MiB")
    try:
        return decode_submission(item, None)
    except InvalidRequestError as error:
        return error


def _with_queue(request: JobRequest) -> JobRequest | InvalidRequestError:
    if request.queue is not None:
        try:
            request.queue = check_queue_name(request.queue)
        except InvalidRequestError as error:
            return error
    return request


def _plain_batch(body: bytes) -> PlainBatch | None:
    """Decode all jobs at once; None where one has to be looked at by itself, perhaps to say what is wrong with it.

    Reading each by itself takes as long as all the rest of a batch (benchmarks/questions/batch_ingestion.py).
    """
    if not body.isascii() or BACKSLASH in body:
        return None
    try:
        batch = _decode_plain(body)
        payloads = [bytes(request.payload) for request in batch.jobs]
        for payload in payloads:
            if len(payload) > SHORT_PAYLOAD_BYTES:
                check_payload(payload)
    except (msgspec.MsgspecError, RecursionError, InvalidRequestError):
        return None
    is_plain = (
        1 <= len(payloads) <= MAX_BATCH
        # No job is larger than the largest payload and all that is no payload.
        and len(body) - sum(map(len, payloads)) + max(map(len, payloads)) <= MAX_BODY_BYTES
        and body.count(b":") <= _colons_accounted_for(batch, payloads)
    )
    return batch if is_plain else None


def _colons_accounted_for(batch: PlainBatch, payloads: Sequence[bytes]) -> int:
    """Return how many colons the values have, and one for each member found.

    No job can have fewer than that. So where the body has no more, none has a member twice, or one we do not know.
    """
    in_values = b"".join(payloads).count(b":")
    members = 1 + (batch.atomic is not UNSET)
    for request in batch.jobs:
        members += count_members(request)
        if request.type is not None and ":" in request.type:
            in_values += request.type.count(":")
    return in_values + members
