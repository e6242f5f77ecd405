"""What an HTTP request is answered with, whichever lane it came by.

Invariant: every refusal is a JSON object with `error`, and `field` where one member is to blame; nothing of ours leaks.
"""

import logging
from collections.abc import Sequence
from typing import Final

import msgspec

from gotaskq.api.schemas import encode_error
from gotaskq.api.security.request_id import new_request_id, request_id
from gotaskq.bulk import OperationEndedError
from gotaskq.errors import (
    BackendUnavailableError,
    DeadJobNotFoundError,
    GotaskqError,
    InvalidPayloadError,
    InvalidRequestError,
    JobEndedError,
    JobExistsError,
    JobGoneError,
    JobNotFoundError,
    JobStateError,
    KeyReusedError,
    NotFoundError,
    NotOpenError,
    QueueBusyError,
    QueueDrainingError,
    QueueExistsError,
    QueueInUseError,
    QueueRateError,
    Quota,
    ShuttingDownError,
    StaleLeaseError,
    TooManyOperationsError,
    UnavailableError,
    UnknownJobTypeError,
    WithheldError,
)

JSON: Final = "application/json"
CLOSE: Final = ("connection", "close")
STORE_AWAY: Final = "the job store is unavailable; try again later"  # never the store's own words

logger = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A status, a JSON body, and headers beyond content-type and content-length."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def refuse(error: GotaskqError) -> Answer:
    """Return the answer for an error of ours; the original's words where the original had some."""
    match error:
        case InvalidPayloadError(field=field) | UnknownJobTypeError(field=field) | KeyReusedError(field=field):
            return Answer(422, encode_error(str(error), field=field))
        case InvalidRequestError(field=field):
            return Answer(400, encode_error(str(error), field=field))
        case JobNotFoundError():
            return Answer(404, encode_error("can't get job with this id"))
        case JobGoneError(job_id=job_id):
            return Answer(410, msgspec.json.encode({"error": str(error), "id": str(job_id)}))
        case DeadJobNotFoundError():
            return Answer(404, encode_error("dead job not found"))
        case NotFoundError():
            return Answer(404, encode_error(str(error)))
        case JobExistsError():
            return Answer(409, encode_error(str(error), field="unique_key"))
        case JobEndedError() | JobStateError() | OperationEndedError():
            return Answer(409, encode_error(str(error)))
        case StaleLeaseError():
            return Answer(409, encode_error(str(error)))
        case QueueExistsError() | QueueDrainingError() | QueueInUseError():
            return Answer(409, encode_error(str(error), field="queue"))
        case WithheldError():
            return Answer(409, encode_error(str(error)))
        case QueueRateError(queue=queue, quota=quota, retry_after_s=retry_after_s):
            headers = (("retry-after", str(retry_after_s)), *quota_headers([(queue, quota)]))
            return Answer(429, encode_error(str(error), field="queue"), headers)
        case TooManyOperationsError(retry_after_s=retry_after_s):
            return Answer(429, encode_error(str(error)), (("retry-after", str(retry_after_s)),))
        case QueueBusyError(retry_after_s=retry_after_s):
            return Answer(429, encode_error(str(error), field="queue"), (("retry-after", str(retry_after_s)),))
        case BackendUnavailableError(retry_after_s=retry_after_s):
            return Answer(503, _encode_store_away(error), (("retry-after", str(retry_after_s)),))
        case ShuttingDownError(retry_after_s=retry_after_s):  # the client is better off with another process
            return Answer(503, encode_error(str(error)), (("retry-after", str(retry_after_s)), CLOSE))
        case UnavailableError(retry_after_s=retry_after_s):
            return Answer(503, encode_error(str(error)), (("retry-after", str(retry_after_s)),))
        case NotOpenError():
            return Answer(503, encode_error("starting; try again"), (("retry-after", "1"),))
        case _:
            return fault(error)


def quota_headers(quotas: Sequence[tuple[str, Quota]]) -> tuple[tuple[str, str], ...]:
    """Return what is left of the rate limits of queues, as draft-ietf-httpapi-ratelimit-headers spells it."""
    if not quotas:
        return ()
    return (
        ("ratelimit-policy", ", ".join(f'"{queue}";q={quota.limit};w=1' for queue, quota in quotas)),
        ("ratelimit", ", ".join(f'"{queue}";r={quota.left};t={quota.reset_s}' for queue, quota in quotas)),
    )


def fault(error: Exception) -> Answer:
    """Return the answer for a fault of ours: it says nothing but the request's id, under which the log says all."""
    current = request_id.get() or new_request_id()
    logger.error("request failed", exc_info=error, extra={"request_id": current})
    return Answer(500, msgspec.json.encode({"error": "internal", "request_id": current}))


def _encode_store_away(error: BackendUnavailableError) -> bytes:
    """Return the body of a 503; where nobody knows what became of jobs, it says so and names those to ask for."""
    named: dict[str, object]
    if error.job_ids:
        named = {"ids": [str(job_id) for job_id in error.job_ids]}
    elif error.job_id is not None:
        named = {"id": str(error.job_id)}
    else:
        return encode_error(STORE_AWAY)
    return msgspec.json.encode({"error": STORE_AWAY, "accepted": "unknown", **named})


TOO_LARGE: Final = Answer(413, encode_error("body is larger than 1 MiB"), (CLOSE,))
BATCH_TOO_LARGE: Final = Answer(413, encode_error("batch is larger than 8 MiB"), (CLOSE,))
WRONG_CODING: Final = Answer(
    415, encode_error("content-encoding is not served; send the body as it is"), (("accept-encoding", "identity"),)
)
WRONG_TYPE: Final = Answer(415, encode_error("content-type must be application/json"))
