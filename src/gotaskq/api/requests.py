"""Reading requests: bodies within their limit, and the parameters of paths and queries.

Invariant: no more than the limit is ever held of a body, however it is sent.
"""

import re
from typing import Final

from starlette.requests import ClientDisconnect, Request

from gotaskq.api.answers import JSON
from gotaskq.api.schemas import MAX_BODY_BYTES
from gotaskq.errors import GotaskqError, InvalidRequestError, JobNotFoundError
from gotaskq.job import JobId

MAX_BATCH_BYTES: Final = 8 << 20
MAX_PAGE: Final = 1_000

_JOB_ID = re.compile(r"[0-9]{1,20}")


class BodyTooLargeError(GotaskqError):
    """The body is larger than it may be."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"body is larger than {max_bytes} bytes")
        self.max_bytes = max_bytes


class ContentCodingError(GotaskqError):
    """The body is compressed, and unpacking what strangers send is not for us."""


class ContentTypeError(GotaskqError):
    """A browser sent this from another site's page, as something that is not JSON."""


async def read_body(request: Request, *, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """Return the body.

    Raises BodyTooLargeError, before reading where its length is announced, ContentTypeError or ContentCodingError.
    """
    refuse_cross_site_forms(request)
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise ContentCodingError
    length = request.headers.get("content-length", "")
    if length.isascii() and length.isdigit() and int(length[:20]) > max_bytes:
        raise BodyTooLargeError(max_bytes)
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise BodyTooLargeError(max_bytes)
            chunks.append(chunk)
    except ClientDisconnect as error:  # nobody reads the answer, but it is no fault of ours either
        raise InvalidRequestError("body is incomplete") from error
    return b"".join(chunks)


def refuse_cross_site_forms(request: Request) -> None:
    """Raise ContentTypeError for what a page on another site can send without being asked."""
    # Forms and text/plain need nobody's consent; only JSON makes the browser ask us first.
    headers = request.headers
    is_from_a_page = "origin" in headers or headers.get("sec-fetch-site") in ("cross-site", "same-site")
    if is_from_a_page and headers.get("content-type", "").partition(";")[0].strip().lower() != JSON:
        raise ContentTypeError


def job_id_of(request: Request) -> JobId | None:
    """Return the job id in the path, or None when it cannot be one."""
    text = request.path_params["id"]
    return JobId(int(text)) if _JOB_ID.fullmatch(text) else None


def known_id_of(request: Request) -> JobId:
    """Return the job id in the path; raises JobNotFoundError when it cannot be one."""
    job_id = job_id_of(request)
    if job_id is None:
        raise JobNotFoundError(request.path_params["id"])
    return job_id


def limit_of(request: Request, *, most: int = MAX_PAGE, default: int = MAX_PAGE) -> int:
    """Return `?limit=`, 1 to `most`; raises InvalidRequestError."""
    text = request.query_params.get("limit", str(default))
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= most):
        raise InvalidRequestError(f"limit must be between 1 and {most}", field="limit")
    return int(text)
