"""What an HTTP request is answered with, whichever lane it came by.

Invariant: every refusal is a JSON object with `error`, and `field` where one member is to blame; nothing of ours leaks.
"""

import logging
from typing import Final

import msgspec

from gotaskq.api.schemas import encode_error
from gotaskq.errors import (
    BackendUnavailableError,
    DeadJobNotFoundError,
    GotaskqError,
    InvalidPayloadError,
    InvalidRequestError,
    JobEndedError,
    JobNotFoundError,
    JobStateError,
    NotFoundError,
    NotOpenError,
    QueueExistsError,
    QueueFullError,
    ShuttingDownError,
    TooManyOperationsError,
    UnavailableError,
    UnknownJobTypeError,
    WithheldError,
)
from gotaskq.job import JobId

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
        case InvalidPayloadError(field=field) | UnknownJobTypeError(field=field):
            return Answer(422, encode_error(str(error), field=field))
        case InvalidRequestError(field=field):
            return Answer(400, encode_error(str(error), field=field))
        case JobNotFoundError():
            return Answer(404, encode_error("can't get job with this id"))
        case DeadJobNotFoundError():
            return Answer(404, encode_error("dead job not found"))
        case NotFoundError():
            return Answer(404, encode_error(str(error)))
        case JobEndedError() | JobStateError():
            return Answer(409, encode_error(str(error)))
        case QueueExistsError():
            return Answer(409, encode_error(str(error), field="queue"))
        case WithheldError():
            return Answer(409, encode_error(str(error)))
        case QueueFullError(retry_after_s=retry_after_s) | TooManyOperationsError(retry_after_s=retry_after_s):
            return Answer(429, encode_error(str(error)), (("retry-after", str(retry_after_s)),))
        case BackendUnavailableError(job_id=job_id, retry_after_s=retry_after_s):
            return Answer(503, _encode_store_away(job_id), (("retry-after", str(retry_after_s)),))
        case ShuttingDownError(retry_after_s=retry_after_s):  # the client is better off with another process
            return Answer(503, encode_error(str(error)), (("retry-after", str(retry_after_s)), CLOSE))
        case UnavailableError(retry_after_s=retry_after_s):
            return Answer(503, encode_error(str(error)), (("retry-after", str(retry_after_s)),))
        case NotOpenError():
            return Answer(503, encode_error("starting; try again"), (("retry-after", "1"),))
        case _:
            return fault(error)


def fault(error: Exception) -> Answer:
    """Return the answer for a fault of ours: it says nothing, the log says all."""
    logger.error("request failed", exc_info=error)
    return Answer(500, encode_error("internal"))


def _encode_store_away(job_id: JobId | None) -> bytes:
    """Return the body of a 503; where nobody knows what became of a job, it says so and names the job to ask for."""
    if job_id is None:
        return encode_error(STORE_AWAY)
    return msgspec.json.encode({"error": STORE_AWAY, "accepted": "unknown", "id": str(job_id)})


TOO_LARGE: Final = Answer(413, encode_error("body is larger than 1 MiB"), (CLOSE,))
BATCH_TOO_LARGE: Final = Answer(413, encode_error("batch is larger than 8 MiB"), (CLOSE,))
WRONG_CODING: Final = Answer(
    415, encode_error("content-encoding is not served; send the body as it is"), (("accept-encoding", "identity"),)
)
WRONG_TYPE: Final = Answer(415, encode_error("content-type must be application/json"))
