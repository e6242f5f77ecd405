"""A callback: where somebody wants to be told of a job's end, and of which ends.

Named with the job, checked at the door, carried out by a job of its own. Whoever sees a job knows by a header of it
which job that is.
Invariant: nobody but the door writes that header, so it never leads to a job that is no callback.
"""

from typing import Final, Literal, TypeAlias, get_args

import msgspec

from gotaskq.errors import InvalidRequestError
from gotaskq.headers import OWN_HEADERS, decode_headers
from gotaskq.job import Job, JobId

CALLBACK_TYPE: Final = "gotaskq.callback"
CALLBACK_QUEUE: Final = "callbacks"
CALLBACK_HEADER: Final = f"{OWN_HEADERS}callback"  # of a job that has one: the id of the job that will tell

End: TypeAlias = Literal["done", "dead", "cancelled"]

_MARK: Final = f'"{CALLBACK_HEADER}"'.encode()


class Callback(msgspec.Struct, frozen=True, gc=False):
    """Ask for a signed POST to `url` when the job has ended in one of the ways of `on`."""

    url: str
    on: tuple[End, ...] = ("done", "dead")


class Errand(msgspec.Struct, frozen=True, gc=False):
    """What the job that tells is to do: its payload."""

    job_id: str  # as text: JavaScript loses integers above 2**53
    job_type: str
    queue: str
    url: str
    on: tuple[End, ...]


def checked_callback(callback: object) -> Callback:
    """Return a callback, whose URL is not judged yet; raises InvalidRequestError that names the member to blame."""
    if not isinstance(callback, Callback):
        message = f"callback must be a Callback, such as Callback('https://…'), not {type(callback).__name__}"
        raise InvalidRequestError(message, field="callback")
    if not isinstance(callback.url, str):
        raise InvalidRequestError("callback.url must be a URL", field="callback.url")
    if not callback.on or not all(end in get_args(End) for end in callback.on):
        raise InvalidRequestError(f"callback.on must be some of {', '.join(get_args(End))}", field="callback.on")
    return callback


def with_mark(job: Job, callback_id: JobId) -> Job:
    """Return a job that says which job tells of its end."""
    headers = {**job.headers, CALLBACK_HEADER: str(callback_id)}
    return msgspec.structs.replace(job, headers_json=msgspec.json.encode(headers))


def callback_of(headers_json: bytes) -> JobId | None:
    """Return which job tells of the end of a job with these headers; None: none does."""
    if _MARK not in headers_json:
        return None
    callback_id = decode_headers(headers_json).get(CALLBACK_HEADER)  # the mark may be some header's value
    return None if callback_id is None else JobId(int(callback_id))
