"""What an HTTP request is answered with, whichever lane it came by.

Invariant: every refusal is a JSON object with `error`, and `field` where one member is to blame; nothing of ours leaks.
"""

import logging
from typing import Final

import msgspec

from gotaskq.api.schemas import encode_error
from gotaskq.errors import (
    DeadJobNotFoundError,
    GotaskqError,
    InvalidRequestError,
    JobNotFoundError,
    NotFoundError,
    NotOpenError,
    QueueExistsError,
    QueueFullError,
    UnavailableError,
    WithheldError,
)

JSON: Final = "application/json"

logger = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A status, a JSON body, and headers beyond content-type and content-length."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


def refuse(error: GotaskqError) -> Answer:
    """Return the answer for an error of ours; the original's words where the original had some."""
    match error:
        case InvalidRequestError(field=field):
            return Answer(400, encode_error(str(error), field=field))
        case JobNotFoundError():
            return Answer(404, encode_error("can't get job with this id"))
        case DeadJobNotFoundError():
            return Answer(404, encode_error("dead job not found"))
        case NotFoundError():
            return Answer(404, encode_error(str(error)))
        case QueueExistsError():
            return Answer(409, encode_error(str(error), field="queue"))
        case WithheldError():
            return Answer(409, encode_error(str(error)))
        case QueueFullError(retry_after_s=retry_after_s):
            return Answer(429, encode_error(str(error)), (("retry-after", str(retry_after_s)),))
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


TOO_LARGE: Final = Answer(413, encode_error("body is larger than 1 MiB"), (("connection", "close"),))
BATCH_TOO_LARGE: Final = Answer(413, encode_error("batch is larger than 8 MiB"), (("connection", "close"),))
WRONG_CODING: Final = Answer(
    415, encode_error("content-encoding is not served; send the body as it is"), (("accept-encoding", "identity"),)
)
WRONG_TYPE: Final = Answer(415, encode_error("content-type must be application/json"))
